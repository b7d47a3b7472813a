"""From a photo to an edited photo: the pipeline that all doors share, and the library's object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import editing
from directions import load as load_controls
from editing import Editor, Inverter, PhotoEditor, choose
from generators import Generator, load
from inversion import Face, InversionCache, Photo, Projector, ProjectorSettings, open_photo
from weights.errors import InputError

QUICK = ProjectorSettings(steps=3, start="mean", tuning_steps=2)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return load("bundled")


@pytest.fixture(scope="module")
def projector(generator: Generator) -> Projector:
    return Projector(generator)


@pytest.fixture(scope="module")
def editor(generator: Generator, projector: Projector) -> PhotoEditor:
    return PhotoEditor(Editor(generator, load_controls()), Inverter(projector))


def test_an_inversion_has_all_that_belongs_to_it(projector: Projector, astronaut: Photo,
                                                 astronaut_faces: list[Face]) -> None:
    chosen = choose(astronaut, faces=astronaut_faces)
    [inversion] = Inverter(projector).invert([chosen], QUICK)
    assert inversion.photo_hash == astronaut.sha256
    assert np.allclose(np.array(inversion.quad), chosen.face.quad)
    assert np.array_equal(inversion.crop, chosen.crop(projector.generator.img_resolution))
    assert any("does not look" in text or "may not look" in text for text in inversion.warnings)


def test_what_is_kept_is_not_inverted_again(projector: Projector, astronaut: Photo, astronaut_faces: list[Face],
                                            tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose(astronaut, faces=astronaut_faces)
    inverter = Inverter(projector, InversionCache(tmp_path))
    assert inverter.cached(chosen, QUICK) is None
    [(first, cached)] = inverter.obtain([chosen], QUICK)
    assert not cached
    monkeypatch.setattr(projector, "invert_batch", lambda *_, **__: pytest.fail("inverted again"))
    (again, one), (_, other) = inverter.obtain([chosen, chosen], QUICK)
    assert one
    assert other
    assert again.latent.equal(first.latent)
    assert again.warnings == first.warnings
    with pytest.raises(pytest.fail.Exception, match="inverted again"):
        inverter.obtain([chosen], ProjectorSettings(steps=4, start="mean"))


def test_several_are_inverted_at_once_and_come_back_in_order(projector: Projector, astronaut: Photo,
                                                            astronaut_faces: list[Face], tmp_path: Path) -> None:
    mirrored = Photo(astronaut.pixels[:, ::-1].copy(), "mirrored.png", "b" * 64)
    one, other = choose(astronaut, faces=astronaut_faces), choose(mirrored)
    inverter = Inverter(projector, InversionCache(tmp_path))
    inverter.obtain([other], QUICK)
    results = inverter.obtain([one, other, one], QUICK)
    assert [cached for _, cached in results] == [False, True, False]
    assert [inversion.photo_hash for inversion, _ in results] == [one.photo.sha256, "b" * 64, one.photo.sha256]


def test_a_face_is_never_chosen_silently_among_several(astronaut: Photo, astronaut_faces: list[Face]) -> None:
    two = [*astronaut_faces[:1], *astronaut_faces[:1]]
    with pytest.raises(InputError, match="2 faces were found"):
        choose(astronaut, faces=two)
    assert choose(astronaut, 1, faces=two).index == 1
    with pytest.raises(InputError, match="no face was found"):
        choose(astronaut, faces=[])


# ---- the library

def test_the_library_edits_a_photo_in_three_lines(editor: PhotoEditor, astronaut_file: Path, tmp_path: Path) -> None:
    face = editor.open(astronaut_file, settings=QUICK)
    assert len(face.faces) == 1
    assert face.warnings
    assert 0 < face.likeness < 1
    edited = face.edit({"smile": 2.0, "hair:blond": 0.5}, keep=["age"])
    before = open_photo(astronaut_file)
    assert edited.photo.shape == before.pixels.shape
    assert not np.array_equal(edited.photo, before.pixels)
    edited.save(tmp_path / "whole.png")
    edited.save(tmp_path / "crop.png", crop=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "whole.png")), edited.photo)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "crop.png")), edited.picture)
    recipe = editing.load_recipe(tmp_path / "whole.png")
    assert recipe.edit == editing.Edit(strengths={"smile": 2.0, "hair:blond": 0.5}, keep=("age",))
    again = editing.reproduce(recipe, editor.editor, photo=before, inverter=editor.inverter)
    assert np.array_equal(again, edited.picture)


def test_no_edit_is_the_photo_bit_for_bit(editor: PhotoEditor, astronaut_file: Path) -> None:
    face = editor.open(astronaut_file, settings=QUICK)
    assert np.array_equal(face.edit({}).photo, open_photo(astronaut_file).pixels)
    assert np.array_equal(face.edit({}).picture, face.inversion.picture)


def test_a_stopped_inversion_has_no_recipe(editor: PhotoEditor, astronaut_file: Path) -> None:
    face = editor.open(astronaut_file, settings=QUICK, should_stop=lambda: True)
    assert face.edit({"smile": 1.0}).recipe is None


def test_what_cannot_be_opened_is_named(editor: PhotoEditor, tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "nobody.png")
    with pytest.raises(InputError, match=r"nobody\.png: no face was found"):
        editor.open(tmp_path / "nobody.png")


def test_everything_is_loaded_by_one_call() -> None:
    editor = editing.load()
    assert list(editor.controls) == list(load_controls())
    with pytest.raises(InputError, match=r"none\.safetensors: no such file"):
        editing.load(controls="none.safetensors")
