"""The commands of discover for directions in the generator's weights: weights, rectify, survey."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.console import Outputs, note, progress_bar, wrote
from commands.discover_options import NumberList
from commands.options import SEED, class_option, model_options, open_generator, out_options
from commands.samples import follower, table
from commands.street import read_inputs
from weights.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from directions.navigan.basis import WeightBasis
    from directions.navigan.rectifying import Rectifying, Told
    from directions.navigan.survey import Survey
    from generators import Generator

SIDE, FILM_SIDE = 128, 256     # Of the pictures of sheets and of films, in pixels.
FILM_FRAMES, FILM_REACH = 24, 2.0  # One way; how far, in recommended lengths.
SAMPLES, SHOWN = 8, 2          # By which directions are surveyed, and of which some are drawn.


@click.command()
@click.option("--layer", required=True, metavar="LAYER",
              help="The convolution, by its name: layers.2.conv2 (a wrong one is answered with the list).")
@click.option("--basis", type=click.Choice(["hessian", "svd"]), default="hessian",
              help="Eigenvectors of the Hessian of the perceptual distance, or singular vectors of the weight.")
@click.option("--count", type=click.IntRange(1), default=64, help="How many directions.")
@click.option("--solver", type=click.Choice(["lanczos", "power"]), default="lanczos",
              help="How eigenvectors are found: Lanczos, or the authors' power iteration, which takes more products.")
@click.option("--samples", type=click.IntRange(1), default=64, help="Over how many pictures the distance is averaged.")
@click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=1.0, help="Of the samples.")
@click.option("--side", type=click.IntRange(32, 1024), default=64, help="At which pictures are compared, in pixels.")
@click.option("--backbone", type=click.Choice(["alex", "vgg"]), default="alex",
              help="Of LPIPS; the authors' vgg is fetched first (`gradctrl weights fetch lpips-vgg`).")
@click.option("--step", type=click.FloatRange(0, min_open=True), default=1.0,
              help="Of the differences, in root mean squares of the weight.")
@click.option("--rounds", type=click.IntRange(1), default=20,
              help="Products for each direction: exactly with power, at most with lanczos.")
@click.option("--batch", type=click.IntRange(1), default=8, help="Pictures that are drawn at once.")
@click.option("--seed", type=SEED, default=0, help="Of the first sample.")
@click.option("--labels", "label_maps", type=click.Path(path_type=Path), multiple=True, metavar="MAP",
              help="Of pix2pixHD, the label maps that are drawn; may be given several times.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE",
              help="Write them there (.safetensors).  [default: where they are found again by the same settings]")
@click.option("--overwrite", is_flag=True, help="Replace the file of --out.")
@class_option
@model_options
def weights(layer: str, basis: str, count: int, solver: str, samples: int, truncation: float, side: int, backbone: str,
            step: float, rounds: int, batch: int, seed: int, label_maps: tuple[Path, ...], out: Path | None,
            overwrite: bool, generator: str, device: str, threads: int | None, class_name: str | None) -> None:
    """Find directions in the weight of a convolution (NaviGAN).

    They are kept, by the generator's weights and these settings, and found again; a search that was stopped goes on
    where it was with the same command.

    \b
    Example:
      gradctrl discover weights --layer layers.2.conv2 --count 16
      gradctrl discover weights --layer layers.2.conv2 --basis svd --out svd.safetensors
      gradctrl discover weights --generator latest_net_G.pth --labels map.png --layer coarse.decoder.b4.conv0
    """
    from directions.navigan.basis import BasisSettings, save_basis
    from directions.navigan.finding import cached_basis
    from directions.navigan.lengths import CHANGE, FARTHEST, at_farthest

    given = Outputs.of_one(out, "directions of weights", [], overwrite) if out is not None else None
    settings = BasisSettings(layer=layer, basis=basis, count=count, solver=solver,  # type: ignore[arg-type]
                             samples=samples, truncation=truncation, side=side, step=step, rounds=rounds, seed=seed,
                             backbone=backbone)  # type: ignore[arg-type]
    model = open_generator(generator, device, threads, class_name)
    inputs = read_inputs(model, label_maps)
    with progress_bar(0, "products", unit="product") as bar, progress_bar(count, "lengths") as lengths:
        # Lanczos is done when it is done, after the bar's products at the latest.
        found, path = cached_basis(model, settings, inputs=inputs, batch=batch, on_product=follower(bar),
                                   on_length=follower(lengths))
    products = f" in {found.found['products']} products" if "products" in found.found else ""
    note(f"{len(found)} directions of {layer}{products}; the first and the last weigh {found.values[0]:.3g} and "
         f"{found.values[-1]:.3g}")
    if weak := at_farthest(model, found):
        note(f"Warning: {weak} of them change pictures by less than LPIPS {CHANGE:g} even at {FARTHEST:g} of the "
             "weight's length, which is theirs now")
    if given is None:
        wrote(path)
    else:
        given[0].write(given[1], partial(save_basis, basis=found))


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--count", type=click.IntRange(1), help="How many directions.  [default: as many as FILE has]")
@click.option("--steps", type=click.IntRange(1), default=3000, help="Of training.")
@click.option("--batch", type=click.IntRange(2), default=8, help="Pictures a step.")
@click.option("--scale", type=click.FloatRange(0, min_open=True),
              help="The longest shift.  [default: twice the median recommended length]")
@click.option("--least", type=click.FloatRange(0, min_open=True), help="The shortest one.  [default: a quarter of it]")
@click.option("--weight", type=click.FloatRange(0, min_open=True),
              help="Of how far off the predicted shift is.  [default: 15 / scale]")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, help="Adam's, of both.")
@click.option("--predictor", type=click.Choice(["small", "resnet18"]), default="small",
              help="What tells directions apart: three convolutions, or ResNet-18 from random weights.")
@click.option("--side", type=click.IntRange(32, 1024), default=64, help="Of the pictures that it sees, in pixels.")
@click.option("--authors", is_flag=True,
              help="The authors' sizes: 100,000 steps of 32 pictures at 256 pixels by ResNet-18, rate 1e-4; for a GPU.")
@click.option("--seed", type=SEED, default=0, help="Of all that is random.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="Where the directions go (.safetensors); beside it FILE-curves.csv.")
@click.option("--overwrite", is_flag=True, help="Replace the files.")
@class_option
@model_options
def rectify(source: Path, count: int | None, steps: int, batch: int, scale: float | None, least: float | None,
            weight: float | None, learning_rate: float, predictor: str, side: int, authors: bool, seed: int, out: Path,
            overwrite: bool, generator: str, device: str, threads: int | None, class_name: str | None) -> None:
    """Train directions in the span of those of FILE, so that a network can tell what each does.

    A training that was stopped goes on where it was with the same command.

    \b
    Example:
      gradctrl discover rectify svd.safetensors --count 16 --out rectified.safetensors
    """
    from dataclasses import replace

    from directions.navigan.basis import load_basis, save_basis
    from directions.navigan.finding import with_lengths
    from directions.navigan.rectifying import AUTHORS, RectifySettings, random_w
    from directions.navigan.rectifying import rectify as train

    outputs, path = Outputs.of_one(out, "directions of weights", [source], overwrite)
    [curves] = outputs.claim(f"{path.stem}-curves.csv")
    basis = load_basis(source)
    own = {"count": count or 0, "scale": scale or 0.0, "least": least or 0.0, "weight": weight or 0.0, "seed": seed}
    settings = replace(AUTHORS, **own) if authors else RectifySettings(  # type: ignore[arg-type]
        steps=steps, batch=batch, learning_rate=learning_rate, predictor=predictor, side=side,  # type: ignore[arg-type]
        **own)  # type: ignore[arg-type]
    model = open_generator(generator, device, threads, class_name)
    checkpoint = path.with_suffix(".checkpoint")
    with progress_bar(settings.steps, "rectify", unit="step") as bar:
        def show(told: Told) -> None:
            bar.set_postfix_str(f"{told.accuracy:.0%} told apart", refresh=False)
            bar.update(told.step - bar.n)

        trained = train(model, basis, settings, inputs=random_w(model, settings.truncation), checkpoint=checkpoint,
                        on_step=show)
    told = trained.told()
    note(f"of {trained.settings.count} directions the predictor names {told.accuracy:.0%} right, and how far within "
         f"{told.off:.0%} of the scale {trained.settings.scale:.3g}")
    outputs.write(path, partial(save_basis, basis=with_lengths(model, trained.result())))
    outputs.write(curves, partial(_write_curves, trained=trained))
    checkpoint.unlink(missing_ok=True)


def _write_curves(path: Path, trained: Rectifying) -> None:
    import csv

    from weights.files import replacing

    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "accuracy", "off"])
        writer.writerows((number, *(f"{value:.4g}" for value in row)) for number, row in enumerate(trained.curves, 1))


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--directions", "numbers", type=NumberList(), metavar="LIST",
              help="Which of them, as in 0-13 or 3,7,20-22.  [default: all]")
@click.option("--strength", type=click.FloatRange(0, min_open=True), default=1.0,
              help="How far to each side, in recommended lengths.")
@click.option("--latent", "latent_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Draw the face of a .latent.safetensors (`gradctrl invert`) in place of samples.")
@click.option("--samples", type=click.IntRange(2), default=SAMPLES, help="By how many samples effects are measured.")
@click.option("--seed", type=SEED, default=0, help="Of the first of them.")
@click.option("--with", "scorer", default="bundled", metavar="bundled|FILE.json",
              help="The classifier of pictures that measures (docs/scorers.md).")
@click.option("--video", type=click.Choice(["gif", "mp4"]), help="Also a film of each direction.")
@out_options
@class_option
@model_options
def survey(source: Path, numbers: Sequence[int] | None, strength: float, latent_file: Path | None, samples: int,
           seed: int, scorer: str, video: str | None, out: Path, overwrite: bool, generator: str, device: str,
           threads: int | None, class_name: str | None) -> None:
    """Draw what directions of weights do, each at its recommended length, and measure it.

    Writes NAME-survey.csv and NAME-survey.jpg, those first that change pictures much, and little of what the classifier
    of attributes sees and of who the face is: they do what no control does.

    \b
    Example:
      gradctrl discover survey svd.safetensors --video mp4
    """
    from directions.navigan.basis import load_basis
    from directions.navigan.survey import survey as measure
    from editing.sheets import labelled
    from editing.video import save_video
    from editing.weight_sheets import deformed_pictures
    from inversion import save_picture
    from learning.scorers import load_scorer

    found = load_basis(source)
    stem = source.name.removesuffix(".safetensors")
    chosen = list(range(len(found))) if numbers is None else list(numbers)
    found = _part(source, found, chosen)
    outputs = Outputs(out, [source, *([latent_file] if latent_file else [])], overwrite)
    csv_path, sheet_path = outputs.claim(f"{stem}-survey.csv", f"{stem}-survey.jpg")
    films = outputs.claim(*(f"{stem}-{number}.{video}" for number in chosen)) if video else []
    model = open_generator(generator, device, threads, class_name)
    judge = load_scorer(scorer, device=model.device)
    latents = model.sample(range(seed, seed + samples), truncation=0.7)
    with progress_bar(len(found), "directions", unit="direction") as bar:
        done = measure(model, found, judge, judge.attributes, latents, on_step=follower(bar))
    outputs.write(csv_path, partial(_write_survey, done=done, found=found, numbers=chosen))
    painter, shown = _faces(model, latent_file, latents[:SHOWN])
    order = done.ranked()
    with progress_bar(len(found) * (3 * len(shown) + (FILM_FRAMES if video else 0)), "pictures") as bar:
        def advance(count: int) -> None:
            bar.update(count)

        pictures = deformed_pictures(painter, found, order, shown, [-strength, 0.0, strength], side=SIDE,
                                     on_picture=advance).swapaxes(0, 1)
        named = labelled(pictures.reshape(len(order), -1, *pictures.shape[3:]),
                         [_in_words(done, each, chosen[each]) for each in order], width=190)
        outputs.write(sheet_path, partial(save_picture, picture=named))
        steps = [FILM_REACH * strength * (2 * frame / (FILM_FRAMES - 1) - 1) for frame in range(FILM_FRAMES)]
        for number, film in enumerate(films):
            drawn = deformed_pictures(painter, found, [number], shown[:1], steps, side=FILM_SIDE, on_picture=advance)
            outputs.write(film, partial(save_video, pictures=drawn[0, 0]))
    table([("direction", "suggested name", "effect", "change", "identity"),
           *((str(chosen[each]), done.effects.name(each, chosen[each], "direction"),
              f"{done.effects.strongest(each)[1]:+.2f}", f"{done.change[each]:.3f}", f"{done.identity[each]:.2f}")
             for each in order[:20])])


def _part(source: Path, found: WeightBasis, numbers: Sequence[int]) -> WeightBasis:
    """Some of the directions."""
    from dataclasses import replace

    for number in numbers:
        if number >= len(found):
            raise InputError(source, f"there is no direction {number}", f"name some of 0 to {len(found) - 1}")
    chosen = list(numbers)
    lengths = found.lengths[chosen] if len(found.lengths) else found.lengths
    return replace(found, directions=found.directions[chosen], values=found.values[chosen], lengths=lengths)


def _faces(model: Generator, latent_file: Path | None, samples: Tensor) -> tuple[Generator, Tensor]:
    """What is drawn, and by which generator: that of an inversion is the tuned one."""
    if latent_file is None:
        return model, samples
    from inversion import load_inversion

    inversion = load_inversion(latent_file, generator=model)
    return inversion.generator_of(model), model.broadcast(inversion.latent[None].to(model.device, model.dtype))


def _in_words(done: Survey, at: int, number: int) -> str:
    output, effect = done.effects.strongest(at)
    return f"direction {number}\n{output} {effect:+.2f}\nchange {done.change[at]:.2f}\nidentity {done.identity[at]:.2f}"


def _write_survey(path: Path, done: Survey, found: WeightBasis, numbers: Sequence[int]) -> None:
    """A row for each direction, the best first."""
    import csv

    from weights.files import replacing

    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["direction", "suggested name", "rank", "change", "identity", "length", "value",
                         *done.effects.outputs])
        for at in done.ranked():
            writer.writerow([numbers[at], done.effects.name(at, numbers[at], "direction"), f"{done.alone(at):.3f}",
                             f"{done.change[at]:.4f}", f"{done.identity[at]:.3f}", f"{found.lengths[at]:.4g}",
                             f"{found.values[at]:.4g}",
                             *(f"{value:.3f}" for value in done.effects.values[at].tolist())])
