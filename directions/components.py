"""Components: directions that nobody labelled, how far latents spread along each, and their file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.analyses import ANALYSES, Analysis, Latent
from directions.linear import LinearDirection
from generators import ALL_LAYERS, Generator, Space
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-components-1"
REMEDY = "find them again with `gradctrl discover components`"
W = "w"  # What stands for the output of the mapping network where a layer is named.


@dataclass(frozen=True, kw_only=True)
class ComponentSettings:
    """What components are found in, and how; the same settings find the same."""

    layer: str = W                    # "w", or a layer by its name: "b8.conv0".
    latent: Latent = "w"              # What the directions move.
    analysis: Analysis = "exact"
    samples: int = 100_000            # Of the layer's activations; with "sefa" and "random" of w, for their spread.
    batch: int = 8                    # Pictures that are drawn at once, at a layer.
    count: int = 80                   # Components.
    seed: int = 0
    layers: tuple[int, int] = ALL_LAYERS  # Of "sefa": the layer range whose styles are looked at.

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", (self.layers[0], self.layers[1]))
        if self.analysis in ("sefa", "random") and (self.layer, self.latent) != (W, "w"):
            raise InputError(None, f"{self.analysis} directions are of w", "leave layer and latent as they are")
        if self.latent not in ("w", "z") or self.analysis not in ANALYSES:
            raise ValueError(f"there are no components of {self.latent!r} by {self.analysis!r}")
        if min(self.samples, self.batch, self.count) < 1:
            raise ValueError("samples, batch and count must be at least 1")
        if self.count >= self.samples:
            raise InputError(None, f"{self.samples} samples vary along at most {self.samples - 1} components, and "
                             f"{self.count} are wanted", "take more samples, or fewer components")

    @property
    def in_words(self) -> str:
        """"exact, 80 of w, 100000 samples"."""
        where = self.layer if self.layer == self.latent else f"{self.layer} by {self.latent}"
        return f"{self.analysis}, {self.count} of {where}, {self.samples} samples"


@dataclass(frozen=True, eq=False, kw_only=True)
class Components:
    """Directions that nobody labelled, the widest first, and how latents are spread along them.

    `float32` on the CPU.
    """

    directions: Tensor  # [K, D], unit rows, in W or Z.
    deviations: Tensor  # [K], the standard deviation of latents along each: one sigma.
    shares: Tensor      # [K], each one's share of the variance of what was analysed; 0 where nothing was.
    mean: Tensor        # [D], of the latents.
    space: Space        # W of the generator.
    settings: ComponentSettings
    weights: str = ""   # `Generator.hash`, where they were found in a layer's activations; "": in W alone.

    def __len__(self) -> int:
        return len(self.directions)

    def check(self, generator: Generator) -> None:
        """Refuse a generator of another space.

        Raises:
            InputError: the message names both.
        """
        if not self.space.matches(generator.space):
            raise InputError(None, f"these components are of the space {self.space.short}, and the loaded generator "
                             f"has {generator.space.short}", f"{generator.to_that_space}, or find them again")

    def direction(self, number: int, *, name: str, sigmas: float = 1.0, layers: tuple[int, int] = ALL_LAYERS,
                  report: dict[str, object] | None = None) -> LinearDirection:
        """One component as a direction of edits.

        Args:
            number: Which, from 0.
            name: What it is to be called.
            sigmas: Standard deviations that strength 1 moves by; below 0: the other way.
            layers: Layer range, in sides of features.
            report: What else is known of it.
        Raises:
            InputError: there is no such component, it is one of Z, or sigmas is 0.
        """
        if not 0 <= number < len(self):
            raise InputError(None, f"there is no component {number}", f"name one of 0 to {len(self) - 1}")
        if self.latent != "w":
            raise InputError(None, "these components move z, which a photo's inversion does not have",
                             "find components that move w (--latent w)")
        if not sigmas:
            raise InputError(name, "0 sigmas are no edit", "give another number")
        unit = abs(sigmas) * float(self.deviations[number])
        row = self.directions[number] * (1.0 if sigmas > 0 else -1.0)
        made = {"component": number, "sigmas": sigmas, "found in": self.settings.in_words, "weights": self.weights}
        return LinearDirection(name=name, found_by="sefa" if self.settings.analysis == "sefa" else "ganspace",
                               directions=row[None], centre=float(self.mean @ row), units=(unit,), step=unit,
                               layers=layers, report=made | (report or {}))

    @property
    def latent(self) -> Latent:
        """What they move: "w" or "z"."""
        return self.settings.latent

    def moved(self, latents: Tensor, number: int, sigmas: Sequence[float], *, centred: bool = False) -> Tensor:
        """Latents z or w [N, D], moved along a component by each of some sigmas: [N, len(sigmas), D].

        Args:
            latents: What the components move.
            number: Which component.
            sigmas: How far, in standard deviations.
            centred: Take the latents' own coordinate about the mean away first.
        """
        row = self.directions[number].to(latents)
        if centred:
            latents = latents - ((latents - self.mean.to(latents)) @ row)[:, None] * row
        lengths = torch.tensor(sigmas, dtype=latents.dtype) * float(self.deviations[number])
        return latents[:, None] + (lengths.to(latents)[:, None] * row)[None]

    def truncated(self, psi: float) -> Components:
        """For latents that are truncated after they were moved, as GANSpace's authors do: psi scales the moves too."""
        return replace(self, deviations=psi * self.deviations)

    def random(self, seed: int = 0) -> Components:
        """As many random directions of the same lengths: the baseline that components are held against."""
        return replace(self, directions=random_rows(len(self), self.directions.shape[1], seed),
                       settings=replace(self.settings, seed=seed))


def random_rows(count: int, width: int, seed: int = 0) -> Tensor:
    """Random unit directions [count, width]: the baseline that components are held against."""
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def save_components(path: str | os.PathLike[str], components: Components, *,
                    dtype: torch.dtype = torch.float32) -> None:
    """Write components; an older file at `path` is replaced once the new one is whole.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {"directions": components.directions.to(dtype), "mean": components.mean.to(dtype),
               "deviations": components.deviations, "shares": components.shares}
    write_tensors(path, tensors, {"format": FORMAT, "space": components.space.to_text(), "weights": components.weights,
                                  "settings": json.dumps(asdict(components.settings), sort_keys=True)})


def load_components(path: str | os.PathLike[str]) -> Components:
    """Read what `save_components` wrote.

    Raises:
        InputError: no such file, not one of components, or damaged; the message names it.
    """
    tensors, metadata = read_tensors(path, format=FORMAT, what="a file of components", remedy=REMEDY)
    try:
        settings: dict[str, Any] = json.loads(metadata["settings"])
        parts = {name: tensors[name].float() for name in ("directions", "mean", "deviations", "shares")}
        count, width = parts["directions"].shape
        shapes = {"mean": (width,), "deviations": (count,), "shares": (count,)}
        if any(parts[name].shape != shape for name, shape in shapes.items()) or not all(
                part.isfinite().all() for part in parts.values()) or not (parts["deviations"] >= 0).all():
            raise ValueError("its tensors do not fit")
        if tensors["directions"].dtype != torch.float32:
            parts["directions"] = F.normalize(parts["directions"], dim=1)  # Rounding changed their lengths.
        return Components(**parts, settings=ComponentSettings(**settings), space=Space.from_text(metadata["space"]),
                          weights=metadata["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged file of components ({error})", REMEDY) from error
