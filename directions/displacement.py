"""What an edit does to latents: each of its directions is walked, and what that adds is added to the edited layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from directions.control import Control, Direction, GradCtrlControl, KeepList
from directions.controls import Controls
from directions.edit import Edit
from directions.named import DirectionSet
from directions.weights import WeightDirection
from generators import Deformation, Deformations, Generator, shifts_of
from gradctrl import Move, walk
from weights.errors import InputError

UNTUNED_CHANNELS = 100  # Channels masked for a kept attribute without a count of its own (the paper's choice for all).
KEEPING = ("gradctrl", "interfacegan")  # Methods that have a way to keep attributes.
Strengths = Mapping[str, float] | Mapping[str, Tensor]


@dataclass(frozen=True)
class EditedLatents:
    """Latents, and what edits have added to the styles that a generator computes from them, and to its weights."""

    latent: Tensor                # w+ [N, num_ws, w_dim]
    styles: Tensor | None = None  # Added to the styles [N, S]; None: nothing.
    deformations: Deformations = field(default_factory=dict)  # Of the weights, with how far each latent goes, [N].

    def split(self, size: int) -> Iterator[EditedLatents]:
        """Parts of at most `size` latents."""
        for start in range(0, len(self.latent), size):
            yield self.select(slice(start, start + size))

    def select(self, index: Tensor | slice) -> EditedLatents:
        """Some of the latents."""
        return EditedLatents(self.latent[index], None if self.styles is None else self.styles[index],
                             {each: amounts[index] for each, amounts in self.deformations.items()})

    def render(self, generator: Generator, side: int | None = None) -> Tensor:
        """Their pictures [N, 3, side, side] by a generator, or by one that is tuned (`Generator.render`)."""
        shifts = shifts_of(self.deformations)
        painter = generator.shifted(shifts) if shifts else generator
        return painter.render(self.latent, side, style_change=self.styles)

    def put(self, index: Tensor, others: EditedLatents) -> EditedLatents:
        """These latents, with those at some places [M] replaced by M others."""
        def placed(here: Tensor, there: Tensor) -> Tensor:
            return here.index_put((index,), there)

        return self._with(others, placed)

    def towards(self, other: EditedLatents, part: float) -> EditedLatents:
        """A part of the straight way to others."""
        def between(here: Tensor, there: Tensor) -> Tensor:
            return torch.lerp(here, there, part)

        return self._with(other, between)

    def _with(self, other: EditedLatents, together: Callable[[Tensor, Tensor], Tensor]) -> EditedLatents:
        """These and others, latents, styles and deformations put together in one way."""
        styles = None
        if self.styles is not None or other.styles is not None:
            styles = together(_styles_of(self, other), _styles_of(other, self))
        named = [*self.deformations, *(each for each in other.deformations if each not in self.deformations)]
        return EditedLatents(together(self.latent, other.latent), styles, {
            each: together(self._amounts(each, other), other._amounts(each, self)) for each in named})

    def _amounts(self, deformation: Deformation, like: EditedLatents) -> Tensor:
        """How far each latent goes along a deformation [N]; zeros, as those of another are stored, where it is none."""
        if deformation in self.deformations:
            return self.deformations[deformation]
        return like.deformations[deformation].new_zeros(len(self.latent))

    @staticmethod
    def join(parts: Sequence[EditedLatents]) -> EditedLatents:
        """All latents of several, one after the other."""
        latent = torch.cat([part.latent for part in parts])
        with_styles = next((part for part in parts if part.styles is not None), None)
        styles = None if with_styles is None else torch.cat([_styles_of(part, with_styles) for part in parts])
        with_each = {each: part for part in parts for each in part.deformations}
        return EditedLatents(latent, styles, {each: torch.cat([part._amounts(each, like) for part in parts])
                                              for each, like in with_each.items()})


def _styles_of(edited: EditedLatents, like: EditedLatents) -> Tensor:
    """What was added to the styles [N, S]; zeros, as wide as those of another, where nothing was."""
    if edited.styles is not None:
        return edited.styles
    assert like.styles is not None
    return like.styles.new_zeros(len(edited.latent), like.styles.shape[1])


@dataclass(frozen=True)
class _Part:
    """One direction's part in an edit."""

    direction: Direction
    target: int
    keep: KeepList
    layers: tuple[int, int]
    length: float | Tensor  # Signed, for all latents or each [N].
    step: float

    def move(self, start: Tensor) -> Move:
        """Its walk from x [N, D]; it sees what all moves have added."""
        return Move(direction=lambda added: self.direction.direction(start + added, self.target, self.keep),
                    length=self.length, step=self.step)


@torch.no_grad()
def displace(generator: Generator, controls: Controls, edited: EditedLatents, edit: Edit, *,
             strengths: Strengths | None = None) -> EditedLatents:
    """Apply an edit to latents.

    Each direction walks its trajectory (`gradctrl.walk`) from w, the mean of the rows of its layer range; what it adds
    to w is added to these rows. For a w inversion that is "the edited w replaces rows [start, stop)". Directions of the
    styles then walk from the styles of the w+ that is reached, and what they add is added to the styles of those rows.
    Directions of weights have no trajectory: their shifts are added up. In a centred edit, directions that know where
    the mean of W lies begin there (`Edit.centred`).

    Args:
        generator: Whose latents they are.
        controls: Where the edit's names are looked up.
        edited: The latents [N].
        edit: What to do.
        strengths: In place of the edit's, by name; each may be a tensor [N], one for each latent.
    Raises:
        InputError: an unknown name or class, a layer range that the generator does not have, or a method that the
            controls are not of.
    """
    parts = [_part(controls, edit, name, strength) for name, strength in (strengths or edit.strengths).items()
             if isinstance(strength, Tensor) or strength or edit.centred]
    if edit.centred:
        edited = _centre(generator, edited, parts)
    parts = [part for part in parts if isinstance(part.length, Tensor) or part.length]
    for kind in ("w", "styles"):
        edited = _walk(generator, edited, [part for part in parts if part.direction.moves == kind])
    return _deform(generator, edited, [part for part in parts if part.direction.moves == "weights"])


def _deform(generator: Generator, edited: EditedLatents, parts: Sequence[_Part]) -> EditedLatents:
    """Add directions of the weights."""
    deformations = dict(edited.deformations)
    for part in parts:
        of = part.direction
        direction = of.member(part.target) if isinstance(of, DirectionSet) else of
        assert isinstance(direction, WeightDirection)
        direction.check(generator)
        amounts = edited.latent.new_zeros(len(edited.latent)) + part.length
        if direction.deformation in deformations:
            amounts = amounts + deformations[direction.deformation]
        deformations[direction.deformation] = amounts
    return replace(edited, deformations=deformations)


def _centre(generator: Generator, edited: EditedLatents, parts: Sequence[_Part]) -> EditedLatents:
    """Take the latents' own coordinates about the mean away, in the edited rows of w+ and along what knows its centre.

    Strengths then say where a latent goes, not how far: GANSpace's centred edits, and those towards a target.
    """
    latent = edited.latent.clone()
    for part in parts:
        centre = part.direction.centre_of(part.target)
        if centre is not None and part.direction.moves == "w":
            rows = latent[:, slice(*generator.rows(part.layers))]
            row = part.direction.direction(latent[:1, 0], part.target)[0]
            rows -= (rows @ row - centre)[..., None] * row
    return replace(edited, latent=latent)


def _walk(generator: Generator, edited: EditedLatents, parts: Sequence[_Part]) -> EditedLatents:
    """Take the parts of an edit that move the same thing, all at once."""
    if not parts:
        return edited
    # Each looks at its own rows, and all of them have moved by what all moves have added.
    starts = [states(generator, part.direction, edited, layers=part.layers) for part in parts]
    rows = [generator.rows(part.layers) for part in parts]
    added = walk(torch.zeros_like(starts[0]), [part.move(start) for part, start in zip(parts, starts, strict=True)])
    if parts[0].direction.moves == "w":
        latent = edited.latent.clone()
        for (start, stop), displacement in zip(rows, added, strict=True):
            latent[:, start:stop] += displacement[:, None]
        return replace(edited, latent=latent)
    change = torch.zeros_like(starts[0]) if edited.styles is None else edited.styles.clone()
    for (start, stop), displacement in zip(rows, added, strict=True):
        for layer in generator.layers:
            if start <= layer.row < stop:
                change[:, layer.start:layer.stop] += displacement[:, layer.start:layer.stop]
    return replace(edited, styles=change)


def _part(controls: Controls, edit: Edit, name: str, strength: float | Tensor) -> _Part:
    attribute, _, class_name = name.partition(":")
    direction = chosen_direction(controls, attribute, edit)
    target = direction.target(class_name or None)
    return _Part(direction, target, keep_list(controls, direction, edit), edit.layers or direction.layers_of(target),
                 strength * direction.units[target], step_of(direction, edit))


@torch.no_grad()
def states(generator: Generator, direction: Direction, edited: EditedLatents | Tensor, *,
           layers: tuple[int, int] | None = None) -> Tensor:
    """Latents as a direction sees them [N, D]: the mean w of its layer range, or the styles.

    Args:
        generator: Whose latents they are.
        direction: The direction.
        edited: Edited latents, w [N, w_dim] or w+ [N, num_ws, w_dim].
        layers: Layer range [start, stop) in sides; None: the direction's own.
    """
    if isinstance(edited, Tensor):
        edited = EditedLatents(generator.broadcast(edited))
    if direction.moves == "w":
        return edited.latent[:, slice(*generator.rows(layers or direction.layers))].mean(dim=1)
    styles = generator.styles(edited.latent)
    return styles if edited.styles is None else styles + edited.styles


def chosen_direction(controls: Controls, name: str, edit: Edit) -> Direction:
    """The direction of a name as an edit wants it.

    A keep list with channel counts means masks: that is what there are channels for.

    Raises:
        InputError: there is none of this name, or it was found by another method than the edit's.
    """
    direction = controls.find(name)
    if edit.method not in (None, direction.method):
        raise InputError(controls.source, f"{name} was found by {direction.method}, not by {edit.method}",
                         f"give the method {direction.method}, or load the controls of {edit.method}")
    if isinstance(edit.keep, Mapping) and isinstance(direction, GradCtrlControl):
        return replace(direction, keeping="masks")
    return direction


def keep_list(controls: Controls, direction: Direction, edit: Edit) -> KeepList:
    """The controls that an edit along a direction leaves alone, with the channels that each masks.

    Raises:
        InputError: a control that is to be kept is unknown, or was found by a method that this one cannot keep.
    """
    if not isinstance(direction, Control) or direction.method not in KEEPING:
        return []
    if edit.keep is None:
        return [(controls[name], count) for name, count in direction.keep.items()
                if name in controls and controls[name].method == direction.method]
    names: Mapping[str, int] = edit.keep if isinstance(edit.keep, Mapping) else {
        name: direction.keep.get(name, UNTUNED_CHANNELS) for name in edit.keep}
    kept = [(controls.find(name), count) for name, count in names.items() if name != direction.name]
    for other, _ in kept:
        if other.method != direction.method:
            raise InputError(other.name, f"was found by {other.method}, and {direction.name}, found by "
                             f"{direction.method}, cannot keep it", "take it off the keep list")
    return kept


def step_of(direction: Direction, edit: Edit) -> float:
    """The length of a step.

    Raises:
        InputError: the edit's is not above 0.
    """
    if edit.step is not None and edit.step <= 0:
        raise InputError(f"step {edit.step:g}", "the step length must be above 0", "give a larger one")
    return edit.step or direction.step
