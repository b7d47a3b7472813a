"""What generators of all families promise, where it is tested of several."""

from __future__ import annotations

import torch

from generators import Generator, WeightShift


def shifted_draws_as_added(generator: Generator, name: str) -> None:
    """A shifted convolution draws as one to which the shift was added, and leaves alone whom it is not for."""
    weight = generator.convolutions()[name]
    shift = torch.randn_like(generator.get_parameter(weight)) * 0.1
    w = generator.sample([1, 2])
    plain = generator.with_weights({weight: shift}).render(w)
    shifted = generator.shifted({name: WeightShift(shift[None], w.new_tensor([[1.0], [0.0]]))}).render(w)
    assert torch.allclose(shifted[0], plain[0], atol=1e-9)
    assert torch.allclose(shifted[1], generator.render(w)[1], atol=1e-9)
