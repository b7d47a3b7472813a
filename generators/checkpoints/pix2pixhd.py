"""Checkpoints of pix2pixHD's generator: the state dicts of its `netG`, global and local, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from generators.checkpoints.check import check_state, refusal, size_of
from generators.pix2pixhd import CLASSES, Pix2PixHD, Pix2PixHDConfig

WORKS = "what works is the generator (netG) of a label-to-street model, as latest_net_G.pth"
_PART = re.compile(r"(model|model1_1|model1_2)\.(\d{1,3})\.(?:conv_block\.([15])\.)?(weight|bias)")


def is_pix2pixhd(weights: Mapping[object, object]) -> bool:
    """Whether a state dict looks like one of a pix2pixHD generator, which has residual blocks."""
    return "model.1.weight" in weights and any(re.fullmatch(r"model\.\d{1,3}\.conv_block\.1\.weight", str(name))
                                               for name in weights)


def read_pix2pixhd(path: Path, weights: Mapping[object, object]) -> tuple[Pix2PixHDConfig, dict[str, Tensor]]:
    """Convert a state dict to sizes and weights.

    Raises:
        InputError: a weight is none of such a generator, or they do not fit each other.
    """
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise refusal(path, f"{name!r:.60} is no weight", WORKS)
        if not re.search(r"\.(running_mean|running_var|num_batches_tracked)$", name):  # Old files'; they had no use.
            found[name] = value
    blocks = _numbers(found, r"model\.(\d{1,3})\.conv_block\.1\.weight")
    fine = _numbers(found, r"model1_2\.(\d{1,3})\.conv_block\.1\.weight")
    downsamplings = (blocks[0] - 4) // 3
    if (blocks[0] - 4) % 3 or blocks != list(range(blocks[0], blocks[0] + len(blocks))) or fine != list(
            range(len(fine))):
        raise refusal(path, "its residual blocks are not in one row", WORKS)
    state: dict[str, Tensor] = {}
    for name, value in found.items():
        ours = _ours(path, name, downsamplings, len(blocks), len(fine))
        if name.endswith(".weight"):
            up = ".up" in ours and value.ndim == 4  # Transposed convolutions have their inputs first.
            state[f"{ours}.weight"] = value.transpose(0, 1) if up else value
        elif ours == "synthesis.last":
            state["synthesis.bias"] = value
    config = read_config(path, state)
    return config, check_state(path, Pix2PixHD, config, state)


def _numbers(found: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted(int(match[1]) for name in found if (match := re.fullmatch(pattern, name)))


def _ours(path: Path, name: str, downsamplings: int, blocks: int, fine: int) -> str:
    """Our name of a convolution, of the place in its sequence: padding, normalisation and activation count there."""
    match = _PART.fullmatch(name)
    if match:
        part, place, conv = match[1], int(match[2]), match[3]
        of = "fine" if part != "model" else "coarse"
        levels, many = (1, fine) if of == "fine" else (downsamplings, blocks)
        begin = 0 if part == "model1_2" else 4 + 3 * levels  # Where the residual blocks begin.
        after = place - begin - many
        if conv is not None and 0 <= place - begin < many:
            return f"synthesis.{of}.decoder.b{place - begin}.conv{0 if conv == '1' else 1}"
        if conv is None and part != "model1_2" and place == 1:
            return f"synthesis.{of}.encoder.first"
        if conv is None and part != "model1_2" and 4 <= place < begin and (place - 4) % 3 == 0:
            return f"synthesis.{of}.encoder.down{(place - 4) // 3}"
        if conv is None and part != "model1_1" and 0 <= after < 3 * levels and after % 3 == 0:
            return f"synthesis.{of}.decoder.up{after // 3}"
        if conv is None and part == ("model1_2" if fine else "model") and after == 3 * levels + 1:
            return "synthesis.last"
    raise refusal(path, f"the weight {name!r:.100} is none of a generator that can be rendered", WORKS)


def read_config(path: Path, state: Mapping[str, Tensor]) -> Pix2PixHDConfig:
    """Derive all sizes from the names and shapes of the weights, by our names.

    Raises:
        InputError: a weight that is needed for it is missing, or the generator reads something else.
    """
    first = "synthesis.coarse.encoder.first.weight"
    channels, inputs = size_of(path, state, first, 0), size_of(path, state, first, 1)
    if inputs not in (CLASSES, CLASSES + 1):
        raise refusal(path, f"it reads {inputs} channels, and label maps of streets have {CLASSES} classes and the "
                      "edges of instances", WORKS)

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in state)

    try:
        return Pix2PixHDConfig(channels=channels, edges=inputs > CLASSES,
                               downsamplings=count(r"synthesis\.coarse\.encoder\.down\d+\.weight"),
                               blocks=count(r"synthesis\.coarse\.decoder\.b\d+\.conv0\.weight"),
                               enhancer_blocks=count(r"synthesis\.fine\.decoder\.b\d+\.conv0\.weight"))
    except ValueError as error:
        raise refusal(path, str(error), WORKS) from error


def config_of(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> Pix2PixHDConfig:
    """The sizes of one of our own files; its weights tell them all."""
    return read_config(path, state)


def metadata_of(config: Pix2PixHDConfig) -> dict[str, str]:
    """What `config_of` needs beside the weights: nothing."""
    return {}
