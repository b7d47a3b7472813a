"""The sizes of a StyleGAN generator: from its weights, and to and from the metadata of our own files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from generators.checkpoints.check import refusal, size_of
from generators.checkpoints.stylegan2_sizes import shared_sizes
from generators.stylegan import StyleGANConfig
from weights.errors import InputError

MULTIPLIER = "mapping_lr_multiplier"


def read_config(path: Path, state: Mapping[str, Tensor], *, mapping_lr_multiplier: float) -> StyleGANConfig:
    """Derive all sizes from the shapes of the weights, by our names.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    shared, z_dim = shared_sizes(path, state, "StyleGAN"), size_of(path, state, "mapping.fc0.weight", 1)
    try:
        return StyleGANConfig(**shared, z_dim=z_dim, mapping_lr_multiplier=mapping_lr_multiplier)
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def config_of(path: Path, metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> StyleGANConfig:
    """The sizes of one of our own files.

    Raises:
        InputError: its metadata lack a number, or the weights do not fit.
    """
    try:
        multiplier = float(metadata[MULTIPLIER])
        if not 0 < multiplier < 1e3:
            raise ValueError
    except (KeyError, ValueError) as error:
        raise refusal(path, f"{MULTIPLIER} is {metadata.get(MULTIPLIER)!r:.60} in its metadata",
                      "convert the original checkpoint again, or use another file") from error
    return read_config(path, state, mapping_lr_multiplier=multiplier)


def metadata_of(config: StyleGANConfig) -> dict[str, str]:
    """What `config_of` needs beside the weights."""
    return {MULTIPLIER: str(config.mapping_lr_multiplier), "img_resolution": str(config.img_resolution)}
