"""What is asked of a network whose weights are to be moved: convolutions, a batch of inputs, pictures. No latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from typing_extensions import Self

from generators import WeightShift
from weights.errors import InputError


class Network(Protocol):
    """A network of convolutions that turns inputs into pictures; every `generators.Generator` is one.

    What the inputs are is its own affair: w or w+ of a StyleGAN, the label maps of a translator of pictures.
    """

    @property
    def hash(self) -> str:
        """SHA-256 over its weights."""

    def convolutions(self) -> dict[str, str]:
        """The convolutions that can be shifted, with the names of their weights [O, C, k, k]."""

    def side_showing(self, convolution: str, least: int = 0, /) -> int:
        """The smallest side, of at least so many pixels, of pictures that a convolution has a part in."""

    def get_parameter(self, target: str, /) -> nn.Parameter:
        """A weight by its name."""

    def shifted(self, shifts: Mapping[str, WeightShift], /) -> Self:
        """The network with some convolutions shifted, for each sample or for all."""

    def render(self, inputs: Tensor, side: int | None = None, /) -> Tensor:
        """Pictures [N, 3, side, side] of inputs [N, ...], about [-1, 1]."""


def weight_of(network: Network, layer: str) -> Tensor:
    """The weight [O, C, k, k] of a convolution.

    Raises:
        InputError: there is none of this name; the message lists those that there are.
    """
    known = network.convolutions()
    if layer not in known:
        raise InputError(layer, "there is no such convolution", f"name one of {', '.join(known)}")
    return network.get_parameter(known[layer]).detach()


def shifted_by(network: Network, layer: str, shift: Tensor, amounts: Tensor | None = None) -> Network:
    """The network with one convolution shifted by [O, C, k, k], or by [K, O, C, k, k] by amounts [N, K]."""
    if amounts is None:
        shift, amounts = shift[None], torch.ones(1, 1, device=shift.device, dtype=shift.dtype)
    return network.shifted({layer: WeightShift(shift, amounts)})
