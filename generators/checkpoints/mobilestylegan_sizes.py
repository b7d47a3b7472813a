"""The sizes of a MobileStyleGAN generator, from its weights; metadata need not tell them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from generators.checkpoints.check import size_of
from generators.mobilestylegan import MobileStyleGANConfig
from weights.errors import InputError


def read_config(path: Path, state: Mapping[str, Tensor]) -> MobileStyleGANConfig:
    """Derive all sizes from the shapes of the weights.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    blocks = sum(re.fullmatch(r"synthesis\.layers\.\d{1,3}\.conv2\.weight", name) is not None for name in state)
    layers = sum(re.fullmatch(r"mapping\.fc\d{1,3}\.weight", name) is not None for name in state)
    readouts = [re.fullmatch(r"synthesis\.readouts\.(\d{1,4})\.low\.weight", name) for name in state]
    try:
        return MobileStyleGANConfig(
            img_resolution=8 * 2 ** min(blocks, 16),
            channels=(size_of(path, state, "synthesis.const", 0),
                      *(size_of(path, state, f"synthesis.layers.{i}.conv2.weight", 0) for i in range(blocks))),
            readouts={int(found[1]): size_of(path, state, f"synthesis.readouts.{found[1]}.detail.weight", 1)
                      for found in readouts if found},
            z_dim=size_of(path, state, "mapping.fc0.weight", 1),
            w_dim=size_of(path, state, "mapping.fc0.weight", 0),
            mapping_layers=min(layers, 64),
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def config_of(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> MobileStyleGANConfig:
    """The sizes of one of our own files."""
    return read_config(path, state)


def metadata_of(config: MobileStyleGANConfig) -> dict[str, str]:
    """The sizes that a reader of the file may want to see; the program takes them from the weights."""
    return {name: str(getattr(config, name)) for name in ("img_resolution", "z_dim", "w_dim")}
