"""edit until a class is reached, through all classes, and with other methods: what is written is the library's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import cli
from commands.options import FAMILIES as OFFERED_FAMILIES
from commands.options import METHODS as OFFERED
from directions import (
    FAMILIES,
    METHODS,
    Controls,
    LinearControl,
)
from directions import (
    load as load_controls,
)
from directions import (
    save as save_controls,
)
from editing import Editor, Recipe, SampleSource, load_recipe, parse_recipe
from editing.increments import round_up, through
from generators import load
from inversion import Inversion, Photo, find_faces, paste_back, save_inversion

SEED = 11


@pytest.fixture(scope="module")
def editor() -> Editor:
    editor = Editor(load("bundled"), load_controls("bundled"))
    editor.set_latent(editor.generator.sample([SEED], truncation=0.7)[0])
    return editor


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(*arguments: object) -> Result:
    return CliRunner(catch_exceptions=False).invoke(cli.main, [str(argument) for argument in arguments])


def fine(*arguments: object) -> tuple[list[Path], str]:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return [Path(line) for line in result.stdout.splitlines()], result.stderr


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
    assert recipe.strengths == {key: found}
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
    assert load_recipe(written[1]).strengths == expected
    for name in (smile, hair):
        assert (f"{name} is not reached together" in told) is not has(editor, expected, name)


def test_who_is_there_already_stays(editor: Editor, out: Path) -> None:
    control = editor.controls["pose"]
    own = control.classes[int(control.predict(editor.states(control))[0])]
    (picture, recipe_file), told = fine("edit", "--seed", SEED, "--to", f"pose:{own}", "--out", out)
    assert f"pose:{own} is there already" in told
    assert load_recipe(recipe_file).strengths == {f"pose:{own}": 0.0}
    assert np.array_equal(pixels(picture), editor.edit({}))


def test_what_is_out_of_reach_names_the_input(editor: Editor, tmp_path: Path, out: Path) -> None:
    w = editor.latent[0, 0]
    for name in ("near", "far"):  # One that has the class already goes on.
        latent = w if name == "far" else editor.edit_latent({editor.key_of(away(editor, "smile")): 3.0 if away(
            editor, "smile") == "smile:smiling" else -3.0})[0]
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
    (["--set", "smile=1", "--to", "smile:serious"], "in two ways"), (["--to", "smile", "--layers", "2:99"], "2:99"),
    (["--through", "beard"], "beard: no such attribute"), (["--through", "pose:left"], "pose:left"),
    (["--through", "pose", "--keep", "hat"], "hat"), (["--to", "smile", "--method", "interfacegan", "--controls",
                                                       "bundled"], "cannot be steered by the method interfacegan"),
])
def test_edits_that_cannot_be_made(flags: list[str], words: str, out: Path) -> None:
    refused("edit", "--seed", SEED, *flags, "--out", out, words=words)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("flags", [
    ["--through", "pose", "--set", "smile=1"], ["--through", "pose", "--to", "smile"], ["--through", "pose", "--strip"],
    ["--through", "pose", "--video", "gif"], ["--recipe", "r.json", "--to", "smile"],
    ["--recipe", "r.json", "--through", "pose"], ["--recipe", "r.json", "--method", "paper"],
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
    expected = [editor.render(edited)[0] for edited in through(editor, "pose", keep=["smile", "age"])]
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
    written, _ = fine("edit", latent, "--photo", astronaut_file, "--paste", "--through", "smile", "--out", out)
    assert [path.name for path in written] == ["me-smile-serious-photo.png", "me-smile-smiling-photo.png",
                                               "me-smile-strip.png"]
    for path, edited in zip(written, through(editor, "smile"), strict=False):
        expected = paste_back(astronaut, face, editor.render(edited)[0], original=picture)
        assert np.array_equal(pixels(path), expected)
    assert all(b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes() for path in written)
    refused("edit", latent, "--paste", "--through", "smile", "--out", out / "more", words="--photo")


# --- --method ---


def test_the_options_are_the_library_s() -> None:
    assert (OFFERED, OFFERED_FAMILIES) == (METHODS, FAMILIES)


@pytest.mark.parametrize("method", METHODS)
def test_the_rule_to_keep_attributes(method: str, editor: Editor, out: Path) -> None:
    (picture, recipe_file), _ = fine("edit", "--seed", SEED, "--set", "age=1", "--method", method, "--out", out)
    assert np.array_equal(pixels(picture), editor.edit({"age": 1.0}, method=method))
    assert load_recipe(recipe_file).method == method
    [again], _ = fine("edit", "--recipe", recipe_file, "--out", out / "again")
    assert again.read_bytes() == picture.read_bytes()


def test_the_two_rules_differ(editor: Editor) -> None:
    assert not np.array_equal(editor.edit({"age": 1.0}, keeping="masks"),
                              editor.edit({"age": 1.0}, keeping="projection"))


def test_recipes_from_before_methods_are_read(editor: Editor, tmp_path: Path, out: Path) -> None:
    recipe = Recipe(source=SampleSource(seed=SEED, truncation=0.7), generator=editor.generator.hash,
                    controls=editor.controls.hash, strengths={"age": 1.0})
    data = json.loads(recipe.to_json())
    del data["method"]
    assert parse_recipe(json.dumps(data)) == recipe
    (tmp_path / "r.json").write_text(json.dumps(data))
    [picture], _ = fine("edit", "--recipe", tmp_path / "r.json", "--out", out)
    assert np.array_equal(pixels(picture), editor.edit({"age": 1.0}))


@pytest.fixture
def family(editor: Editor, tmp_path: Path) -> Path:
    """A file of another family for the bundled generator."""
    w = editor.generator.sample(range(200))
    axis = torch.nn.functional.normalize(torch.pca_lowrank(w, q=1)[2].T, dim=1)
    scale = (w @ axis.T).std()
    control = LinearControl(name="age", classes=("young", "old"), layers=(0, 12), found_by="interfacegan",
                            directions=axis, weights=axis / scale, bias=-(axis / scale) @ w.mean(dim=0), step=0.2)
    save_controls(tmp_path / "family.safetensors", [control], generator_hash=editor.generator.hash)
    return tmp_path / "family.safetensors"


@pytest.mark.parametrize("bundled", [True, False])
def test_other_families_edit(bundled: bool, family: Path, editor: Editor, out: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    from directions.files import load_controls

    other = Editor(editor.generator, load_controls(family))
    other.set_latents(editor.latent)
    flags: list[object] = ["--controls", family]
    if bundled:
        monkeypatch.setattr("directions.files.path_of", {"bundled-interfacegan": family}.__getitem__)
        flags = []
    (picture, recipe_file), _ = fine("edit", "--seed", SEED, "--set", "age=2", "--method", "interfacegan", *flags,
                                     "--out", out)
    assert np.array_equal(pixels(picture), other.edit({"age": 2.0})[0])
    assert load_recipe(recipe_file).method == "interfacegan"
    [again], _ = fine("edit", "--recipe", recipe_file, *flags, "--out", out / "again")
    assert again.read_bytes() == picture.read_bytes()
    (until, _), _ = fine("edit", "--seed", SEED, "--to", away(other, "age"), "--controls", family, "--out", out)
    assert not np.array_equal(pixels(until), editor.edit({}))
    refused("edit", "--seed", SEED, "--set", "age=1", "--method", "ganspace", "--controls", family, "--out",
            out / "x", words="give interfacegan")
    refused("edit", "--seed", SEED, "--set", "age=1", "--method", "paper", "--controls", family, "--out", out / "x",
            words="give interfacegan")


def test_controls_of_another_generator_are_refused_with_both_hashes(editor: Editor, tmp_path: Path, out: Path) -> None:
    alien = tmp_path / "alien.safetensors"
    save_controls(alien, load_controls().values(), generator_hash="0" * 64)  # type: ignore[arg-type]
    for flags in (["--to", "smile"], ["--through", "pose"]):
        refused("edit", "--seed", SEED, *flags, "--controls", alien, "--out", out, words="000000000000")
        refused("edit", "--seed", SEED, *flags, "--controls", alien, "--out", out, words=editor.generator.hash[:12])


def test_margins_are_kept(editor: Editor, tmp_path: Path, out: Path) -> None:
    """A control that must be surer goes further."""
    name = away(editor, "smile")
    surer = [replace(control, margins=tuple(margin + 1 for margin in control.margins))
             for control in load_controls().values()]
    path = tmp_path / "surer.safetensors"
    save_controls(path, surer, generator_hash=editor.generator.hash)  # type: ignore[arg-type]
    (_, recipe_file), _ = fine("edit", "--seed", SEED, "--to", name, "--controls", path, "--out", out)
    [strength] = load_recipe(recipe_file).strengths.values()
    assert abs(strength) > abs(float(editor.strengths_to(name)[0])) + 0.05
    control, class_index = editor.find(name)
    far = editor.states(control, editor.displace({"smile": strength}))
    assert float(control.score_of(far, class_index)) == pytest.approx(control.margin(class_index) + 1, abs=0.05)
    assert Controls(surer)["smile"].margin(class_index) == control.margin(class_index) + 1
