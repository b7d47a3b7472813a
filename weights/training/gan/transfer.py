"""Starting from another generator, so that what it learned need not be learned again.

A wider network can hold a narrower one: its channels are the first ones, the further ones are new, and nothing that was
there listens to a new channel yet. New blocks of higher resolutions add nothing to the picture yet. So the pictures
right after the transfer are those of the other generator, enlarged (Chen et al., "Net2Net", 2016, keep the function
while widening as well, by doubled channels; here the new ones are random, so that none needs to be told from its twin).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from stylegan2.config import GeneratorConfig
from stylegan2.network import Generator
from weights.errors import InputError


@dataclass(frozen=True)
class Transfer:
    """What `transfer` did, by the names of parameters and buffers."""

    copied: tuple[str, ...]   # As they are.
    widened: tuple[str, ...]  # Copied into the first channels of a larger one.
    new: tuple[str, ...]      # Left at random.

    def describe(self) -> str:
        """One line: how many weights, and of which parts of the network; each part is named once."""
        told, parts = [], set()
        for kind in ("new", "widened", "copied"):
            names = getattr(self, kind)
            found = [part for part in _parts(names) if part not in parts]
            parts.update(found)
            if names:
                told.append(f"{kind}: {len(names)} weights ({', '.join(found) or 'of parts named before'})")
        return "; ".join(told)


def _parts(names: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys("mapping" if name.startswith("mapping.") else name.split(".")[1] for name in names))


def check_start(source: GeneratorConfig, target: GeneratorConfig, name: str) -> None:
    """Raise an InputError if nothing useful can be taken over: the latents differ, or the target is narrower."""
    for size in ("z_dim", "w_dim", "img_channels", "mapping_layers", "mapping_lr_multiplier"):
        if getattr(source, size) != getattr(target, size):
            raise InputError(f"{name}: its {size} is {getattr(source, size)}, that of the new one "
                             f"{getattr(target, size)}; they must be the same to start from it")
    for side, before, after in zip(source.resolutions, source.channels, target.channels, strict=False):
        if before > after:
            raise InputError(f"{name}: has {before} channels at {side} pixels, the new one {after}; choose a larger "
                             "--channel-base or --channel-max, or start from nothing")


@torch.no_grad()
def transfer(source: Generator, target: Generator, name: str = "the generator to start from") -> Transfer:
    """Put what `source` knows into `target`, which has random weights.

    Returns:
        What was copied, what was widened and what is new.
    Raises:
        InputError: see `check_start`.
    """
    check_start(source.config, target.config, name)
    known = source.state_dict()
    kinds: dict[str, list[str]] = {"copied": [], "widened": [], "new": []}
    for key, value in target.state_dict().items():  # The values are the weights themselves.
        if key not in known:
            kinds["new"].append(key)
            if key.endswith(("torgb.weight", "torgb.bias")):
                value.zero_()  # A block that is new adds nothing to the picture yet.
        elif known[key].shape == value.shape:
            value.copy_(known[key])
            kinds["copied"].append(key)
        else:
            _widen(known[key], value, key)
            kinds["widened"].append(key)
    return Transfer(*(tuple(kinds[kind]) for kind in ("copied", "widened", "new")))


def _widen(narrow: Tensor, wide: Tensor, key: str) -> None:
    """Put a weight into the first channels of a wider one, so that no old output depends on a new input."""
    gain = 1.0
    if key.endswith(("conv0.weight", "conv1.weight", "torgb.weight")):  # [O, C, K, K]
        wide[:len(narrow), narrow.shape[1]:] = 0
    if key.endswith("torgb.weight"):  # Scaled at run time by 1 / sqrt(C); the others are demodulated.
        gain = sqrt(wide.shape[1] / narrow.shape[1])
    wide[tuple(slice(size) for size in narrow.shape)] = narrow * gain
