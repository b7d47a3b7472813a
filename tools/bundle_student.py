"""Make the bundled generator of MobileStyleGAN's OpenVINO files and trained readouts, in half precision.

    python -m tools.bundle_student FOLDER READOUTS.safetensors OUT.safetensors

READOUTS holds, for each side S, the weights of its convolutions as `S.A.n` [out, in] and `S.bias.n`, n counting from 0;
those of its colours as `S.out`, `S.ob`; its detail as `S.in1`, `S.in2`, `S.c2` and `S.c3`, `.weight` and `.bias`. Their
features and bands are ordered as in the OpenVINO files; convolutions give more features than the next one reads.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from generators.checkpoints import read, write
from generators.checkpoints.openvino import by_bands
from generators.mobilestylegan import MobileStyleGAN

NOTES = {
    "name": "bundled",
    "licence": "non-commercial use; see weights/bundled/ffhq-student.md",
    "model_card": "MobileStyleGAN, 1024x1024, student of StyleGAN2-FFHQ; see weights/bundled/ffhq-student.md",
}
HEAD = {"in1": "detail_first", "in2": "detail_last", "c2": "detail_conv", "c3": "detail"}


def bundle(folder: Path, readouts: Path, out: Path) -> None:
    """Write the generator of `folder` with the readouts of `readouts` to `out`, in half precision."""
    config, state = read(folder)
    with safe_open(readouts, "pt") as file:
        given = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    config = replace(config, readouts={side: len(given[f"{side}.in1.weight"]) for side in config.readouts})
    shapes = {name: value.shape for name, value in MobileStyleGAN(config).state_dict().items()}
    for side in config.readouts:
        for name, value in _translated(given, side).items():
            full = f"synthesis.readouts.{side}.{name}"
            state[full] = value[:shapes[full][0]]  # The next convolution reads the low band alone.
    write(out, config, state, half=True, metadata=NOTES)


def _translated(given: dict[str, Tensor], side: int) -> dict[str, Tensor]:
    """The weights of one side by our names; features and bands in our order."""
    result = {"low.weight": given[f"{side}.out"][:, :, None, None], "low.bias": given[f"{side}.ob"]}
    for index in range(sum(name.startswith(f"{side}.A.") for name in given)):
        result[f"convs.{index}.weight"] = given[f"{side}.A.{index}"][:, :, None, None]
        result[f"convs.{index}.bias"] = given[f"{side}.bias.{index}"]
    for theirs, ours in HEAD.items():
        for part in ("weight", "bias"):
            result[f"{ours}.{part}"] = given[f"{side}.{theirs}.{part}"]
    result["detail_first.weight"] = by_bands(result["detail_first.weight"].transpose(0, 1)).transpose(0, 1)
    for part in ("weight", "bias"):
        result[f"detail.{part}"] = by_bands(result[f"detail.{part}"])
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for argument in ("folder", "readouts", "out"):
        parser.add_argument(argument, type=Path)
    bundle(**vars(parser.parse_args()))
