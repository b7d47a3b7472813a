"""Make the files of `weights/bundled` that come from elsewhere, in half precision.

    python -m tools.bundle_lpips generator GENERATOR.safetensors OUT.safetensors
    python -m tools.bundle_lpips lpips ALEXNET.safetensors LIN_ALEX.pth LIN_VGG.pth OUT.safetensors

The second takes the AlexNet convolutions (`features.N.weight`) and the two linear heads that the lpips package
installs (`lpips/weights/v0.1/alex.pth` and `vgg.pth`; `lin0.model.1.weight` ...).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from generators.checkpoints.unpickle import read_pickle
from weights.tensors import write_tensors

GENERATOR_NOTES = {
    "name": "bundled",
    "licence": "non-commercial use; see weights/bundled/README.md",
    "model_card": "StyleGAN2, 128x128, trained on 4,000 generated faces of nobody; see weights/bundled/README.md",
}
LPIPS_NOTES = {
    "name": "lpips-alex",
    "licence": "BSD-3-Clause (torchvision's AlexNet convolutions); BSD-2-Clause (the linear heads of LPIPS 0.1)",
    "model_card": "AlexNet backbone and the linear heads for AlexNet and VGG16; see weights/bundled/README.md",
}
LARGEST_HALF = torch.finfo(torch.float16).max


def bundle_generator(source: Path, out: Path) -> None:
    """Copy a generator in our own format to `out` in half precision, with its metadata and the notes above."""
    tensors, metadata = _read(source)
    _write(out, tensors, {**metadata, **GENERATOR_NOTES})


def bundle_lpips(alexnet: Path, lin_alex: Path, lin_vgg: Path, out: Path) -> None:
    """Put the AlexNet convolutions and both linear heads into one half-precision file.

    Names: `features.N.weight`, `features.N.bias`; `lin_alex.N.weight` and `lin_vgg.N.weight`, each [1, C, 1, 1].
    """
    tensors, _ = _read(alexnet)
    for head, path in (("lin_alex", lin_alex), ("lin_vgg", lin_vgg)):
        state = read_pickle(path)
        for index in range(5):
            tensors[f"{head}.{index}.weight"] = state[f"lin{index}.model.1.weight"]  # type: ignore[index]
    _write(out, tensors, LPIPS_NOTES)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def _write(out: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()) or float(value.abs().max()) > LARGEST_HALF:
            raise SystemExit(f"{name} does not fit into half precision")
    write_tensors(out, {name: value.half() for name, value in tensors.items()}, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    generator = commands.add_parser("generator")
    lpips = commands.add_parser("lpips")
    for name in ("source", "out"):
        generator.add_argument(name, type=Path)
    for name in ("alexnet", "lin_alex", "lin_vgg", "out"):
        lpips.add_argument(name, type=Path)
    arguments = vars(parser.parse_args())
    (bundle_generator if arguments.pop("command") == "generator" else bundle_lpips)(*arguments.values())


if __name__ == "__main__":
    main()
