"""Train a StyleGAN2 generator on a folder of pictures; the same command again goes on from where it ended.

    python -m weights.training.gan FOLDER --out RUN

RUN then holds checkpoint.safetensors (to go on), generator.safetensors (to use), samples/ and log.csv. Ctrl-C or
SIGTERM saves and ends. docs/training.md says what to expect, and the reason of every option.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

import stylegan2
from weights.errors import InputError
from weights.training.gan.pictures import find_pictures, read_pictures
from weights.training.gan.precision import NAMES, choose_precision
from weights.training.gan.report import Distance
from weights.training.gan.run import CHECKPOINT, Limits, Run, Stop, free_memory
from weights.training.gan.settings import Settings, continued
from weights.training.gan.state import Saved, read_state
from weights.training.gan.trainer import Trainer
from weights.training.gan.ways import WAYS, probe

HELP = {
    "resolution": "side of the pictures in pixels, a power of two from 32 to 1024",
    "channel_base": "feature maps at a side are this over the side",
    "channel_max": "but no more than this",
    "mapping_layers": "layers from z to w; with --start, those of that generator",
    "batch": "pictures in a step",
    "lr": "Adam's learning rate",
    "gamma": "weight of R1; 0: by resolution and batch",
    "r1_every": "steps between two of R1",
    "path_every": "steps between two of path-length regularisation; 0: none",
    "path_weight": "its weight",
    "mixing": "share of samples that mix two styles",
    "ema_kimg": "thousands of pictures in which the mean generator forgets one half",
    "ema_rampup": "until then, in this share of what was seen; 0: no ramp; with --start, 0",
    "augment_target": "r_t that the augmentation is adapted to",
    "augment_kimg": "thousands of pictures in which its probability goes from 0 to 1; with --start, 100",
    "augment_p": "keep its probability at this; -1: adapt it; 0: no augmentation",
    "flips": "whether pictures may be mirrored from left to right",
    "noise": "noise maps while training",
    "warmup_kimg": "thousands of pictures in which the discriminator learns alone; with --start, 10",
    "precision": "of the four largest resolutions; auto: bfloat16 on a GPU that has it",
    "seed": "of everything that is random",
    "start": "generator to start from: a file or a name, such as bundled",
}
WITH_START = {"ema_rampup": 0.0, "augment_kimg": 100.0, "warmup_kimg": 10.0}
CHOICES = {"noise": ["none", "random"], "precision": ["auto", *NAMES]}


def make_parser() -> argparse.ArgumentParser:
    lines = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m weights.training.gan", description=lines[0], epilog=lines[-1])
    parser.add_argument("folder", type=Path, help="the pictures; subfolders are included")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    run = parser.add_argument_group("how far, and how; these may change from command to command")
    run.add_argument("--minutes", type=float, default=float("inf"), help="end after so many, reading included")
    run.add_argument("--kimg", type=float, default=float("inf"),
                     help="end after so many thousand pictures, counted from the beginning of the run")
    run.add_argument("--save-every", type=float, default=3, metavar="MINUTES")
    run.add_argument("--measure-every", type=float, default=5, metavar="MINUTES",
                     help="AlexNet Frechet distance; 0: never")
    run.add_argument("--measure-count", type=int, default=2000, metavar="N", help="samples that are measured")
    run.add_argument("--report-every", type=float, default=30, metavar="SECONDS")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    run.add_argument("--way", default="auto", choices=["auto", "probe", *WAYS],
                     help="how steps are computed; auto: the faster of plain and fused; probe: tries compiling as well")
    defining = parser.add_argument_group("what defines the run; these stay as they were when it goes on")
    for field in fields(Settings):
        option = f"--{field.name.replace('_', '-')}"
        shown = "auto" if field.name == "precision" else field.default
        text = f"{HELP[field.name]} (default {shown})" if field.name != "start" else HELP["start"]
        if field.name == "flips":
            defining.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            defining.add_argument(option, type=type(field.default), choices=CHOICES.get(field.name), default=None,
                                  help=text)
    return parser


def begin(given: dict[str, Any], device: torch.device) -> tuple[Settings, stylegan2.Generator | None]:
    """The settings of a new run, and the generator to start from."""
    start = stylegan2.load(given["start"]) if given.get("start") else None
    if start is not None:
        config = start.config
        given = {"mapping_layers": config.mapping_layers, **WITH_START, **given, "start": start.hash}
    given["precision"] = choose_precision(given.get("precision", "auto"), device)
    return Settings(**given), start


def go_on(given: dict[str, Any], saved: Saved, where: Path) -> Settings:
    """The settings of a run that goes on; raises an InputError if others are asked for."""
    if given.get("start"):
        given["start"] = stylegan2.load(given["start"]).hash
    if given.get("precision") == "auto":
        del given["precision"]
    return continued(saved.settings, given, str(where))


def prepare(arguments: argparse.Namespace, device: torch.device) -> Trainer:
    """Read the pictures and what the run has learned so far."""
    given = {field.name: getattr(arguments, field.name) for field in fields(Settings)
             if getattr(arguments, field.name) is not None}
    checkpoint = arguments.out / CHECKPOINT
    saved, start = None, None
    if checkpoint.exists():
        saved = read_state(checkpoint)
        settings = go_on(given, saved, arguments.out)
    else:
        settings, start = begin(given, device)
    paths = find_pictures(arguments.folder)
    pixels = read_pictures(paths, settings.resolution)
    if pixels.nbytes < free_memory(device) / 8:
        pixels = pixels.to(device)
    arguments.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings, pixels, device=device, start=start)
    print(f"{len(pixels)} pictures of {settings.resolution} pixels on {device}; generator "
          f"{_millions(trainer.generator)}, discriminator {_millions(trainer.discriminator)} million numbers; "
          f"{settings.precision}, R1 gamma {settings.r1_weight:.3g}", flush=True)
    if trainer.taken is not None:
        print(f"from {arguments.start}: {trainer.taken.describe()}", flush=True)
    if saved is not None:
        trainer.restore(saved, str(checkpoint))
        print(f"going on at {trainer.seen / 1000:.1f} kimg", flush=True)
    return trainer


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(weight.numel() for weight in module.parameters()) / 1e6:.1f}"


def choose_way(trainer: Trainer, name: str, seconds_left: float) -> None:
    """Set how steps are computed: by name, or by trying. On a processor, auto is the plain way: nothing is timed."""
    if name in WAYS:
        trainer.way = WAYS[name]
    elif name == "probe" or trainer.device.type == "cuda":
        batch = trainer.settings.batch
        way = probe(trainer, compilers=name == "probe", seconds_left=seconds_left,
                    on_finding=lambda finding: print(finding.describe(batch), flush=True))
        trainer.statistics.take()
        print(f"computing in the way called {way.name}", flush=True)


def train(arguments: argparse.Namespace, begun: float, stop: Stop) -> str:
    device = stylegan2.choose_device(arguments.device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # All sizes stay the same.
    trainer = prepare(arguments, device)
    distance = None
    if arguments.measure_every > 0:
        distance = Distance(trainer.pixels, device, count=arguments.measure_count)
    seconds = arguments.minutes * 60
    choose_way(trainer, arguments.way, seconds - (time.monotonic() - begun))
    limits = Limits(kimg=arguments.kimg, seconds=seconds, begun=begun, report_seconds=arguments.report_every,
                    save_seconds=arguments.save_every * 60, measure_seconds=arguments.measure_every * 60)
    run = Run(trainer, arguments.out, distance=distance, say=lambda text: print(text, flush=True))
    return run.train(limits, stop)


def main(words: Sequence[str] | None = None) -> int:
    begun = time.monotonic()
    arguments = make_parser().parse_args(words)
    stop = Stop()
    try:
        with stop.listening():
            reason = train(arguments, begun, stop)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"ended ({reason}); saved in {arguments.out}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
