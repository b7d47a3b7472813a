"""Session files: what goes in comes out, and what is no session is refused by name."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from directions import Edit
from editing import PhotoSource, SampleSource, Session, load_session, save_session
from generators import Space
from inversion import Face, Inversion, Photo, ProjectorSettings, open_photo
from tests.inversion.corpus import cases
from weights.errors import InputError

SETTINGS = ProjectorSettings(start="mean", steps=3)
EDIT = Edit(strengths={"smile": 2.0, "hair:blond": -0.5}, keep=("age",), layers=(12, 96), step=0.3, method="gradctrl")


@pytest.fixture
def session() -> Session:
    rng = np.random.default_rng(0)
    crop, picture = (rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(2))
    inversion = Inversion(latent=torch.randn(6, 8), space=Space.of("w", torch.randn(4, 8)), crop=crop,
                          picture=picture, lpips=0.1, mse=0.2, identity=0.3, seconds=4.0, steps=3, settings=SETTINGS,
                          warnings=("blurred",),
                          tuning={"weight": torch.randn(2, 3).half()})
    face = Face(box=(1, 2, 30, 40), score=1.5, landmarks=rng.random((68, 2)) * 40, quad=rng.random((4, 2)) * 40)
    photo = Photo(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), "me.jpg", "b" * 64)
    return Session(name="me", source=PhotoSource(photo="b" * 64, face=0, inversion=SETTINGS), generator="a" * 64,
                   edit=EDIT, inversion=inversion, photo=photo, face=face)


def test_a_session_comes_back_as_it_was(session: Session, tmp_path: Path) -> None:
    save_session(tmp_path / "s.safetensors", session)
    found = load_session(tmp_path / "s.safetensors")
    assert (found.name, found.source, found.generator, found.edit) == (session.name, session.source, session.generator,
                                                                      session.edit)
    assert torch.equal(found.inversion.latent, session.inversion.latent)
    assert np.array_equal(found.inversion.crop, session.inversion.crop)
    assert torch.equal(found.inversion.tuning["weight"], session.inversion.tuning["weight"])
    assert found.inversion.warnings == ("blurred",)
    assert np.array_equal(found.photo.pixels, session.photo.pixels)  # Bit for bit.
    assert (found.photo.name, found.photo.sha256) == ("me.jpg", "b" * 64)
    assert np.array_equal(found.face.landmarks, session.face.landmarks)
    assert np.array_equal(found.face.quad, session.face.quad)
    assert (found.face.box, found.face.score) == (session.face.box, session.face.score)


@pytest.mark.parametrize("name", ["PNG, transparent", "PNG, Display P3", "PNG, grey", "profile grey",
                                  "PNG, grey and transparent"])
def test_a_photo_comes_back_with_all_that_its_file_has(name: str, session: Session, tmp_path: Path) -> None:
    photo = open_photo(io.BytesIO(cases()[name].data), name="me.png")
    save_session(tmp_path / "s.safetensors", replace(session, photo=photo))
    found = load_session(tmp_path / "s.safetensors").photo
    assert np.array_equal(found.pixels, photo.pixels)
    assert (found.name, found.sha256, found.stored.profile) == (photo.name, photo.sha256, photo.stored.profile)
    assert np.array_equal(found.stored.pixels, photo.stored.pixels)
    assert (found.stored.alpha is None) == (photo.stored.alpha is None)
    assert found.stored.alpha is None or np.array_equal(found.stored.alpha, photo.stored.alpha)


def test_without_the_photo_nothing_of_it_is_in_the_file(session: Session, tmp_path: Path) -> None:
    save_session(tmp_path / "s.safetensors", replace(session, photo=None, face=None))
    with safe_open(tmp_path / "s.safetensors", framework="pt") as file:
        assert {"photo", "landmarks", "quad"}.isdisjoint(file.keys())
        assert "photo" not in file.metadata()
        assert "me.jpg" not in json.dumps(file.metadata())
    assert load_session(tmp_path / "s.safetensors").photo is None


def test_a_sample_needs_no_pictures(tmp_path: Path) -> None:
    sample = Session(name="sample-5", source=SampleSource(seed=5, truncation=0.7), generator="a" * 64, edit=Edit())
    save_session(tmp_path / "s.safetensors", sample)
    assert load_session(tmp_path / "s.safetensors").source == sample.source


def test_what_does_not_belong_together_is_no_session(session: Session) -> None:
    with pytest.raises(ValueError, match="has an inversion"):
        replace(session, inversion=None)
    with pytest.raises(ValueError, match="or neither"):
        replace(session, face=None)


@pytest.mark.parametrize("damage", ["edit", "source", "quad", "latent", "photo", "format"])
def test_a_damaged_session_is_named(session: Session, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "s.safetensors"
    save_session(path, session)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    if damage in ("edit", "source"):
        metadata[damage] = "{}"
    elif damage == "quad":
        tensors["quad"] = tensors["quad"][:2]
    elif damage == "latent":
        tensors["inversion.latent"] = tensors["inversion.latent"] * float("nan")
    elif damage == "photo":
        tensors["photo"] = tensors["photo"][:20]
    else:
        metadata["format"] = "something else"
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match=r"^mine.*save the session again"):
        load_session(path, name="mine")


def test_words_are_no_session(tmp_path: Path) -> None:
    (tmp_path / "s.safetensors").write_bytes(b"these are words")
    with pytest.raises(InputError, match="not readable as a session"):
        load_session(tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="no such file"):
        load_session(tmp_path / "nowhere.safetensors")
