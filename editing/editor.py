"""The Editor: set the latent once, edit many times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from directions import METHODS, Control, Controls, Steerable
from directions.control import Method, Space
from generators import Generator, to_pixels
from gradctrl import Move, lengths_to, walk
from inversion import Inversion
from weights.errors import InputError

UNTUNED_CHANNELS = 100  # Channels masked for a kept attribute without a count of its own (the paper's choice for all).
RENDER_BATCH = 8
Keep = Sequence[str] | Mapping[str, int]
Strengths = Mapping[str, float] | Mapping[str, float | Tensor]


@dataclass(frozen=True)
class Edited:
    """Edited latents."""

    latent: Tensor                # w+ [N, num_ws, w_dim]
    styles: Tensor | None = None  # What is added to the styles [N, style_dim]; only by controls of the style space.

    def split(self, size: int) -> Iterator[Edited]:
        """Parts of at most `size` latents."""
        for start in range(0, len(self.latent), size):
            yield self.select(slice(start, start + size))

    def select(self, index: Tensor | slice) -> Edited:
        """Some of the latents."""
        return Edited(self.latent[index], None if self.styles is None else self.styles[index])

    @staticmethod
    def join(parts: Sequence[Edited]) -> Edited:
        """All latents of several, one after the other."""
        latent = torch.cat([part.latent for part in parts])
        changed = [part.styles for part in parts if part.styles is not None]
        if not changed:
            return Edited(latent)
        return Edited(latent, torch.cat([changed[0].new_zeros(len(part.latent), changed[0].shape[1])
                                         if part.styles is None else part.styles for part in parts]))


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
            raise InputError(controls.source,
                             f"these controls belong to generator {controls.generator_hash[:12]}, not to the "
                             f"loaded one ({generator.hash[:12]})",
                             "load their generator, or train controls for this one")
        for control in controls.values():
            width = generator.w_dim if control.space == "w" else generator.layers[-1].stop
            if control.width != width or control.layers[1] > generator.num_ws:
                raise InputError(controls.source,
                                 f"the control {control.name} is for {control.space} of {control.width} and "
                                 f"layers up to {control.layers[1]}, the generator has {width} and "
                                 f"{generator.num_ws}", "train controls for this generator")
        self.generator = generator
        self.controls = controls.to(generator.device, generator.dtype)
        self._painter = generator           # Draws the pictures: the generator, or one tuned to the latent's photo.
        self._latent: Tensor | None = None  # w+ [N, num_ws, w_dim]
        self._styles: Tensor | None = None  # What earlier edits added to the styles [N, style_dim].
        self._single = True

    def set_latent(self, latent: Tensor | Inversion) -> None:
        """Set the one latent to edit: w [w_dim], w+ [num_ws, w_dim], or an inversion.

        Of an inversion with a tuned generator the pictures are that generator's; controls work on the latent as ever.

        Raises:
            InputError: the inversion belongs to another generator.
            ValueError: another shape.
        """
        painter = self.generator
        if isinstance(latent, Inversion):
            painter, latent = latent.generator_of(self.generator), latent.latent
        self.set_latents(latent[None])
        self._painter, self._single = painter, True

    def set_latents(self, latents: Tensor | Edited) -> None:
        """Set several latents to edit at once; `edit` then returns N pictures.

        Args:
            latents: w [N, w_dim], w+ [N, num_ws, w_dim], or edited latents, from which the next edits go on.
        Raises:
            ValueError: another shape.
        """
        edited = latents if isinstance(latents, Edited) else Edited(latents)
        self._painter = self.generator
        self._latent = self.generator.broadcast(edited.latent.to(self.generator.device, self.generator.dtype))
        self._styles = None if edited.styles is None else edited.styles.to(self._latent)
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

    @property
    def edited(self) -> Edited:
        """The latents, with what earlier edits added to their styles."""
        return Edited(self.latent, self._styles)

    def edit(self, strengths: Strengths, *, keep: Keep | None = None, layers: tuple[int, int] | None = None,
             step: float | None = None, method: str | None = None) -> np.ndarray:
        """Render the edited picture.

        Args:
            strengths: Signed strength by attribute; "name:class" for multi-class ones. Zeros and absentees do nothing.
            keep: Attributes to leave alone, with channel counts if a mapping; None: each control's own keep list.
            layers: Layer range [start, stop) for all; None: each control's own.
            step: Step length in W; None: each control's own.
            method: How attributes are kept, "project" or "paper", or the name of the controls' family; None: each
                control's own.
        Returns:
            uint8 [R, R, 3], or [N, R, R, 3] after `set_latents`.
        Raises:
            InputError: an unknown attribute or class, or a layer range that the generator does not have.
            RuntimeError: no latent was set.
        """
        pictures = self.render(self.displace(strengths, keep=keep, layers=layers, step=step, method=method))
        return pictures[0] if self._single else pictures

    @torch.no_grad()
    def displace(self, strengths: Strengths, *, keep: Keep | None = None, layers: tuple[int, int] | None = None,
                 step: float | None = None, method: str | None = None) -> Edited:
        """As `edit`, but return the edited latents; a strength may be a tensor [N], one for each latent.

        Each control walks its trajectory (`gradctrl.walk`) from w, the mean of the rows of its layer range; what it
        adds to w is added to these rows. For a w inversion that is the design's "the edited w replaces rows [start,
        stop)". Controls of the style space walk from the styles, and what they add is added to the styles of those
        rows.
        """
        latent = self.latent
        plan = [self._move(name, strength, keep, layers, step, method) for name, strength in strengths.items()
                if isinstance(strength, Tensor) or strength]
        if any(space == "styles" for _, _, space in plan):
            return self._displace_styles(latent, plan)
        added = walk(torch.zeros_like(latent[:, 0]), [move for move, _, _ in plan])
        result = latent.clone()
        for (_, (start, stop), _), displacement in zip(plan, added, strict=True):
            result[:, start:stop] += displacement[:, None]
        return Edited(result, self._styles)

    def _displace_styles(self, latent: Tensor, plan: list[tuple[Move, tuple[int, int], Space]]) -> Edited:
        styles = torch.zeros_like(self.generator.styles(latent))
        added = walk(styles, [move for move, _, _ in plan])
        change = styles if self._styles is None else self._styles.clone()
        for (_, (start, stop), _), displacement in zip(plan, added, strict=True):
            for part in self.generator.layers:
                if start <= part.row < stop:
                    change[:, part.start:part.stop] += displacement[:, part.start:part.stop]
        return Edited(latent, change)

    def edit_latent(self, strengths: Strengths, *, keep: Keep | None = None, layers: tuple[int, int] | None = None,
                    step: float | None = None, method: str | None = None) -> Tensor:
        """As `edit`, but return the edited w+ [N, num_ws, w_dim].

        Raises:
            InputError: the controls steer in the style space, where an edit is no w+; use `displace`.
        """
        edited = self.displace(strengths, keep=keep, layers=layers, step=step, method=method)
        if edited.styles is not None:
            raise InputError(self.controls.source, "these controls change styles, which no w+ holds",
                             "use another method, or Editor.displace")
        return edited.latent

    @torch.no_grad()
    def strengths_to(self, name: str, *, keep: Keep | None = None, layers: tuple[int, int] | None = None,
                     step: float | None = None, method: str | None = None) -> Tensor:
        """Strengths [N] at which the control's own score of a class reaches its margin, for the latents that were set.

        Args:
            name: "smile", "smile:serious" or "hair:blond".
            keep, layers, step, method: As for `edit`.
        Returns:
            Signed strengths of `key_of(name)`; 0 where the class is there already, infinite where it is out of reach.
        """
        control, class_index = self.find(name, method)
        x = self.states(control, layers=self._rows(control, layers))
        classes = torch.full([len(x)], class_index, device=x.device)
        output, _ = control.heading(class_index)
        return lengths_to(control, x, classes, keep=self._keep_list(control, keep, method),
                          step=step) / control.units[output]

    def key_of(self, name: str) -> str:
        """The name whose strength leads to a class: "smile" for "smile:serious" (below 0), "hair:blond" as it is."""
        control, class_index = self.find(name)
        return control.name if control.binary else f"{control.name}:{control.classes[class_index]}"

    def find(self, name: str, method: str | None = None) -> tuple[Steerable, int]:
        """The control and the class that "smile", "smile:serious" or "hair:blond" names.

        Raises:
            InputError: there is none.
        """
        attribute, _, class_name = name.partition(":")
        control = self._by_method(self.controls.find(attribute), method)
        if control.binary and class_name == control.classes[0]:
            return control, 0
        output = control.target(class_name or None)
        return control, 1 if control.binary else output

    @torch.no_grad()
    def render(self, edited: Tensor | Edited) -> np.ndarray:
        """Render w+ [N, num_ws, w_dim], or edited latents, as uint8 [N, R, R, 3], a few at a time.

        Drawn by the generator of the latent that was set: of an inversion with tuning, the tuned one.
        """
        edited = edited if isinstance(edited, Edited) else Edited(edited)
        return np.concatenate([to_pixels(self._painter.render(part.latent, style_change=part.styles))
                               for part in edited.split(RENDER_BATCH)])

    def scores(self, latent: Tensor | None = None) -> dict[str, Tensor]:
        """Each control's scores [N, C] at latents w+ [N, num_ws, w_dim] (default: the latents that were set).

        They are the controls' own opinion, at the mean of each one's layer range, or for controls of the style space
        at the styles.
        """
        return {name: control.scores(self.states(control, latent)) for name, control in self.controls.items()}

    @torch.no_grad()
    def states(self, control: Steerable, edited: Edited | Tensor | None = None, *,
               layers: tuple[int, int] | None = None) -> Tensor:
        """Latents as a control sees them [N, D]: the mean w of its layer range, or for the style space the styles.

        Args:
            control: The control.
            edited: Edited latents, w [N, w_dim] or w+ [N, num_ws, w_dim]; None: the latents that were set.
            layers: Layer range [start, stop); None: the control's own.
        """
        if edited is None:
            edited = self.edited
        elif isinstance(edited, Tensor):
            edited = Edited(self.generator.broadcast(edited))
        if control.space == "w":
            return edited.latent[:, slice(*(layers or control.layers))].mean(dim=1)
        styles = self.generator.styles(edited.latent)
        return styles if edited.styles is None else styles + edited.styles

    def _move(self, name: str, strength: float | Tensor, keep: Keep | None, layers: tuple[int, int] | None,
              step: float | None, method: str | None) -> tuple[Move, tuple[int, int], Space]:
        attribute, _, class_name = name.partition(":")
        control = self._by_method(self.controls.find(attribute), method)
        target = control.target(class_name or None)
        kept = self._keep_list(control, keep, method)
        rows = self._rows(control, layers)
        if step is not None and step <= 0:
            raise InputError(f"step {step}", "the step length must be above 0")
        # Each control looks at its own rows, and all of them have moved by what all moves have added.
        start = self.states(control, layers=rows)
        move = Move(direction=lambda added: control.direction(start + added, target, kept),
                    length=strength * control.units[target], step=step or control.step)
        return move, rows, control.space

    def _rows(self, control: Steerable, layers: tuple[int, int] | None) -> tuple[int, int]:
        """The layer range of an edit."""
        rows = control.layers if layers is None else layers
        if not 0 <= rows[0] < rows[1] <= self.generator.num_ws:
            raise InputError(f"layer range {rows[0]}:{rows[1]}", f"this generator has {self.generator.num_ws} layers",
                             f"use START:STOP within 0:{self.generator.num_ws}")
        return rows

    def _by_method(self, control: Steerable, method: str | None) -> Steerable:
        """The control with another method to keep attributes; only trained classifiers have a choice.

        A control of another family is steered by the method of its name, and by no other.
        """
        if method is None or method in (getattr(control, "method", None), getattr(control, "family", None)):
            return control
        if not isinstance(control, Control) or method not in METHODS:
            choices = " or ".join(METHODS) if isinstance(control, Control) else str(getattr(control, "family", "none"))
            raise InputError(self.controls.source, f"{control.name} cannot be steered by the method {method}",
                             f"give {choices}, or load the controls of that method")
        return replace(control, method=cast(Method, method))

    def _keep_list(self, control: Steerable, keep: Keep | None, method: str | None) -> list[tuple[Steerable, int]]:
        if keep is None:
            counts: Mapping[str, int] = {name: n for name, n in control.keep.items() if name in self.controls}
        elif isinstance(keep, Mapping):
            counts = keep
        else:
            counts = {name: control.keep.get(name, UNTUNED_CHANNELS) for name in keep}
        return [(self.controls.find(name), count) for name, count in counts.items() if name != control.name]
