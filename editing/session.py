"""Session files: a face and its edit, to go on with another day."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions import Edit
from editing.recipe import PhotoSource, SampleSource, pack_source, unpack_source
from inversion import Face, Inversion, Photo, open_photo
from inversion.record import pack_inversion, unpack_inversion
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-session-2"
ENDING = ".session.safetensors"
_REMEDY = "save the session again"
_INVERSION = "inversion."  # Begins the names of the inversion's tensors and texts.


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """What one works on: whose face it is, what its latent is, and the edit. The photo only if that is asked for."""

    name: str                            # Of the subject, for the names of files.
    source: PhotoSource | SampleSource
    generator: str                       # `Generator.identity`.
    edit: Edit
    inversion: Inversion | None = None   # Of a photo's face; None: a sample, which its seed draws again.
    photo: Photo | None = None           # These two together, or neither: to put the face back into the photo.
    face: Face | None = None

    def __post_init__(self) -> None:
        if (self.inversion is None) == isinstance(self.source, PhotoSource):
            raise ValueError("a photo's session has an inversion, and a sample's has none")
        if (self.photo is None) != (self.face is None):
            raise ValueError("a session has a photo and the face in it, or neither")


def save_session(path: str | os.PathLike[str], session: Session) -> None:
    """Write a session as safetensors; an older file at `path` is replaced only once the new one is whole.

    The photo, where there is one, is stored without loss and without the metadata of its file.

    Raises:
        InputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    metadata = {"format": FORMAT, "generator": session.generator, "name": session.name,
                "source": json.dumps(pack_source(session.source)), "edit": str(session.edit)}
    if session.inversion is not None:
        parts, texts = pack_inversion(session.inversion)
        tensors |= {_INVERSION + name: tensor for name, tensor in parts.items()}
        metadata |= {_INVERSION + name: text for name, text in texts.items()}
    if session.photo is not None and session.face is not None:
        face = session.face
        tensors |= {"photo": _as_png(session.photo), "landmarks": torch.tensor(face.landmarks),
                    "quad": torch.tensor(face.quad)}
        metadata["photo"] = json.dumps({"name": session.photo.name, "sha256": session.photo.sha256, "box": face.box,
                                        "score": face.score})
    write_tensors(path, tensors or {"empty": torch.zeros(1)}, metadata)


def load_session(path: str | os.PathLike[str], *, name: str | None = None) -> Session:
    """Read a session.

    Args:
        path: The file.
        name: What messages call it; None: its path.
    Raises:
        InputError: no such file, not a session, or damaged.
    """
    shown = name or os.fspath(path)
    try:
        tensors, metadata = read_tensors(path, format=FORMAT, what="a session", remedy=_REMEDY)
    except InputError as error:
        raise error.about(shown) from error
    try:
        return _session(tensors, metadata)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # An InputError is a ValueError.
        raise InputError(shown, f"damaged session ({type(error).__name__}: {error})", _REMEDY) from error


def _session(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Session:
    parts, texts = ({name.removeprefix(_INVERSION): value for name, value in items.items()
                     if name.startswith(_INVERSION)} for items in (tensors, metadata))
    photo, face = _photo(tensors, json.loads(metadata["photo"])) if "photo" in metadata else (None, None)
    return Session(name=metadata["name"], generator=metadata["generator"],
                   edit=Edit.from_json(json.loads(metadata["edit"])),
                   source=unpack_source(json.loads(metadata["source"])), photo=photo, face=face,
                   inversion=unpack_inversion(parts, texts) if parts else None)  # type: ignore[arg-type]


def _photo(tensors: Mapping[str, Tensor], stored: Mapping[str, Any]) -> tuple[Photo, Face]:
    try:
        decoded = open_photo(io.BytesIO(tensors["photo"].numpy().tobytes()), name=str(stored["name"]))
    except InputError as error:
        raise ValueError("its photo cannot be read") from error
    landmarks, quad = tensors["landmarks"].double().numpy(), tensors["quad"].double().numpy()
    if landmarks.shape != (68, 2) or quad.shape != (4, 2) or not (np.isfinite(landmarks).all()
                                                                  and np.isfinite(quad).all()):
        raise ValueError("the face's points have the wrong shape")
    left, top, right, bottom = (int(value) for value in stored["box"])
    face = Face(box=(left, top, right, bottom), score=float(stored["score"]), landmarks=landmarks, quad=quad)
    return replace(decoded, name=str(stored["name"]), sha256=str(stored["sha256"])), face


def _as_png(photo: Photo) -> Tensor:
    """A photo as PNG, with its transparency and in its own colours."""
    from PIL import Image

    data, pixels, profile = io.BytesIO(), photo.pixels, None
    if photo.stored is not None:
        pixels, profile = photo.stored.of(pixels, pixels)
    Image.fromarray(pixels).save(data, "PNG", compress_level=1, **({"icc_profile": profile} if profile else {}))
    return torch.frombuffer(bytearray(data.getvalue()), dtype=torch.uint8)
