"""The sizes of a StyleGAN generator: from its weights, and to and from the metadata of our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from generators.checkpoints.check import check_state, expected_shapes, refusal, set_mean_w, size_of
from generators.stylegan import StyleGAN, StyleGANConfig, smoothing
from weights.errors import InputError

LARGEST_SIDE = 1024
MULTIPLIER = "mapping_lr_multiplier"


def read_config(path: Path, state: Mapping[str, Tensor], *, mapping_lr_multiplier: float) -> StyleGANConfig:
    """Derive all sizes from the shapes of the weights, by our names.

    Raises:
        InputError: a weight that is needed for it is missing, or the sizes are none that the program can render.
    """
    sides = sorted(int(name[11:-13]) for name in state if re.fullmatch(r"synthesis\.b\d{1,5}\.conv1\.weight", name))
    layers = sum(re.fullmatch(r"mapping\.fc\d{1,3}\.weight", name) is not None for name in state)
    if not sides or sides[-1] > LARGEST_SIDE:
        raise refusal(path, f"synthesis of {sides[-1] if sides else 0} pixels",
                      "use a StyleGAN generator of 32 to 1024 pixels")
    if not 1 <= layers <= 64:
        raise refusal(path, f"{layers} layers in the mapping network", "use a whole StyleGAN generator")
    size = partial(size_of, path, state)
    resolutions = [4 * 2 ** i for i in range((sides[-1] // 4).bit_length())]
    try:
        return StyleGANConfig(img_resolution=sides[-1], mapping_layers=layers,
                              channels=tuple(size(f"synthesis.b{side}.conv1.weight", 0) for side in resolutions),
                              z_dim=size("mapping.fc0.weight", 1), w_dim=size("mapping.fc0.weight", 0),
                              mapping_lr_multiplier=mapping_lr_multiplier)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(path, str(error), "use another generator") from error


def complete(path: Path, config: StyleGANConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Check the weights of another program's file (`check_state`), with the buffers that such files may lack.

    Raises:
        InputError: as for `check_state`.
    """
    random, without_mean = torch.Generator().manual_seed(0), "mapping.w_avg" not in state
    for name, shape in expected_shapes(StyleGAN, config).items():
        if name.endswith("resample_filter"):
            state.setdefault(name, smoothing())
        elif name.endswith("noise_const") and name not in state:
            state[name] = torch.randn(shape, generator=random)
    state.setdefault("mapping.w_avg", torch.zeros(config.w_dim))
    state = check_state(path, StyleGAN, config, state)
    if without_mean:
        set_mean_w(StyleGAN(config).mapping, state)
    return state


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
