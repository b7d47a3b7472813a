"""The architectures of generators that files can hold, by the names in our own files' metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from generators.base import Generator
from generators.biggan import BigGAN
from generators.checkpoints import biggan, mobilestylegan_sizes, pix2pixhd, progan, stylegan2_sizes, stylegan_sizes
from generators.mobilestylegan import MobileStyleGAN
from generators.pix2pixhd import Pix2PixHD
from generators.progan import ProGAN
from generators.stylegan import StyleGAN
from generators.stylegan2 import StyleGAN2


@dataclass(frozen=True)
class Architecture:
    """How generators of one architecture are built and described."""

    build: Callable[[Any], Generator]             # A generator with random weights, of a configuration.
    config_of: Callable[..., Any]                 # The configuration, from a file's path, metadata and weights.
    metadata_of: Callable[[Any], dict[str, str]]  # What a file must say of a configuration.


ARCHITECTURES = {
    StyleGAN2.architecture: Architecture(StyleGAN2, stylegan2_sizes.config_of, stylegan2_sizes.metadata_of),
    MobileStyleGAN.architecture: Architecture(MobileStyleGAN, mobilestylegan_sizes.config_of,
                                              mobilestylegan_sizes.metadata_of),
    StyleGAN.architecture: Architecture(StyleGAN, stylegan_sizes.config_of, stylegan_sizes.metadata_of),
    BigGAN.architecture: Architecture(BigGAN, biggan.config_of, biggan.metadata_of),
    ProGAN.architecture: Architecture(ProGAN, progan.config_of, progan.metadata_of),
    Pix2PixHD.architecture: Architecture(Pix2PixHD, pix2pixhd.config_of, pix2pixhd.metadata_of),
}
