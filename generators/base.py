"""The interface that every architecture of generators answers.

Symbols: N pictures, L rows of w+ (`num_ws`), D = `w_dim`, S styles, R = `img_resolution`, s a side in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NoReturn, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from generators.shifts import WeightShift
from generators.spaces import SEEDS, Space
from weights.errors import InputError
from weights.fingerprint import fingerprint

NoiseMode = Literal["const", "random", "none"]
Window = tuple[int, int, int, int]
"""A part of a picture: top, left, height and width in pixels."""
ALL_LAYERS = (4, 2048)
"""The layer range that holds every layer of every generator."""


@dataclass(frozen=True)
class Layer:
    """A layer of the synthesis network that reads a row of w+, and its place among the styles [N, S]."""

    name: str        # "b8.conv0", "b8.torgb".
    row: int         # Row of w+ that it reads.
    side: int        # Of the features that come out of it.
    position: float  # Its place in layer ranges, in sides of features: 8, and 12 for the second at 8 pixels.
    start: int       # Its columns [start, stop) of the styles.
    stop: int
    colours: bool    # Whether it is a colour layer.


ANOTHER = "use one of another architecture, as StyleGAN2"


def _missing(part: str, remedy: str = ANOTHER) -> InputError:
    return InputError(None, f"this generator has no {part}", remedy)


class MissingPart(nn.Module):
    """Stands where an architecture has no such part, and says so when it is called."""

    def __init__(self, part: str, remedy: str = ANOTHER) -> None:
        super().__init__()
        self.part, self.remedy = part, remedy

    def forward(self, *_: object, **__: object) -> NoReturn:
        raise _missing(self.part, self.remedy)


class Generator(nn.Module, ABC):
    """A generator of pictures, frozen once it is loaded. `generators.load` makes one from a file.

    An architecture gives its sizes to this constructor and fills in the methods; of what it lacks (z, W, styles,
    noise ...), the size is 0 and the method says so. Pictures are [N, 3, s, s], about [-1, 1], not clipped.

    Attributes:
        architecture: Name of the architecture in files.
        noise_name: Name of the buffer in which a layer holds its noise map; "": there are none.
        memory_format: In which `generators.load` lays out weights, as it is quickest on processors.
        no_photos: Why faces of photos cannot be inverted, as a part of a sentence; "": they can.
        z_dim: Length of z; 0: it draws from no z.
        c_dim: Number of class labels; 0: none.
        w_dim: Length of w; 0: it has no W.
        num_ws: Rows of w+.
        img_resolution: Side of a whole picture in pixels.
        sides: Sides at which `render` gives pictures, ascending; the last is `img_resolution`.
        layers: The layers that read a row of w+, in the order of use; their columns make up the styles.
        compute_dtype: Precision of the convolutions, set by `precision`; None: that of the weights.
        mapping: The mapping network, called as mapping(z [N, z_dim], c [N, c_dim] or None, truncation=psi); gives
            w [N, w_dim], moved towards the neutral w where psi is below 1. Of a class-conditional generator w is of the
            class of `of_class`, the first one where none is chosen.
        config: What an instance is built from, beside its weights.
    """

    architecture: ClassVar[str]
    noise_name: ClassVar[str] = ""
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    no_photos: ClassVar[str] = ""
    mapping: nn.Module
    config: Any

    def __init__(self, *, img_resolution: int, sides: Sequence[int], layers: Sequence[Layer] = (), z_dim: int = 0,
                 c_dim: int = 0, w_dim: int = 0, num_ws: int = 0) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.img_resolution, self.sides, self.layers = img_resolution, tuple(sides), tuple(layers)
        self.compute_dtype: torch.dtype | None = None
        self.mapping = MissingPart("mapping network")

    # What an architecture fills in.

    @abstractmethod
    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        """`render`, of arguments that are checked: ws is [N, L, D]."""

    def styles(self, latent: Tensor) -> Tensor:
        """The styles [N, S] of w [N, D] or w+ [N, L, D]: what the layers make of their rows, one after another.

        This is the style space of Wu, Lischinski and Shechtman, "StyleSpace Analysis" (2021).
        """
        self._refuse("styles")

    def _features(self, ws: Tensor) -> Iterator[tuple[Layer, Tensor]]:
        """Each layer in turn, with the features [N, C, s, s] that come out of it at w+ [N, L, D]."""
        self._refuse("layers")

    def tunable_weights(self, from_side: int) -> dict[str, nn.Parameter]:
        """The weights that pivotal tuning changes, by name: convolutions of features of `from_side` pixels and more.

        The coarser ones decide on shape and expression. No styles depend on them.
        """
        self._refuse("weights that can be tuned")

    def convolutions(self) -> dict[str, str]:
        """The convolutions whose weights can be shifted: each one's name, and that of its weight [O, C, k, k].

        The names are those of layers. The module that holds the weight uses its `shift` wherever that is not None.
        """
        self._refuse("convolutions whose weights can be shifted")

    def side_showing(self, convolution: str, least: int = 0) -> int:
        """The smallest of `sides` of at least so many pixels whose pictures a convolution has a part in."""
        of = next((layer.side for layer in self.layers if layer.name == convolution), self.img_resolution)
        return self.side_for(max(of, least))

    def _convolutions_from(self, side: int, *more: str) -> dict[str, nn.Parameter]:
        """The weights of the convolutions of features of so many pixels and more, and others, by name."""
        sides = {layer.name: layer.side for layer in self.layers}
        names = [weight for name, weight in self.convolutions().items() if sides[name] >= side]
        return {name: self.get_parameter(name) for name in (*names, *more)}

    def _refuse(self, part: str) -> NoReturn:
        raise _missing(part)

    # What all architectures share.

    def activations(self, latent: Tensor, layer: str) -> Tensor:
        """The features [N, C, s, s] that come out of a layer, by its name, at w [N, D] or w+ [N, L, D]."""
        for each, x in self._features(self.broadcast(latent)):
            if each.name == layer:
                return x
        raise ValueError(f"there is no layer {layer!r}; there are {', '.join(each.name for each in self.layers)}")

    def neutral(self) -> Tensor:
        """The w [D] with which everything can begin: the mean."""
        if not self.w_dim:
            self._refuse("W")
        return self.mapping.w_avg  # type: ignore[return-value]

    @property
    def noise(self) -> list[Tensor]:
        """The stored noise maps [s, s], in the order of use; can be set, as to optimise them."""
        return [getattr(module, self.noise_name) for module in self._noisy_layers()]

    @noise.setter
    def noise(self, maps: Sequence[Tensor]) -> None:
        if maps and not self.noise_name:
            self._refuse("noise maps")
        for module, noise in zip(self._noisy_layers(), maps, strict=True):
            setattr(module, self.noise_name, noise)

    def _noisy_layers(self) -> list[nn.Module]:
        return [module for module in self.modules() if self.noise_name in dict(module.named_buffers(recurse=False))]

    def render(self, latent: Tensor, side: int | None = None, *, noise_mode: NoiseMode = "const",
               style_change: Tensor | None = None) -> Tensor:
        """Render w [N, D] or w+ [N, L, D] as pictures [N, 3, side, side], about [-1, 1], not clipped.

        Args:
            latent: The latents.
            side: One of `sides`; None: `img_resolution`.
            noise_mode: "const": the noise maps stored with the generator; "random": new ones; "none".
            style_change: [N, S], added to the latents' styles before they are used; None: nothing.
        Raises:
            ValueError: another shape, or no such side or noise.
        """
        ws = self.broadcast(latent)
        side = self.img_resolution if side is None else side
        if side not in self.sides:
            raise ValueError(f"this generator draws pictures of the sides {self.sides}, not {side}")
        if noise_mode not in get_args(NoiseMode):
            raise ValueError(f"noise_mode must be const, random or none, not {noise_mode!r}")
        if style_change is not None and style_change.shape != (len(ws), self.layers[-1].stop):
            raise ValueError(f"style_change must be [{len(ws)}, {self.layers[-1].stop}], not "
                             f"{list(style_change.shape)}")
        return self._draw(ws, side, noise_mode, style_change)

    def render_with_window(self, latent: Tensor, side: int, window: Window) -> tuple[Tensor, Tensor]:
        """A small picture [N, 3, side, side] and a window of the whole one [N, 3, h, w], in one pass.

        Where a generator draws smaller pictures by themselves this takes less than a whole picture.

        Args:
            latent: w [N, D] or w+ [N, L, D].
            side: Of the small picture, in pixels: one of `sides`, or less.
            window: Of the picture of `img_resolution` pixels.
        """
        whole = self.render(latent)
        top, left, height, width = window
        return F.adaptive_avg_pool2d(whole, side), whole[:, :, top:top + height, left:left + width]

    def forward(self, z: Tensor, c: Tensor | None = None, *, truncation: float = 1.0,
                noise_mode: NoiseMode = "const") -> Tensor:
        """Render z [N, z_dim] as pictures [N, 3, R, R]."""
        return self.render(self.mapping(z, c, truncation=truncation), noise_mode=noise_mode)

    def broadcast(self, latent: Tensor) -> Tensor:
        """Repeat w [N, D] to w+ [N, L, D]; w+ is returned as it is.

        Raises:
            ValueError: the latent is neither.
        """
        if not self.w_dim:
            self._refuse("latent")
        if latent.ndim == 2 and latent.shape[1] == self.w_dim:
            return latent[:, None, :].expand(-1, self.num_ws, -1)
        if latent.ndim == 3 and latent.shape[1:] == (self.num_ws, self.w_dim):
            return latent
        raise ValueError(f"a latent must be w [N, {self.w_dim}] or w+ [N, {self.num_ws}, {self.w_dim}], "
                         f"not {list(latent.shape)}")

    def draw_z(self, seeds: Sequence[int]) -> Tensor:
        """Draw z ~ N(0, I) for each seed; [len(seeds), z_dim]. The same on every device, whatever the batch."""
        rows = [torch.randn(self.z_dim, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return torch.stack(rows).to(self.device, self.dtype)

    @torch.no_grad()
    def sample(self, seeds: Sequence[int], *, truncation: float = 1.0) -> Tensor:
        """Draw w for each seed; [len(seeds), w_dim]."""
        w: Tensor = self.mapping(self.draw_z(seeds), truncation=truncation)
        return w

    def side_for(self, side: int) -> int:
        """The smallest of `sides` of at least `side` pixels; the largest where all are smaller."""
        return next((each for each in self.sides if each >= side), self.img_resolution)

    def rows(self, layers: tuple[float, float]) -> tuple[int, int]:
        """The rows [start, stop) of w+ of a layer range, stated in sides of features.

        A row is in the range where start <= position < stop; its position is the highest of its layers': the side for a
        side's first convolution, 1.5 of it for the second, 1.75 for its colours.

        Raises:
            InputError: there is no row in the range.
        """
        start, stop = layers
        rows = [row for row, position in enumerate(self.row_positions) if start <= position < stop]
        if not rows and self.num_ws == 1:
            raise InputError(None, f"the layer range {start:g}-{stop:g}: one latent feeds all layers of this generator",
                             "leave the layer range away")
        if not rows:
            sides = sorted({layer.side for layer in self.layers})
            raise InputError(None, f"the layer range {start:g}-{stop:g} holds none of this generator's layers",
                             f"their sides are {', '.join(map(str, sides))}")
        return rows[0], rows[-1] + 1

    @cached_property
    def row_positions(self) -> tuple[float, ...]:
        """The position of each row of w+ in layer ranges, ascending."""
        return tuple(max(layer.position for layer in self.layers if layer.row == row) for row in range(self.num_ws))

    def with_weights(self, differences: Mapping[str, Tensor]) -> Generator:
        """A generator that shares all weights with this one but those that are named, to which something is added.

        Args:
            differences: What is added, by parameter name; any dtype and device.
        Raises:
            ValueError: no such parameter, or another shape.
        """
        named = dict(self.named_parameters())
        for name, added in differences.items():
            if name not in named or named[name].shape != added.shape:
                raise ValueError(f"{name} {list(added.shape)}: this generator has no such weight")
        shared = [*self.parameters(), *self.buffers()]
        copied = deepcopy(self, {id(tensor): tensor for tensor in shared})
        for taken in ("hash", "spaces"):
            copied.__dict__.pop(taken, None)  # They are another one's now.
        for name, added in differences.items():
            module, _, weight = name.rpartition(".")
            changed = nn.Parameter(named[name] + added.to(named[name]), requires_grad=False)
            setattr(copied.get_submodule(module), weight, changed)
        return copied

    def shifted(self, shifts: Mapping[str, WeightShift]) -> Generator:
        """A generator that shares all weights with this one, and draws with those of some convolutions shifted.

        Making it takes a fraction of a millisecond. Each sample of a batch may have shifts of its own.

        Args:
            shifts: By the convolutions' names (`convolutions`).
        Raises:
            ValueError: no such convolution, or shifts of another shape.
        """
        weights = self.convolutions()
        for name, shift in shifts.items():
            if name not in weights or self.get_parameter(weights[name]).shape != shift.directions.shape[1:]:
                raise ValueError(f"{name} {list(shift.directions.shape[1:])}: this generator has no such convolution")
        copied = copy(self)
        for taken in ("hash", "spaces"):
            copied.__dict__.pop(taken, None)  # They are another one's now.
        for name, shift in shifts.items():
            module: nn.Module = copied
            for part in weights[name].split(".")[:-1]:  # What lies above the convolution is copied, what beside it not.
                module._modules = dict(module._modules)
                child = copy(module.get_submodule(part))
                module._modules[part] = child
                module = child
            module.shift = shift  # type: ignore[assignment]
        return copied

    def of_class(self, index: int) -> Generator:
        """A generator that shares all weights with this one and draws one of its classes, with a W of its own.

        Raises:
            InputError: it knows no classes, or fewer.
        """
        if not 0 <= index < self.c_dim:
            raise InputError(None, f"this generator has no class {index}",
                             f"choose one of 0 to {self.c_dim - 1}" if self.c_dim else "it draws one class alone")
        copied = self.with_weights({})
        copied.__dict__["hash"] = self.hash  # The weights are the same.
        copied.mapping.class_index = index  # type: ignore[assignment]
        return copied

    def in_precision(self, dtype: torch.dtype | None) -> Generator:
        """A generator that shares all with this one and computes the convolutions in another precision (`precision`).

        Whoever uses this one meanwhile does not see it.
        """
        copied = copy(self)
        copied.compute_dtype = dtype
        return copied

    @contextmanager
    def precision(self, dtype: torch.dtype | None) -> Iterator[None]:
        """Compute the convolutions in another precision for a while; None: in that of the weights.

        Pictures are added up in the weights' own precision all the same.
        """
        before, self.compute_dtype = self.compute_dtype, dtype
        try:
            yield
        finally:
            self.compute_dtype = before

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the weights; every file that holds what belongs to all weights names them by it.

        Computed on first use and kept: take it before training the weights or changing their precision.
        """
        return fingerprint(self.state_dict())

    @property
    def class_index(self) -> int | None:
        """The class that is drawn; None: the generator knows no classes."""
        return int(self.mapping.class_index) if self.c_dim else None  # type: ignore[arg-type]

    @property
    def identity(self) -> str:
        """The hash, and of a generator that knows classes the one that is drawn: with it, a seed names a picture."""
        return self.hash + (f" class {self.class_index}" if self.c_dim else "")

    @property
    def space(self) -> Space:
        """W; every file that holds a latent or a direction in W names it."""
        return self.space_of("w")

    def space_of(self, kind: str) -> Space:
        """The latent space of a kind: "w" or "styles".

        Raises:
            InputError: there is none.
        """
        if kind not in self.spaces:
            self._refuse("W" if kind == "w" else kind)
        return self.spaces[kind]

    @property
    def to_that_space(self) -> str:
        """What to do where something is of another space than W; the beginning of a remedy."""
        return ("draw the class that they are of (--class), or load" if self.c_dim else "load") + (
            " a generator of that space")

    def _exact(self) -> Self:
        """Itself, or in half precision a copy in single, for what must not depend on rounding."""
        return self if self.dtype in (torch.float32, torch.float64) else deepcopy(self).float()

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """The latent spaces, by kind: "w", and "styles" where there are any.

        Computed on first use and kept, as the hash is.
        """
        exact = self._exact()
        w = exact.sample(SEEDS)
        with torch.no_grad():
            return {"w": Space.of("w", w)} | ({"styles": Space.of("styles", exact.styles(w))} if self.layers else {})
