"""Products with the Hessian of the perceptual distance in the weight of a convolution (NaviGAN, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from directions.navigan.basis import NotFiniteError
from directions.navigan.network import Network, shifted_by, weight_of
from inversion.perceptual import PerceptualDistance

KEPT_BYTES = 256 << 20  # Of the unmoved pictures' features, which are computed anew each time where they are more.
Features = list[Tensor]


class PerceptualHessian:
    """The Hessian at 0 of the mean over inputs of LPIPS(G(x), G_shifted(x)) in the shift of one convolution's weight.

    The gradient is differenced about 0: H v = (g(e v) - g(-e v)) / (2 e), v of unit length (the authors' way).
    """

    def __init__(self, network: Network, layer: str, inputs: Tensor, distance: PerceptualDistance, *,
                 batch: int = 8, step: float = 1.0) -> None:
        """Draw the unmoved pictures.

        Args:
            network: Frozen.
            layer: One of its convolutions.
            inputs: What it draws [N, ...].
            distance: LPIPS; its `max_side` is the side at which pictures are compared.
            batch: Pictures that are drawn at once.
            step: e, in root mean squares of the weight. The authors' 0.1 is that of raw weights, which are about 1.
        Raises:
            InputError: no such convolution, or its pictures are not finite.
        """
        self.network, self.layer, self.distance, self.batch = network, layer, distance, batch
        self.inputs, self.weight = inputs, weight_of(network, layer)
        self.step = step * float(self.weight.double().square().mean().sqrt())
        self.side = network.side_showing(layer, distance.max_side)
        self._kept: dict[int, Features] = {}
        first = self._features(network, inputs[:1])
        if not all(bool(each.isfinite().all()) for each in first):
            raise NotFiniteError(layer, "the network's pictures are not finite", "use another network")
        size = sum(each.numel() * each.element_size() for each in first) * len(inputs)
        self._keeps = size <= KEPT_BYTES

    @property
    def width(self) -> int:
        """A, numbers of the weight."""
        return self.weight.numel()

    def __call__(self, vector: Tensor) -> Tensor:
        """The product [A] with a unit vector [A], on the CPU.

        Raises:
            NotFiniteError: it is not finite.
        """
        ahead = (self.step * vector).to(self.weight).reshape(self.weight.shape)
        # In TensorFloat-32 the step would be rounded away.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            product = ((self.gradient(ahead) - self.gradient(-ahead)) / (2 * self.step)).flatten().float().cpu()
        if not bool(product.isfinite().all()):
            raise NotFiniteError(self.layer, "a product with the Hessian is not finite",
                                 "give a smaller --step, or other samples (--seed)")
        return product

    def gradient(self, shift: Tensor) -> Tensor:
        """The gradient of the mean distance, at a shift [O, C, k, k]."""
        total = torch.zeros_like(shift)
        for start in range(0, len(self.inputs), self.batch):
            at = shift.detach().requires_grad_()
            with torch.enable_grad():
                moved = self._features(shifted_by(self.network, self.layer, at), self._part(start))
                loss = self.distance.between(moved, self._unmoved(start)).sum()
                total += torch.autograd.grad(loss, at)[0]
        return total / len(self.inputs)

    def _unmoved(self, start: int) -> Features:
        if start in self._kept:
            return self._kept[start]
        with torch.no_grad():
            made = self._features(self.network, self._part(start))
        if self._keeps:
            self._kept[start] = made
        return made

    def _features(self, network: Network, inputs: Tensor) -> Features:
        return self.distance.features(network.render(inputs, self.side))

    def _part(self, start: int) -> Tensor:
        return self.inputs[start:start + self.batch]
