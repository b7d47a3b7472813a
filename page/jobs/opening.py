"""How an edit begins: a photo and a face in it, a face of nobody, or a session of another day."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from editing import SampleSource, Session
from generators import Generator, to_pixels
from generators.spaces import in_words
from inversion import Face, Photo, choose_face, find_upright, open_photo
from page.state.visitor import EditSubject, Visitor
from weights.errors import InputError


def take_photo(visitor: Visitor, path: str | Path, name: str | None = None) -> None:
    """Take a new photo and find its faces. A photo that cannot be used changes nothing.

    Args:
        visitor: Whose photo it becomes.
        path: Of the file.
        name: Its own name, for messages.
    Raises:
        InputError: not a photo, or no face in it.
    """
    _take(visitor, open_photo(path, name=name))


def turn_photo(visitor: Visitor) -> None:
    """Turn the photo in which no face was found, by a quarter to the right, and look for faces again.

    Raises:
        InputError: there is no such photo any more, or still no face in it.
    """
    photo = visitor.faceless
    if photo is None:
        raise InputError(None, "there is no photo to turn any more", "choose it again")
    _take(visitor, photo.turned(90))


def _take(visitor: Visitor, photo: Photo) -> None:
    visitor.faceless = photo  # It may be turned, if it comes to that.
    found = find_upright(photo)
    visitor.end_inversion()
    visitor.faceless = None
    visitor.photo, visitor.faces, visitor.chosen, visitor.subjects = found.photo, found.faces, None, {}


def choose(visitor: Visitor, index: int) -> Face:
    """Choose a face, from 0.

    Raises:
        InputError: there is no photo any more, or the face is too small.
    """
    if visitor.photo is None:
        raise InputError(None, "the photo is gone (photos are deleted after an hour)", "choose it again")
    visitor.chosen = None
    face = choose_face(visitor.faces, index, name=visitor.photo.name)
    visitor.chosen = index
    visitor.preparing = True
    return face


def face_at(visitor: Visitor, x: float, y: float) -> int | None:
    """The face whose quad's middle is nearest to a point of the photo, if the point is within its quad's reach."""
    distances = [float(np.hypot(*(face.quad.mean(0) - (x, y)))) / face.size for face in visitor.faces]
    if not distances or min(distances) > 0.75:  # A little beyond the corners, at 0.71.
        return None
    return int(np.argmin(distances))


def draw_sample(visitor: Visitor, generator: Generator, seed: int, truncation: float) -> None:
    """Begin to edit a synthetic sample."""
    visitor.end_inversion()
    visitor.begin_edits(sample_subject(generator, seed, truncation))


def sample_subject(generator: Generator, seed: int, truncation: float) -> EditSubject:
    """A synthetic sample, to be edited."""
    latent = generator.sample([seed], truncation=truncation)
    return EditSubject(name=f"sample-{seed}", generator=generator.identity, latent=latent[0].float().cpu(),
                       source=SampleSource(seed=seed, truncation=truncation),
                       picture=to_pixels(generator.render(latent))[0])


def resume(visitor: Visitor, session: Session, generator: Generator) -> None:
    """Go on with a saved session. One that cannot be used changes nothing.

    Raises:
        InputError: it belongs to another generator.
    """
    if session.generator != generator.identity:
        raise InputError(None, f"this session was saved with generator {in_words(session.generator)}, and "
                         f"{in_words(generator.identity)} is loaded", "choose the session's generator in the tab "
                         "Models, or begin again with the photo")
    session.edit.check()
    visitor.end_inversion()
    if isinstance(session.source, SampleSource):
        draw_sample(visitor, generator, session.source.seed, session.source.truncation)
    else:
        inversion = session.inversion
        assert inversion is not None
        inversion.generator_of(generator)  # Refuses one that is damaged.
        visitor.begin_edits(EditSubject(
            name=session.name, generator=generator.identity, latent=inversion.latent, picture=inversion.picture,
            photo=session.photo, face=session.face, inversion=inversion, source=session.source, from_cache=True))
    subject = visitor.present_subject
    subject.history.push(session.edit)
    subject.edit = session.edit
