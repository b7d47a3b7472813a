"""The command encoder."""

from __future__ import annotations

from pathlib import Path

import click

from commands.messages import note, progress_bar, wrote
from commands.models import open_generator
from commands.options import model_options
from commands.outputs import Outputs
from weights.errors import InputError


@click.command()
@click.option("--count", type=click.IntRange(1000, 1_000_000), default=20_000, show_default=True,
              help="Samples that it is trained on.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write it there (.safetensors), to be given to others.  [default: where it is found and used]")
@click.option("--overwrite", is_flag=True, help="Replace the encoder that is there already.")
@model_options
def encoder(count: int, out: Path | None, overwrite: bool, generator: str, device: str, threads: int | None) -> None:
    """Train the encoder of a generator, from which inversions start.

    It learns from the generator's own samples; no photos are needed. Inversions with that generator use it from then
    on. The bundled generator has one already.

    \b
    Example:
      gradctrl encoder --generator ffhq.pkl
    """
    from inversion.encoder import own_path, save_encoder
    from inversion.encoder_training import EncoderSettings, train_encoder

    model = open_generator(generator, device, threads)
    path = out or own_path(model)
    if path.suffix != ".safetensors":
        raise InputError(path, "encoders are safetensors", "end the name in .safetensors")
    [path] = Outputs(path.parent, [], overwrite).claim(path.name)
    with progress_bar(count, "encoder", unit="sample") as bar:
        def show(drawn: int, total: int, loss: float) -> None:
            bar.set_postfix_str(f"error {loss:.2f}", refresh=False)
            bar.update(min(drawn, total) - bar.n)

        found, report = train_encoder(model, settings=EncoderSettings(count=count), on_step=show)
    notes = {"samples": str(count), "lpips": f"{report.lpips:.3f}", "lpips_changed": f"{report.lpips_changed:.3f}"}
    save_encoder(path, found, space=model.space, notes=notes)
    note(f"LPIPS of its starts on new samples: {report.lpips:.3f}; on samples changed as photos may be: "
         f"{report.lpips_changed:.3f} (of the mean: {report.lpips_mean:.3f})")
    wrote(path)
