"""Make the files of `weights/bundled` that come from elsewhere, in half precision.

    python -m tools.bundle generator FOLDER OUT.safetensors      (then: python -m tools.train_readouts)
    python -m tools.bundle controls FOLDER GENERATOR.safetensors OUT.safetensors
    python -m tools.bundle lpips ALEXNET.safetensors LIN_ALEX.pth LIN_VGG.pth OUT.safetensors

The first takes MobileStyleGAN's OpenVINO files (those of the registry's package random-face), whose readouts are not
trained yet; the second a folder as the authors of GradCtrl publish it, with classifiers of FFHQ; the third the AlexNet
convolutions (`features.N.weight`) and the two linear heads that the lpips package installs (`alex.pth` and `vgg.pth` of
`lpips/weights/v0.1`; `lin0.model.1.weight` ...).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open

import directions
import generators
from generators.checkpoints import read, write
from generators.checkpoints.unpickle import read_pickle
from weights.tensors import write_tensors

GENERATOR_NOTES = {
    "name": "bundled",
    "licence": "non-commercial use; see weights/bundled/ffhq-student.md",
    "model_card": "MobileStyleGAN, 1024x1024, student of StyleGAN2-FFHQ; see weights/bundled/ffhq-student.md",
}
LPIPS_NOTES = {
    "name": "lpips-alex",
    "licence": "BSD-3-Clause (torchvision's AlexNet convolutions); BSD-2-Clause (the linear heads of LPIPS 0.1)",
    "model_card": "AlexNet backbone and the linear heads for AlexNet and VGG16; see weights/bundled/README.md",
}
LARGEST_HALF = torch.finfo(torch.float16).max


def bundle_generator(folder: Path, out: Path) -> None:
    """Write the generator of OpenVINO files in half precision."""
    config, state = read(folder)
    write(out, config, state, half=True, metadata=GENERATOR_NOTES)


def bundle_controls(folder: Path, generator: Path, out: Path) -> None:
    """Write the authors' classifiers of FFHQ as controls of a generator that has its W."""
    controls = directions.import_authors(folder)
    report = {"trained on": "samples of StyleGAN2-FFHQ, by GradCtrl's authors", "settings": "those of their demo"}
    directions.save(out, [replace(control, report=report) for control in controls],
                    spaces=generators.load(generator).spaces, dtype=torch.float16)


def bundle_lpips(alexnet: Path, lin_alex: Path, lin_vgg: Path, out: Path) -> None:
    """Put the AlexNet convolutions and both linear heads into one half-precision file.

    Names: `features.N.weight`, `features.N.bias`; `lin_alex.N.weight` and `lin_vgg.N.weight`, each [1, C, 1, 1].
    """
    with safe_open(alexnet, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for head, path in (("lin_alex", lin_alex), ("lin_vgg", lin_vgg)):
        state = read_pickle(path)
        for index in range(5):
            tensors[f"{head}.{index}.weight"] = state[f"lin{index}.model.1.weight"]  # type: ignore[index]
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()) or float(value.abs().max()) > LARGEST_HALF:
            raise SystemExit(f"{name} does not fit into half precision")
    write_tensors(out, {name: value.half() for name, value in tensors.items()}, LPIPS_NOTES)


MAKERS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "generator": (bundle_generator, ("folder", "out")),
    "controls": (bundle_controls, ("folder", "generator", "out")),
    "lpips": (bundle_lpips, ("alexnet", "lin_alex", "lin_vgg", "out")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, (_, arguments) in MAKERS.items():
        made = commands.add_parser(command)
        for name in arguments:
            made.add_argument(name, type=Path)
    given = vars(parser.parse_args())
    maker, _ = MAKERS[given.pop("command")]
    maker(**given)


if __name__ == "__main__":
    main()
