"""Edits of a subject: the pictures, and what reproduces them."""

from __future__ import annotations

import weakref

import numpy as np

from editing import Edit, Editor, Recipe, Session
from generators import Generator
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor

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
    editor.set_latent(subject.inversion or subject.latent)
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
    return Session(name=subject.name, source=subject.source, generator=generator.hash, edit=visitor.edit,
                   inversion=subject.inversion, photo=photo, face=face)
