"""How the latents of a space are spread: their mean and principal axes, and coordinates in which all are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from generators.base import Generator
from weights.errors import InputError

SHARE = 0.98      # Of the variance of w that the axes hold; what is left is too thin to be followed.
SAMPLES = 10_000  # Drawn to measure a generator's W.


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentStatistics:
    """Mean and principal axes of w. A latent is w = mean + p @ axes with standard scores p, plus a little off the axes.

    The mapping network gives w a covariance whose deviations span a factor of a thousand. Steepest ascent in w itself
    follows the thin axes, where a step of length 1 leaves what the generator knows; in p all steps are alike, likely
    latents form a round ball, and the squared length says how unlikely one is (Zhu et al., "Improved StyleGAN
    Embedding: Where are the Good Latents?", 2020).
    """

    mean: Tensor  # [w_dim]
    axes: Tensor  # [K, w_dim], principal components times their deviations, widest first; largest entries positive.

    def __post_init__(self) -> None:
        if self.axes.ndim != 2 or self.mean.shape != self.axes.shape[1:]:
            raise ValueError(f"axes must be [K, w_dim] and mean [w_dim], not {list(self.axes.shape)}, "
                             f"{list(self.mean.shape)}")

    @classmethod
    def of(cls, latents: Tensor, *, share: float = SHARE) -> LatentStatistics:
        """Measure the shape of W on samples of it.

        Args:
            latents: w [N, w_dim], drawn from the mapping network; better thousands than hundreds.
            share: Share of the variance that the axes hold, in (0, 1].
        Returns:
            As many axes as that takes, in the latents' dtype and on their device.

        Raises:
            InputError: fewer than two different latents, or values that are not finite.
        """
        if len(latents) < 2 or not latents.isfinite().all():
            raise InputError(None, f"the shape of W needs at least two latents of finite values, not {len(latents)}",
                             "sample more")
        wide = latents.detach().cpu().double()  # Apple's MPS has no float64.
        mean = wide.mean(dim=0)
        variance, components = torch.linalg.eigh((wide - mean).T @ (wide - mean) / (len(wide) - 1))
        variance, components = variance.flip(0).clamp_min(0), components.flip(1)
        if variance[0] <= 1e-24 * wide.square().mean():  # No more than the mean's rounding.
            raise InputError(None, f"the shape of W needs latents that differ, and all {len(wide)} are the same",
                             "sample more")
        held = (variance.cumsum(0) / variance.sum().clamp_min(1e-300) < share).sum() + 1
        count = min(int(held), int((variance > 1e-12 * variance[0]).sum()), len(wide) - 1)
        # The sign of a principal component is arbitrary; this one makes it the same on every machine.
        components = components * components.gather(0, components.abs().argmax(dim=0, keepdim=True)).sign()
        axes = (components[:, :count] * variance[:count].sqrt()).T
        return cls(mean=mean.to(latents), axes=axes.to(latents))

    @classmethod
    @torch.no_grad()
    def of_generator(cls, generator: Generator, *, samples: int | None = None, share: float = 1.0) -> LatentStatistics:
        """Measure W on samples of it, always the same ones; None: `SAMPLES`. In float64 on the CPU."""
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(samples or SAMPLES, generator.z_dim, generator=rng).to(generator.device, generator.dtype)
        return cls.of(generator.mapping(z).cpu().double(), share=share)

    @cached_property
    def deviations(self) -> Tensor:
        """Standard deviations [K] along the axes."""
        return self.axes.norm(dim=1)

    @property
    def components(self) -> Tensor:
        """The axes at unit length [K, w_dim]: the principal components."""
        return self.axes / self.deviations[:, None]

    @cached_property
    def reader(self) -> Tensor:
        """Matrix [w_dim, K] with p = (w - mean) @ reader; the axes are orthogonal."""
        return (self.axes / self.axes.square().sum(dim=1, keepdim=True)).T

    def standardise(self, w: Tensor) -> Tensor:
        """Standard scores p [..., K] of w [..., w_dim]; a likely w has entries of about 1."""
        return (w - self.mean) @ self.reader

    def restore(self, scores: Tensor) -> Tensor:
        """w [..., w_dim] of standard scores p [..., K]."""
        return self.mean + scores @ self.axes

    def equals(self, other: LatentStatistics) -> bool:
        """Whether they are the same, bit for bit."""
        return torch.equal(self.mean, other.mean) and torch.equal(self.axes, other.axes)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> LatentStatistics:
        """The same elsewhere; what `standardise` needs is computed before it is rounded."""
        moved = replace(self, mean=self.mean.to(device, dtype), axes=self.axes.to(device, dtype))
        vars(moved)["reader"] = self.reader.to(device, dtype)
        return moved
