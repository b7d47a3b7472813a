"""The Editor: set the latent once, edit many times."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions import Controls, Direction, Edit, EditedLatents, displace, key_of, states, strengths_to
from directions.control import Control
from directions.reaching import class_of
from generators import Generator, in_quickest_precision, to_pixels
from inversion import Inversion, Monochrome, keep_tone, made_smaller, skin_tone
from weights.errors import is_out_of_memory, out_of_memory

RENDER_BATCH = 8
RENDER_PIXELS = 1024 ** 2  # Of the pictures that are drawn at once, where one has not more.
NOTHING = Edit()


class Editor:
    """Edits one or several latents of a generator with its controls.

        editor = Editor(generator, controls)
        editor.set_latent(inverted)
        picture = editor.edit({"smile": 1.0, "age": 0.5}, keep=["eyeglasses", "gender"])

    A strength of 1 is the path length in W that flips the attribute of a typical sample, -1 as far the other way; 0 is
    the inversion itself. Multi-class attributes are named with the class to go to: "hair:blond".
    """

    def __init__(self, generator: Generator, controls: Controls) -> None:
        """Take a built generator and its controls.

        Raises:
            InputError: the controls are for another space.
        """
        controls.check(generator)
        self.generator = generator
        self.controls = controls.to(generator.device, generator.dtype)
        self._painter = generator  # Draws the pictures: the generator, or one tuned to the latent's photo.
        self._edited: EditedLatents | None = None
        self._picture: np.ndarray | None = None  # The unedited one of a single latent, if it is at hand.
        self._tones: dict[int | None, list[np.ndarray]] = {}  # Of the unedited pictures' skin, by side, once needed.
        self._monochrome: Monochrome | None = None  # Of a photo of one colour, whose edits are to have no other.
        self._single = True

    def set_latent(self, latent: Tensor | Inversion, *, picture: np.ndarray | None = None) -> None:
        """Set the one latent to edit: w [w_dim], w+ [num_ws, w_dim], or an inversion.

        Of an inversion with a tuned generator the pictures are that generator's; controls work on the latent as ever.
        Of an inverted black-and-white photo, or one in another single colour, they are so too.

        Args:
            latent: The latent.
            picture: Its unedited picture uint8 [R, R, 3], if it is at hand; an inversion has it.
        Raises:
            InputError: the inversion belongs to another generator.
            ValueError: another shape.
        """
        painter, monochrome = self.generator, None
        if isinstance(latent, Inversion):
            painter, monochrome = latent.generator_of(self.generator), latent.monochrome
            picture, latent = latent.picture, latent.latent
        self.set_latents(latent[None])
        self._painter, self._monochrome, self._picture, self._single = painter, monochrome, picture, True

    def set_latents(self, latents: Tensor | EditedLatents) -> None:
        """Set several latents to edit at once; `edit` then returns N pictures.

        Args:
            latents: w [N, w_dim], w+ [N, num_ws, w_dim], or edited latents, from which the next edits go on.
        Raises:
            ValueError: another shape.
        """
        edited = latents if isinstance(latents, EditedLatents) else EditedLatents(latents)
        latent = self.generator.broadcast(edited.latent.to(self.generator.device, self.generator.dtype))
        self._edited = EditedLatents(latent, None if edited.styles is None else edited.styles.to(latent),
                                     {each: amounts.to(latent) for each, amounts in edited.deformations.items()})
        self._painter, self._monochrome, self._single = self.generator, None, False
        self._picture, self._tones = None, {}

    @property
    def edited(self) -> EditedLatents:
        """The latents as w+ [N, num_ws, w_dim], with what earlier edits added to their styles.

        Raises:
            RuntimeError: none was set.
        """
        if self._edited is None:
            raise RuntimeError("no latent to edit: call Editor.set_latent first")
        return self._edited

    @property
    def latent(self) -> Tensor:
        """The latents as w+ [N, num_ws, w_dim]."""
        return self.edited.latent

    def edit(self, edit: Edit | Mapping[str, float], *, side: int | None = None, quick: bool = False,
             **how: Any) -> np.ndarray:
        """Render the edited picture.

        Args:
            edit: An edit, or signed strengths by attribute ("name:class" for multi-class ones).
            side, quick: Of the picture, as for `render`. A quick one has the tone of skin that was drawn.
            how: Other fields of `Edit`: keep, layers, step, method.
        Returns:
            uint8 [R, R, 3], or [N, R, R, 3] after `set_latents`.
        Raises:
            InputError: an unknown attribute or class, or a layer range that the generator does not have.
            RuntimeError: no latent was set.
        """
        edit = Edit.of(edit, **how)
        pictures = self.render(self.displace(edit), side, quick=quick, with_tone=not quick and self.keeps_tone(edit))
        return pictures[0] if self._single else pictures

    def keeps_tone(self, edit: Edit) -> bool:
        """Whether skin is to keep its colour in an edit's pictures: each of its controls says so."""
        directions = [self.controls.find(name.partition(":")[0]) for name in edit.strengths]
        return bool(directions) and all(isinstance(each, Control) and each.keeps_tone for each in directions)

    def displace(self, edit: Edit | Mapping[str, float], *, strengths: Mapping[str, Tensor] | None = None,
                 **how: Any) -> EditedLatents:
        """As `edit`, but return the edited latents (`directions.displace`).

        Args:
            edit, how: What to do.
            strengths: In place of the edit's: tensors [N] by name, one strength for each latent.
        """
        return displace(self.generator, self.controls, self.edited, Edit.of(edit, **how), strengths=strengths)

    def strengths_to(self, name: str, edit: Edit = NOTHING, **how: Any) -> Tensor:
        """Strengths [N] at which the control's own score of a class reaches its margin (`directions.strengths_to`)."""
        return strengths_to(self.generator, self.controls, self.edited, name, Edit.of(edit, **how))

    def key_of(self, name: str) -> str:
        """The name whose strength leads to a class: "smile" for "smile:serious" (below 0), "hair:blond" as it is."""
        return key_of(self.controls, name, NOTHING)

    def find(self, name: str, edit: Edit = NOTHING) -> tuple[Control, int]:
        """The control and the class that "smile", "smile:serious" or "hair:blond" names.

        Raises:
            InputError: there is none.
        """
        return class_of(self.controls, name, edit)

    @torch.no_grad()
    def render(self, edited: Tensor | EditedLatents, side: int | None = None, *, quick: bool = False,
               with_tone: bool = False) -> np.ndarray:
        """Render w+ [N, num_ws, w_dim], or edited latents, as uint8 [N, side, side, 3], a few at a time.

        Drawn by the generator of the latent that was set: of an inversion with tuning, the tuned one.

        Args:
            edited: The latents; with `with_tone` the editor's N latents, edited in one or several ways [M * N].
            side: One of the generator's sides; None: whole pictures. What a generator draws small does not know the
                tuning of its last layers, so that of a tuned one whole pictures are made smaller,
            quick: unless they are to be drawn small all the same, and in the precision that is quickest here.
            with_tone: Give skin the tone that it has in the pictures of the unedited latents.
        Raises:
            InputError: memory does not suffice for a single picture.
        """
        edited = edited if isinstance(edited, EditedLatents) else EditedLatents(edited)
        drawn = self._side_showing(edited, side) if quick or self._painter is self.generator else None
        painter = in_quickest_precision(self._painter) if quick else self._painter
        pictures = [picture for part in edited.split(self._batch_of(drawn))
                    for picture in self._draw(part, drawn, painter)]
        if with_tone:
            tones = cycle(self._unedited_tones(drawn))
            pictures = [np.stack([keep_tone(picture, next(tones)) for picture in part]) for part in pictures]
        if self._monochrome is not None:
            pictures = [self._monochrome(part) for part in pictures]
        if side is not None and side != drawn:
            pictures = [np.stack([made_smaller(picture, side) for picture in part]) for part in pictures]
        return np.concatenate(pictures)

    def _draw(self, edited: EditedLatents, side: int | None, painter: Generator) -> list[np.ndarray]:
        """Pictures in one array, or in several where memory does not suffice for all at once."""
        try:
            return [to_pixels(edited.render(painter, side))]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(edited.latent) == 1:
                raise out_of_memory(error) from error
        # Behind the except: until it is left, the error keeps all that was computed.
        return [picture for half in edited.split((len(edited.latent) + 1) // 2)
                for picture in self._draw(half, side, painter)]

    def _side_showing(self, edited: EditedLatents, side: int | None) -> int | None:
        """The side to draw at: small pictures know nothing of shifts in later convolutions."""
        if side is None:
            return None
        return max([side, *(self.generator.side_showing(each.layer, side) for each in edited.deformations)])

    def _unedited_tones(self, side: int | None) -> list[np.ndarray]:
        """Of the skin in the pictures of the latents that were set."""
        if side not in self._tones:
            unedited = self._picture[None] if side is None and self._picture is not None else self.render(
                self.edited, side)
            self._tones[side] = [skin_tone(picture) for picture in unedited]
        return self._tones[side]

    def _batch_of(self, side: int | None) -> int:
        """How many pictures are drawn at once: as few large ones as memory has room for."""
        return max(1, min(RENDER_BATCH, RENDER_PIXELS // (side or self.generator.img_resolution) ** 2))

    def scores(self, latent: Tensor | None = None) -> dict[str, Tensor]:
        """Each control's scores [N, C] at latents w+ [N, num_ws, w_dim] (default: the latents that were set).

        They are the controls' own opinion, at the mean of each one's layer range, or for controls of the styles at the
        styles.
        """
        return {name: control.scores(self.states(control, latent)) for name, control in self.controls.items()
                if isinstance(control, Control)}

    def states(self, direction: Direction, edited: EditedLatents | Tensor | None = None, *,
               layers: tuple[int, int] | None = None) -> Tensor:
        """Latents as a direction sees them [N, D] (`directions.states`); None: the latents that were set."""
        return states(self.generator, direction, self.edited if edited is None else edited, layers=layers)

    def check(self, edit: Edit) -> None:
        """Refuse what editing would refuse, before the long work, by a trial at the generator's neutral latent.

        Raises:
            InputError: an unknown attribute, or a strength, step or layer range out of reach.
        """
        edit.check()
        neutral = EditedLatents(self.generator.broadcast(self.generator.neutral()[None]))
        once = {name: min(max(strength, -0.01), 0.01) for name, strength in edit.strengths.items()}
        displace(self.generator, self.controls, neutral, edit.with_strengths(once))
