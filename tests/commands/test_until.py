"""edit until a class is reached, through all classes, and with other methods: what is written is the library's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from directions import METHODS, Controls, Edit, LinearControl
from directions import (
    load as load_controls,
)
from directions import (
    save as save_controls,
)
from editing import Editor, load_recipe
from editing.increments import round_up, through
from generators import Space, load
from inversion import Inversion, Photo, find_faces, paste_back, save_inversion
from tests.commands.running import fine, run
from tests.small_models import bundle, write_linear_controls

SEED = 11


@pytest.fixture(scope="module")
def editor() -> Editor:
    editor = Editor(load("bundled"), load_controls("bundled"))
    editor.set_latent(editor.generator.sample([SEED], truncation=0.7)[0])
    return editor


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def refused(*arguments: object, words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert words in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def has(editor: Editor, strengths: dict[str, float], name: str) -> bool:
    control, class_index = editor.find(name)
    score = float(control.score_of(editor.states(control, editor.displace(strengths)), class_index))
    return score >= control.margin(class_index)


def away(editor: Editor, attribute: str) -> str:
    """A class of an attribute that the person does not have."""
    control = editor.controls[attribute]
    return f"{attribute}:{control.classes[int(control.predict(editor.states(control))[0]) - 1]}"


# --- --to ---


@pytest.mark.parametrize("attribute", ["smile", "gender", "pose"])
def test_an_edit_goes_until_the_class_is_reached(attribute: str, editor: Editor, out: Path) -> None:
    name = away(editor, attribute)
    key = editor.key_of(name)
    found = float(round_up(editor.strengths_to(name))[0])
    assert found
    (picture, recipe_file), told = fine("edit", "--seed", SEED, "--to", name, "--out", out)
    assert picture.name == f"sample{SEED}-to-{name.replace(':', '-')}.png"
    assert f"sample{SEED}: {name} reached at strength {found:g}" in told
    recipe = load_recipe(recipe_file)
    assert recipe.edit.strengths == {key: found}
    assert has(editor, {key: found}, name)
    assert not has(editor, {key: 0.98 * found}, name)
    assert np.array_equal(pixels(picture), editor.edit({key: found}))
    [again], _ = fine("edit", "--recipe", recipe_file, "--out", out / "again")
    assert again.read_bytes() == picture.read_bytes()


def test_several_targets_beside_strengths(editor: Editor, out: Path) -> None:
    smile, hair = away(editor, "smile"), away(editor, "hair")
    written, told = fine("edit", "--seed", SEED, "--set", "age=0.5", "--to", smile, "--to", hair, "--strip", "--out",
                         out)
    assert [path.name for path in written] == [
        f"sample{SEED}-age+0.5-to-{smile}-to-{hair}{end}".replace(":", "-")
        for end in (".png", ".recipe.json", "-strip.png")]
    expected = {"age": 0.5, **{editor.key_of(name): float(round_up(editor.strengths_to(name))[0])
                               for name in (smile, hair)}}
    assert load_recipe(written[1]).edit.strengths == expected
    for name in (smile, hair):
        assert (f"{name} is not reached together" in told) is not has(editor, expected, name)


def test_who_is_there_already_stays(editor: Editor, out: Path) -> None:
    control = editor.controls["pose"]
    own = control.classes[int(control.predict(editor.states(control))[0])]
    (picture, recipe_file), told = fine("edit", "--seed", SEED, "--to", f"pose:{own}", "--out", out)
    assert f"pose:{own} is there already" in told
    assert load_recipe(recipe_file).edit.strengths == {f"pose:{own}": 0.0}
    assert np.array_equal(pixels(picture), editor.edit({}))


def test_what_is_out_of_reach_names_the_input(editor: Editor, tmp_path: Path, out: Path) -> None:
    towards = 3.0 if away(editor, "smile") == "smile:smiling" else -3.0
    for name, strength in (("near", towards), ("far", -towards)):  # One that has the class already goes on.
        latent = editor.displace({"smile": strength}).latent[0]
        blank = np.zeros([128, 128, 3], np.uint8)
        save_inversion(tmp_path / f"{name}.latent.safetensors", Inversion(
            latent=latent, space=editor.generator.space, crop=blank, picture=blank, lpips=0.0, mse=0.0,
            identity=None, seconds=0.0, steps=0))
    result = run("edit", tmp_path / "far.latent.safetensors", tmp_path / "near.latent.safetensors", "--to",
                 away(editor, "smile"), "--step", 0.01, "--out", out)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert f"far: {away(editor, 'smile')} is out of reach" in errors[0]
    assert [path.name.split("-")[0] for path in out.glob("*.png")] == ["near"]


@pytest.mark.parametrize(("flags", "words"), [
    (["--to", "beard"], "beard: no such attribute"), (["--to", "hair"], "hair:blond"),
    (["--to", "smile:maybe"], "smile:maybe"), (["--to", "hair:blond", "--to", "hair:black"], "in two ways"),
    (["--set", "smile=1", "--to", "smile:serious"], "in two ways"), (["--to", "smile", "--layers", "1:3"], "1-3"),
    (["--through", "beard"], "beard: no such attribute"), (["--through", "pose:left"], "pose:left"),
    (["--through", "pose", "--keep", "hat"], "hat"), (["--to", "smile", "--method", "interfacegan", "--controls",
                                                       "bundled"], "not by interfacegan"),
])
def test_edits_that_cannot_be_made(flags: list[str], words: str, out: Path) -> None:
    refused("edit", "--seed", SEED, *flags, "--out", out, words=words)
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize("flags", [
    ["--through", "pose", "--set", "smile=1"], ["--through", "pose", "--to", "smile"], ["--through", "pose", "--strip"],
    ["--through", "pose", "--video", "gif"], ["--recipe", "r.json", "--to", "smile"],
    ["--recipe", "r.json", "--through", "pose"], ["--recipe", "r.json", "--method", "ganspace"],
    ["--to", "smile", "--method", "magic"],
])
def test_wrong_usage(flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("edit", "--seed", SEED, *flags)
    assert result.exit_code == 2, result.output
    assert list(tmp_path.iterdir()) == []


# --- --through ---


def test_through_the_classes(editor: Editor, out: Path) -> None:
    written, told = fine("edit", "--seed", SEED, "--through", "pose", "--keep", "smile,age", "--out", out)
    classes = editor.controls["pose"].classes
    assert [path.name for path in written] == [f"sample{SEED}-pose-{end}.png" for end in (*classes, "strip")]
    expected = [editor.render(edited)[0] for edited in through(editor, "pose", Edit(keep=("smile", "age")))]
    for path, picture in zip(written, expected, strict=False):
        assert np.array_equal(pixels(path), picture)
    assert np.array_equal(pixels(written[-1]), np.concatenate(expected, axis=1))
    own = int(editor.controls["pose"].predict(editor.states(editor.controls["pose"]))[0])
    assert f"sample{SEED}: pose is {classes[own]}" in told
    assert np.array_equal(expected[own], editor.edit({}))
    refused("edit", "--seed", SEED, "--through", "pose", "--out", out, words="--overwrite")


def test_through_the_classes_of_a_photo(editor: Editor, astronaut: Photo, astronaut_file: Path, tmp_path: Path,
                                        out: Path) -> None:
    face = find_faces(astronaut)[0]
    picture = editor.edit({})
    record = Inversion(latent=editor.latent[0], space=editor.generator.space, crop=picture, picture=picture,
                       lpips=0.0, mse=0.0, identity=None, seconds=0.0, steps=0)
    latent = tmp_path / "me.latent.safetensors"
    save_inversion(latent, record.of_photo(astronaut.sha256, face.quad))
    written, _ = fine("edit", latent, "--photo", astronaut_file, "--through", "smile", "--out", out)
    assert [path.name for path in written] == ["me-smile-serious.png", "me-smile-smiling.png", "me-smile-strip.png"]
    for path, edited in zip(written, through(editor, "smile"), strict=False):
        expected = paste_back(astronaut, face, editor.render(edited)[0], original=picture)
        assert np.array_equal(pixels(path), expected)
    assert all(b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes() for path in written)
    refused("edit", latent, "--paste", "--through", "smile", "--out", out / "more", words="--photo")


# --- --method ---


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.moves != "weights"])
def test_methods_bring_their_controls(method: str, editor: Editor, tmp_path: Path, out: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    if method != "gradctrl":
        write_linear_controls(tmp_path / "linear.safetensors", method, editor.generator)
        bundle(monkeypatch, method, tmp_path / "linear.safetensors")
    (picture, recipe_file), _ = fine("edit", "--seed", SEED, "--set", "age=1", "--method", method, "--out", out)
    other = Editor(editor.generator, load_controls(method))
    other.set_latent(editor.latent[0])
    assert np.array_equal(pixels(picture), other.edit({"age": 1.0}))
    assert load_recipe(recipe_file).edit.method == method
    [again], _ = fine("edit", "--recipe", recipe_file, "--out", out / "again")
    assert again.read_bytes() == picture.read_bytes()


def test_channel_counts_mean_masks(editor: Editor, out: Path) -> None:
    (picture, _), _ = fine("edit", "--seed", SEED, "--set", "age=1", "--keep", "smile:100,gender:50", "--out", out)
    masked = editor.edit({"age": 1.0}, keep={"smile": 100, "gender": 50})
    assert np.array_equal(pixels(picture), masked)
    assert not np.array_equal(masked, editor.edit({"age": 1.0}, keep=["smile", "gender"]))


@pytest.fixture
def foreign(editor: Editor, tmp_path: Path) -> Path:
    """A file of another method for the bundled generator."""
    w = editor.generator.sample(range(200))
    axis = torch.nn.functional.normalize(torch.pca_lowrank(w, q=1)[2].T, dim=1)
    scale = (w @ axis.T).std()
    control = LinearControl(name="age", classes=("young", "old"), found_by="interfacegan",
                            directions=axis, weights=axis / scale, bias=-(axis / scale) @ w.mean(dim=0), step=0.2)
    save_controls(tmp_path / "foreign.safetensors", [control], spaces=editor.generator.spaces)
    return tmp_path / "foreign.safetensors"


@pytest.mark.parametrize("bundled", [True, False])
def test_other_methods_edit(bundled: bool, foreign: Path, editor: Editor, out: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    other = Editor(editor.generator, load_controls(foreign))
    other.set_latents(editor.latent)
    flags: list[object] = ["--controls", foreign]
    if bundled:
        bundle(monkeypatch, "interfacegan", foreign)
        flags = []
    (picture, recipe_file), _ = fine("edit", "--seed", SEED, "--set", "age=2", "--method", "interfacegan", *flags,
                                     "--out", out)
    assert np.array_equal(pixels(picture), other.edit({"age": 2.0})[0])
    assert load_recipe(recipe_file).edit.method == "interfacegan"
    [again], _ = fine("edit", "--recipe", recipe_file, *flags, "--out", out / "again")
    assert again.read_bytes() == picture.read_bytes()
    (until, _), _ = fine("edit", "--seed", SEED, "--to", away(other, "age"), "--controls", foreign, "--out", out)
    assert not np.array_equal(pixels(until), editor.edit({}))
    refused("edit", "--seed", SEED, "--set", "age=1", "--method", "ganspace", "--controls", foreign, "--out",
            out / "x", words="give the method interfacegan")


def test_controls_of_another_space_are_refused_with_both_spaces(editor: Editor, tmp_path: Path, out: Path) -> None:
    alien = tmp_path / "alien.safetensors"
    space = Space.of("w", torch.randn(4, editor.generator.w_dim))
    save_controls(alien, load_controls().values(), spaces={"w": space})
    for flags in (["--to", "smile"], ["--through", "pose"]):
        refused("edit", "--seed", SEED, *flags, "--controls", alien, "--out", out, words=space.short)
        refused("edit", "--seed", SEED, *flags, "--controls", alien, "--out", out, words=editor.generator.space.short)


def test_margins_are_kept(editor: Editor, tmp_path: Path, out: Path) -> None:
    """A control that must be surer goes further."""
    name = away(editor, "smile")
    surer = [replace(control, margins=tuple(control.margin(index) + 2 for index in range(len(control.classes))))
             for control in map(load_controls().control, load_controls())]
    path = tmp_path / "surer.safetensors"
    save_controls(path, surer, spaces=editor.generator.spaces)
    (_, recipe_file), _ = fine("edit", "--seed", SEED, "--to", name, "--controls", path, "--out", out)
    [strength] = load_recipe(recipe_file).edit.strengths.values()
    assert abs(strength) > abs(float(editor.strengths_to(name)[0])) + 0.05
    control, class_index = editor.find(name)
    far = editor.states(control, editor.displace({"smile": strength}))
    assert float(control.score_of(far, class_index)) == pytest.approx(control.margin(class_index) + 2, abs=0.05)
    assert Controls(surer).control("smile").margin(class_index) == control.margin(class_index) + 2
