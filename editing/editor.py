"""The Editor: set the latent once, edit many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gradctrl import Control, Controls, Move, direction, walk
from inversion import Inversion
from stylegan2 import Generator, to_pixels
from weights.errors import InputError

UNTUNED_CHANNELS = 100  # Channels masked for a kept attribute without a count of its own (the paper's choice for all).
RENDER_BATCH = 8
Keep = Sequence[str] | Mapping[str, int]


class Editor:
    """Edits one or several latents of a generator with its controls.

        editor = Editor(generator, controls)
        editor.set_latent(inverted)
        picture = editor.edit({"smile": 1.5, "hair:blond": 1.0}, keep=["eyeglasses", "age"])

    A strength of 1 is the path length in W that flips the attribute of a typical sample, -1 as far the other way; 0 is
    the inversion itself. Multi-class attributes are named with the class to go to: "hair:blond".
    """

    def __init__(self, generator: Generator, controls: Controls) -> None:
        """Take a built generator and its controls.

        Raises:
            InputError: the controls belong to another generator, or do not fit its w.
        """
        if controls.generator_hash not in (None, generator.hash):
            raise InputError(f"{controls.source}: these controls belong to generator {controls.generator_hash[:12]}, "
                             f"not to the loaded one ({generator.hash[:12]}); load their generator, or train controls "
                             "for this one")
        for control in controls.values():
            if control.classifier.w_dim != generator.w_dim or control.layers[1] > generator.num_ws:
                raise InputError(f"{controls.source}: the control {control.name} is for w of "
                                 f"{control.classifier.w_dim} and layers up to {control.layers[1]}, the generator has "
                                 f"{generator.w_dim} and {generator.num_ws}; train controls for this generator")
        self.generator = generator
        self.controls = controls.to(generator.device, generator.dtype)
        self._latent: Tensor | None = None  # w+ [N, num_ws, w_dim]
        self._single = True

    def set_latent(self, latent: Tensor | Inversion) -> None:
        """Set the one latent to edit: w [w_dim], w+ [num_ws, w_dim], or an inversion.

        Raises:
            InputError: the inversion belongs to another generator.
            ValueError: another shape.
        """
        if isinstance(latent, Inversion):
            latent.check(self.generator)
            latent = latent.latent
        self.set_latents(latent[None])
        self._single = True

    def set_latents(self, latents: Tensor) -> None:
        """Set several latents to edit at once: w [N, w_dim] or w+ [N, num_ws, w_dim]; `edit` then returns N pictures.

        Raises:
            ValueError: another shape.
        """
        self._latent = self.generator.broadcast(latents.to(self.generator.device, self.generator.dtype))
        self._single = False

    @property
    def latent(self) -> Tensor:
        """The latents as w+ [N, num_ws, w_dim].

        Raises:
            RuntimeError: none was set.
        """
        if self._latent is None:
            raise RuntimeError("no latent to edit: call Editor.set_latent first")
        return self._latent

    def edit(self, strengths: Mapping[str, float], *, keep: Keep | None = None,
             layers: tuple[int, int] | None = None, step: float | None = None) -> np.ndarray:
        """Render the edited picture.

        Args:
            strengths: Signed strength by attribute; "name:class" for multi-class ones. Zeros and absentees do nothing.
            keep: Attributes to leave alone, with channel counts if a mapping; None: each control's own keep list.
            layers: Layer range [start, stop) for all; None: each control's own.
            step: Step length in W; None: each control's own.
        Returns:
            uint8 [R, R, 3], or [N, R, R, 3] after `set_latents`.
        Raises:
            InputError: an unknown attribute or class, or a layer range that the generator does not have.
            RuntimeError: no latent was set.
        """
        pictures = self.render(self.edit_latent(strengths, keep=keep, layers=layers, step=step))
        return pictures[0] if self._single else pictures

    @torch.no_grad()
    def edit_latent(self, strengths: Mapping[str, float], *, keep: Keep | None = None,
                    layers: tuple[int, int] | None = None, step: float | None = None) -> Tensor:
        """As `edit`, but return the edited w+ [N, num_ws, w_dim].

        Each control walks its trajectory (`gradctrl.walk`) from w, the mean of the rows; what it adds to w is added to
        the rows of its layer range. For a w inversion that is the design's "the edited w replaces rows [start, stop)".
        """
        latent = self.latent
        plan = [self._move(name, strength, keep, layers, step) for name, strength in strengths.items() if strength]
        added = walk(latent.mean(dim=1), [move for move, _ in plan])
        result = latent.clone()
        for (_, (start, stop)), displacement in zip(plan, added, strict=True):
            result[:, start:stop] += displacement[:, None]
        return result

    @torch.no_grad()
    def render(self, latent: Tensor) -> np.ndarray:
        """Render w+ [N, num_ws, w_dim] as uint8 [N, R, R, 3], a few at a time."""
        return np.concatenate([to_pixels(self.generator.render(part)) for part in latent.split(RENDER_BATCH)])

    @torch.no_grad()
    def scores(self, latent: Tensor | None = None) -> dict[str, Tensor]:
        """Each control's scores [N, C] at latents w+ [N, num_ws, w_dim] (default: the latents that were set).

        They are the controls' own opinion, at the mean of each one's layer range.
        """
        latent = self.latent if latent is None else latent
        return {name: control.scores(latent[:, slice(*control.layers)].mean(dim=1))
                for name, control in self.controls.items()}

    def _move(self, name: str, strength: float, keep: Keep | None, layers: tuple[int, int] | None,
              step: float | None) -> tuple[Move, tuple[int, int]]:
        attribute, _, class_name = name.partition(":")
        control = self.controls.find(attribute)
        target = control.target(class_name or None)
        kept = self._keep_list(control, keep)
        rows = control.layers if layers is None else layers
        if not 0 <= rows[0] < rows[1] <= self.generator.num_ws:
            raise InputError(f"layer range {rows[0]}:{rows[1]}: this generator has {self.generator.num_ws} layers; use "
                             f"START:STOP within 0:{self.generator.num_ws}")
        if step is not None and step <= 0:
            raise InputError(f"step {step}: the step length must be above 0")
        move = Move(direction=lambda w: direction(control, w, target=target, keep=kept),
                    length=strength * control.units[target], step=step or control.step)
        return move, rows

    def _keep_list(self, control: Control, keep: Keep | None) -> list[tuple[Control, int]]:
        if keep is None:
            counts: Mapping[str, int] = {name: n for name, n in control.keep.items() if name in self.controls}
        elif isinstance(keep, Mapping):
            counts = keep
        else:
            counts = {name: control.keep.get(name, UNTUNED_CHANNELS) for name in keep}
        return [(self.controls.find(name), count) for name, count in counts.items() if name != control.name]
