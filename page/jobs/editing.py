"""Edits of a subject: the pictures, and what reproduces them."""

from __future__ import annotations

import weakref

import numpy as np

from editing import Edit, Editor, Recipe, Session
from generators import Generator
from inversion import keep_tone, made_smaller, skin_tone
from page.state.models import EditingModels
from page.state.visitor import EditSubject, SmallPicture, Visitor

LAST = 2  # Edits of each subject that are kept.

# One is asked for while a slider is dragged, when it rests, and to be measured; another may be pinned beside it.
_LAST: weakref.WeakKeyDictionary[EditSubject, tuple[tuple[EditingModels, Edit, np.ndarray], ...]] = (
    weakref.WeakKeyDictionary())


def editor_of(models: EditingModels, subject: EditSubject, method: str | None = None) -> Editor:
    """An editor of its own for one edit: editors hold a latent, and visitors must not share one.

    Raises:
        InputError: controls or latent belong to another generator.
    """
    editor = Editor(models.generator, models.controls_of(method))
    editor.set_latent(subject.inversion or subject.latent, picture=subject.picture)
    return editor


def edited_picture(models: EditingModels, subject: EditSubject, edit: Edit) -> np.ndarray:
    """The edited picture, uint8 [R, R, 3]; the one of the latent itself where nothing is changed.

    Raises:
        InputError: the method's controls have no such attribute or class.
    """
    if not edit.changes:
        return subject.picture
    last = _LAST.get(subject, ())
    for known in last:
        if known[0] is models and known[1] == edit and [*known[1].strengths] == [*edit.strengths]:  # In this order.
            _LAST[subject] = known, *(other for other in last if other is not known)
            return known[2]
    picture = editor_of(models, subject, edit.method).edit(edit)
    picture.flags.writeable = False  # Others are given it too.
    _LAST[subject] = (models, edit, picture), *last[:LAST - 1]
    return picture


def preview_picture(models: EditingModels, subject: EditSubject, edit: Edit) -> np.ndarray:
    """What can be shown of an edit while a slider moves: uint8 [s, s, 3], s being `EditingModels.preview_side`.

    What the generator's smaller picture lacks of the whole one, and of a tuned face's, is taken from the unedited face.

    Raises:
        InputError: the method's controls have no such attribute or class.
    """
    side = models.preview_side
    if side == models.generator.img_resolution:
        return edited_picture(models, subject, edit)
    if subject.small is None or len(subject.small.picture) != side:
        picture = made_smaller(subject.picture, side)
        drawn = editor_of(models, subject, edit.method).edit(Edit(), side=side, quick=True)
        subject.small = SmallPicture(picture, picture.astype(np.int16) - drawn)
    if not edit.changes:
        return subject.small.picture
    editor = editor_of(models, subject, edit.method)
    drawn = editor.edit(edit, side=side, quick=True)
    picture = np.clip(drawn + subject.small.lacking, 0, 255).astype(np.uint8)
    return keep_tone(picture, skin_tone(subject.small.picture)) if editor.keeps_tone(edit) else picture


def recipe_of(models: EditingModels, subject: EditSubject, edit: Edit) -> Recipe:
    """The recipe of an edit."""
    return Recipe.of(subject.source, models.generator, models.controls_of(edit.method), edit)


def session_of(visitor: Visitor, generator: Generator, *, with_photo: bool) -> Session:
    """What a visitor is working on, to be saved.

    Raises:
        InputError: there is nothing any more.
    """
    subject = visitor.present_subject
    photo, face = (subject.photo, subject.face) if with_photo else (None, None)
    return Session(name=subject.name, source=subject.source, generator=generator.identity, edit=visitor.edit,
                   inversion=subject.inversion, photo=photo, face=face)
