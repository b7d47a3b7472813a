"""Recipes reproduce the picture; videos can be played back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from directions import Controls, Edit
from directions import load as load_controls
from editing import (
    Editor,
    Inverter,
    PhotoSource,
    Recipe,
    SampleSource,
    load_recipe,
    parse_recipe,
    reproduce,
    save_recipe,
    save_video,
)
from generators import load
from inversion import Photo, Projector, ProjectorSettings, align, find_faces
from weights.errors import InputError

SHORT = ProjectorSettings(steps=4, start="samples", samples=16, tuning_steps=2)


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor(load("bundled"), load_controls("bundled"))


def recipe_of(editor: Editor, source: PhotoSource | SampleSource) -> Recipe:
    edit = Edit(strengths={"smile": -1.0, "hair:blond": 0.5}, keep={"age": 30}, layers=(12, 128), step=0.5)
    return Recipe.of(source, editor.generator, editor.controls, edit)


@pytest.mark.parametrize("source", [SampleSource(seed=7, truncation=0.7),
                                    PhotoSource(photo="a" * 64, face=1, inversion=SHORT)])
def test_a_recipe_comes_back_as_it_was(editor: Editor, source: PhotoSource | SampleSource, tmp_path: Path) -> None:
    recipe = recipe_of(editor, source)
    save_recipe(tmp_path / "r.json", recipe)
    assert load_recipe(tmp_path / "r.json") == recipe
    names = replace(recipe, edit=Edit.of(recipe.edit, keep=("age", "gender"), layers=None))
    assert parse_recipe(names.to_json()) == names


def test_a_sample_is_reproduced(editor: Editor) -> None:
    recipe = recipe_of(editor, SampleSource(seed=7, truncation=0.7))
    editor.set_latent(editor.generator.sample([7], truncation=0.7)[0])
    picture = recipe.apply(editor)
    again = reproduce(parse_recipe(recipe.to_json()), Editor(load("bundled"), load_controls("bundled")))
    assert np.array_equal(again, picture)


def test_an_edited_photo_is_reproduced(editor: Editor, astronaut: Photo) -> None:
    projector = Projector(editor.generator)
    face = find_faces(astronaut)[0]
    inverted = projector.invert(align(astronaut, face, editor.generator.img_resolution), settings=SHORT)
    recipe = recipe_of(editor, PhotoSource(photo=astronaut.sha256, face=0, inversion=SHORT))
    editor.set_latent(inverted)
    picture = recipe.apply(editor)
    again = reproduce(parse_recipe(recipe.to_json()), editor, photo=astronaut, inverter=Inverter(projector))
    assert np.array_equal(again, picture)
    with pytest.raises(InputError, match="give that photo"):
        reproduce(recipe, editor)
    other = recipe_of(editor, PhotoSource(photo="b" * 64, face=0, inversion=SHORT))
    with pytest.raises(InputError, match="not the recipe's photo"):
        reproduce(other, editor, photo=astronaut)


def test_other_generators_and_controls_are_refused(editor: Editor) -> None:
    recipe = recipe_of(editor, SampleSource(seed=7))
    fewer = Controls(list(editor.controls.values())[:1], spaces=editor.generator.spaces)
    with pytest.raises(InputError, match="controls"):
        reproduce(recipe, Editor(editor.generator, fewer))
    other = replace(recipe, generator="f" * 64)
    with pytest.raises(InputError, match="generator ffffffffffff"):
        reproduce(other, editor)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "gradctrl-recipe-2"}', "not json",
                                  '{"format": "gradctrl-recipe-1"}', '{"format": "gradctrl-recipe-2", "source": 3}'])
def test_damaged_recipes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"r\.json"):
        parse_recipe(text, name="r.json")


def test_recipes_with_foreign_fields_are_refused(editor: Editor) -> None:
    data = json.loads(recipe_of(editor, SampleSource(seed=7)).to_json())
    with pytest.raises(InputError, match="surprise"):
        parse_recipe(json.dumps({**data, "surprise": 1}))
    with pytest.raises(InputError, match="cannot be read"):
        load_recipe("/nowhere/r.json")


@pytest.fixture
def pictures() -> np.ndarray:
    """Six grey pictures of odd height, each brighter than the one before."""
    return np.stack([np.full([33, 40, 3], 20 + 40 * index, np.uint8) for index in range(6)])


def test_a_gif_plays_there_and_back(pictures: np.ndarray, tmp_path: Path) -> None:
    save_video(tmp_path / "x.gif", pictures, fps=10)
    with Image.open(tmp_path / "x.gif") as gif:
        shades = []
        for index in range(gif.n_frames):
            gif.seek(index)
            shades.append(int(np.asarray(gif.convert("RGB")).mean().round()))
        assert gif.size == (40, 33)
        assert gif.info["duration"] == 100
    assert shades == [20, 60, 100, 140, 180, 220, 180, 140, 100, 60]


def test_an_mp4_is_h264_with_the_frames_in_order(pictures: np.ndarray, tmp_path: Path) -> None:
    import av

    save_video(tmp_path / "x.mp4", pictures, there_and_back=False)
    with av.open(str(tmp_path / "x.mp4")) as container:
        stream = container.streams.video[0]
        shades = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (40, 34)
    assert len(shades) == 6
    assert np.allclose(shades, [20, 60, 100, 140, 180, 220], atol=4)


def test_other_endings_are_refused_and_nothing_is_left(pictures: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gif or"):
        save_video(tmp_path / "x.avi", pictures)
    with pytest.raises(ValueError, match="uint8"):
        save_video(tmp_path / "x.gif", pictures.astype(float))
    assert list(tmp_path.iterdir()) == []


def test_bundled_controls_belong_to_the_bundled_generator(editor: Editor) -> None:
    assert editor.controls.spaces["w"].matches(editor.generator.space)
    assert {"smile", "gender", "age", "hair", "pose"} <= set(editor.controls)
    editor.set_latents(torch.zeros(1, editor.generator.w_dim))


# ---- edits out of all measure

@pytest.mark.parametrize(("edit", "words"), [
    (Edit(strengths={"smile": 1e9}), "smile 1e\\+09 is too far"), (Edit(strengths={"smile": -21}), "smile -21"),
    (Edit(strengths={"smile": float("nan")}), "smile nan"), (Edit(step=1e-9), "step 1e-09"),
    (Edit(step=float("inf")), "step inf"),
])
def test_an_edit_that_would_take_for_ever_is_refused(edit: Edit, words: str) -> None:
    with pytest.raises(InputError, match=words):
        edit.check()


def test_an_edit_within_measure_passes() -> None:
    Edit(strengths={"smile": -20.0, "hair:blond": 20.0}, step=0.01).check()


def test_recipes_of_the_former_version_are_told_apart() -> None:
    with pytest.raises(InputError, match=r"a recipe of a former version.*make the edit again"):
        parse_recipe('{"format": "gradctrl-recipe-1"}')
