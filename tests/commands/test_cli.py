"""The command line: what it writes is what the library makes, nothing of the user's is lost, errors are one line."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from commands.edit_outputs import STRIP_PICTURES
from directions import load as load_controls
from directions import save as save_controls
from editing import Editor, load_recipe, parse_recipe, reproduce
from generators import Generator, Space, load, to_pixels
from inversion import (
    Inversion,
    Photo,
    Projector,
    ProjectorSettings,
    align,
    find_faces,
    load_inversion,
    open_photo,
    paste_mask,
    read_picture_metadata,
    save_inversion,
)
from inversion.settings import DEFAULT_PRESET, PRESETS
from tests.commands.running import made_by, run

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "gradio", "dlib", "lpips", "cv2", "torchvision", "av", "numpy", "PIL"}
QUICK = ProjectorSettings(steps=3, start="samples", samples=8)


@pytest.fixture(autouse=True)
def quick_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The presets, with hardly any steps, and what else takes time made short."""
    monkeypatch.setattr("generators.statistics.SAMPLES", 600)
    for name, settings in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(settings, steps=QUICK.steps, start="samples", samples=QUICK.samples,
                                                   tuning_steps=min(settings.tuning_steps, 1)))


@pytest.fixture(scope="module")
def editor() -> Editor:
    return Editor(load("bundled"), load_controls("bundled"))


@pytest.fixture
def generator(editor: Editor) -> Generator:
    return editor.generator


@pytest.fixture
def me(astronaut_file: Path, tmp_path: Path) -> Path:
    """A copy of the portrait, alone in its folder."""
    path = tmp_path / "photos" / "me.jpg"
    path.parent.mkdir()
    path.write_bytes(astronaut_file.read_bytes())
    return path


@pytest.fixture
def two_faces(astronaut: Photo, tmp_path: Path) -> Path:
    """A photo with two faces, the larger one on the right."""
    small = np.asarray(Image.fromarray(astronaut.pixels).resize((384, 384)))
    both = np.full((512, 896, 3), 255, np.uint8)
    both[:384, :384], both[:, 384:] = small, astronaut.pixels
    Image.fromarray(both).save(tmp_path / "two.png")
    return tmp_path / "two.png"


@pytest.fixture
def latent_file(astronaut: Photo, generator: Generator, tmp_path: Path) -> Path:
    """What `invert` writes for the portrait."""
    face = find_faces(astronaut)[0]
    record = Projector(generator, QUICK).invert(align(astronaut, face, generator.img_resolution))
    save_inversion(tmp_path / "you.latent.safetensors", record.of_photo(astronaut.sha256, face.quad))
    return tmp_path / "you.latent.safetensors"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def refused(*arguments: object, words: tuple[object, ...] = ()) -> str:
    """Run a command that must refuse its input in one line; that line."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert str(word) in lines[0], lines[0]
    return lines[0]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- help ---


def commands() -> Iterator[list[str]]:
    for name, command in cli.main.commands.items():
        yield [name]
        yield from ([name, sub] for sub in getattr(command, "commands", {}))


def test_every_help_explains_with_an_example_and_loads_nothing_heavy() -> None:
    code = f"""if True:
        import sys
        from click.testing import CliRunner
        import cli
        for name in {[[], *commands()]!r}:
            result = CliRunner().invoke(cli.main, [*name, "--help"])
            assert result.exit_code == 0, (name, result.output)
            assert "Example" in result.output, name
            assert f"gradctrl {{' '.join(name)}}" in result.output, name
        print(sorted({HEAVY!r} & set(sys.modules)))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [
    ["edit", "none.jpg", "--set", "smile=1"], ["edit", "text.jpg", "--set", "smile=1"], ["edit", "--set", "smile=1"],
    ["edit", "--seed", "1", "--set", "grin=1"], ["edit", "--seed", "1", "--set", "hair:green=1"],
    ["edit", "--seed", "1", "--set", "smile=99"], ["edit", "--seed", "1", "--set", "smile=1", "--keep", "hut"],
    ["edit", "--seed", "1", "--set", "smile=1", "--generator", "none.pkl"],
    ["edit", "--seed", "1", "--set", "smile=1", "--controls", "none.safetensors"],
    ["edit", "--seed", "1", "--like", "none.json"], ["edit", "--recipe", "none.json"],
    ["edit", "--seed", "1", "--through", "grin"], ["invert", "none.jpg"], ["invert", "none.jpg", "text.jpg"],
    ["align", "none.jpg"], ["sample", "--generator", "none.pkl"], ["sample", "--bank", "b", "--generator", "none.pkl"],
    ["score", "none"], ["prepare", "none", "--out", "e.json"], ["train", "none", "--out", "m.safetensors"],
    ["tune", "none.safetensors", "--bank", "none", "--out", "m.safetensors"], ["encoder", "--generator", "none.pkl"],
    ["encoder", "--bank", "none"], ["encoder", "--faces", "none"], ["convert", "none.pkl", "g.safetensors"],
    ["convert", "bundled", "g.pkl"], ["attributes", "--controls", "none.safetensors"], ["controls", "show", "none"],
    ["app", "--controls", "none"], ["app", "--generator", "none.pkl"], ["weights", "path", "none"],
])
def test_errors_in_arguments_come_before_pytorch(arguments: list[str], tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose import takes seconds; without it such an error takes half a second."""
    (tmp_path / "text.jpg").write_bytes(b"dear diary")
    monkeypatch.chdir(tmp_path)
    code = f"""if True:
        import sys
        from click.testing import CliRunner
        import cli
        result = CliRunner().invoke(cli.main, {arguments!r})
        assert result.exit_code in (1, 2), result.output
        assert "Error: " in result.output, result.output
        print(sorted({{"torch", "gradio", "dlib", "cv2"}} & set(sys.modules)))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_help_is_quick() -> None:
    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = seconds()
    result = subprocess.run([sys.executable, "-m", "cli", "--help"], capture_output=True, text=True, cwd=ROOT,
                            check=True)
    assert "edit" in result.stdout
    assert seconds() - before < 0.5  # Of processor time, so that a busy machine changes nothing; usually 0.1.


def test_every_option_that_help_shows_is_explained() -> None:
    import click

    for names in commands():
        command: click.Command = cli.main
        for name in names:
            command = command.commands[name]  # type: ignore[attr-defined]
        assert [option.name for option in command.params
                if isinstance(option, click.Option) and not option.help] == []


def test_version() -> None:
    assert "gradctrl" in run("--version").stdout


# --- align ---


def test_align_writes_the_library_s_crop(me: Path, astronaut: Photo, out: Path) -> None:
    [path] = made_by("align", me, "--size", 96, "--out", out)
    assert path == out / "me-face.png"
    assert np.array_equal(pixels(path), align(astronaut, find_faces(astronaut)[0], 96))


def test_with_several_faces_one_must_be_chosen(two_faces: Path, out: Path) -> None:
    refused("align", two_faces, "--out", out, words=(two_faces, "2 faces", "--face N", "1: left", "2: left"))
    assert files(out) == []
    refused("align", two_faces, "--face", 3, "--out", out, words=("no face 3",))
    [chosen] = made_by("align", two_faces, "--face", 2, "--size", 64, "--out", out)
    assert chosen.name == "two-face2.png"
    refused("invert", two_faces, "--out", out, words=(two_faces, "--face N"))
    refused("edit", two_faces, "--set", "smile=1", "--out", out, words=(two_faces, "--face N"))
    everyone = made_by("align", two_faces, "--all-faces", "--size", 64, "--out", out / "all")
    assert [path.name for path in everyone] == ["two-face1.png", "two-face2.png"]
    assert np.array_equal(pixels(everyone[1]), pixels(chosen))


# --- invert ---


def test_invert_writes_what_the_projector_finds(me: Path, astronaut: Photo, generator: Generator, out: Path) -> None:
    result = run("invert", me, "--seed", 5, "--steps", 4, "--out", out)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(out / "me.latent.safetensors"), str(out / "me-inverted.png")]
    face = find_faces(astronaut)[0]
    settings = replace(PRESETS[DEFAULT_PRESET], steps=4, seed=5)
    expected = Projector(generator, settings).invert(align(astronaut, face, 128))
    record = load_inversion(out / "me.latent.safetensors", generator=generator)
    assert record.latent.equal(expected.latent)
    assert (record.photo_hash, record.settings) == (astronaut.sha256, expected.settings)
    assert np.allclose(record.quad, face.quad)
    assert np.array_equal(pixels(out / "me-inverted.png"), expected.picture)
    assert f"{me}: LPIPS {record.lpips:.3f}, identity distance {record.identity:.2f}" in result.stderr


def test_two_photos_give_what_single_runs_give(me: Path, two_faces: Path, out: Path) -> None:
    made_by("invert", me, two_faces, "--face", 1, "--out", out / "both")
    for photo in (me, two_faces):
        made_by("invert", photo, "--face", 1, "--out", out / "single")
    assert files(out / "both") == files(out / "single") == [
        "me-inverted.png", "me.latent.safetensors", "two-face1-inverted.png", "two-face1.latent.safetensors"]
    for name in ("me.latent.safetensors", "two-face1.latent.safetensors"):
        ones, other = (load_inversion(out / how / name).latent for how in ("both", "single"))
        assert ones.equal(other)


@pytest.mark.parametrize(("distance", "warned"), [(0.59, False), (0.61, True)])
def test_a_stranger_s_face_is_warned_of(distance: float, warned: bool, me: Path, out: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inversion.faces.identity_distance", lambda a, b: distance)
    result = run("invert", me, "--out", out)
    assert result.exit_code == 0
    assert (f"Warning: {me}: The result may not look like the person" in result.stderr) is warned


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes the given number of Ctrl-C arrive after the first step of each inversion."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    original = Projector.invert_batch

    def set_up(times: int) -> None:
        def invert_batch(self: Projector, crops: object, *, on_step: Callable[[object], None],
                         **more: object) -> list[Inversion]:
            def show(progress: object) -> None:
                on_step(progress)
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)

            return original(self, crops, on_step=show, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Projector, "invert_batch", invert_batch)

    yield set_up
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_the_best_so_far_and_begins_nothing_more(me: Path, two_faces: Path, out: Path,
                                                               press: Callable[[int], None]) -> None:
    press(1)
    result = run("invert", me, two_faces, "--steps", 50, "--out", out)
    assert result.exit_code == 1
    assert load_inversion(out / "me.latent.safetensors").steps == 1
    assert files(out) == ["me-inverted.png", "me.latent.safetensors"]
    assert "stopped after 1 of 51 steps" in result.stderr
    assert "1 of 2 inputs were not done" in result.stderr
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    result = run("edit", me, "--set", "smile=1", "--steps", 50, "--out", out)
    assert (result.exit_code, result.stdout.splitlines()) == (1, [str(out / "me-smile+1.png")])
    assert read_picture_metadata(out / "me-smile+1.png") == {}  # No settings would make it again.
    assert "the same command with --overwrite does all of them" in result.stderr
    result = run("edit", two_faces, "--all-faces", "--set", "smile=1", "--steps", 50, "--out", out)
    assert (result.exit_code, result.stdout.splitlines()) == (1, [str(out / "two-smile+1.png")])


def test_a_second_ctrl_c_aborts(me: Path, out: Path, press: Callable[[int], None]) -> None:
    press(2)
    result = run("invert", me, "--out", out)
    assert result.exit_code == 1
    assert "Aborted: what is finished stays; the same command goes on with the rest" in result.stderr
    assert files(out) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_the_background_ctrl_c_is_ignored(me: Path, out: Path, press: Callable[[int], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    press(1)
    made_by("invert", me, "--out", out)
    assert load_inversion(out / "me.latent.safetensors").steps == QUICK.steps + 1  # And one of tuning.


# --- edit ---


def test_an_edited_photo_and_its_recipe(me: Path, astronaut: Photo, editor: Editor, out: Path) -> None:
    picture, recipe_file = made_by("edit", me, "--set", "smile=1.5", "--set", "hair:blond=-0.5", "--keep", "age,gender",
                                "--layers", "12:128", "--step", 0.5, "--crop", "--out", out)
    assert picture.name == "me-smile+1.5-hair-blond-0.5-crop.png"
    assert recipe_file.name == "me-smile+1.5-hair-blond-0.5-crop.recipe.json"
    recipe = load_recipe(recipe_file)
    assert parse_recipe(read_picture_metadata(picture)["gradctrl"]) == recipe
    assert recipe.edit.strengths == {"smile": 1.5, "hair:blond": -0.5}
    assert (recipe.edit.keep, recipe.edit.layers, recipe.edit.step) == (("age", "gender"), (12, 128), 0.5)
    assert np.array_equal(pixels(picture), reproduce(recipe, editor, photo=astronaut))
    assert not np.array_equal(pixels(picture), editor.edit({}))
    for number, source in enumerate((recipe_file, picture)):
        [again] = made_by("edit", me, "--recipe", source, "--crop", "--out", out / str(number))
        assert again.read_bytes() == picture.read_bytes()
    refused("edit", me, "--recipe", recipe_file, "--controls", other_controls(editor, out), "--out", out / "2",
            words=("controls",))


def other_controls(editor: Editor, folder: Path) -> Path:
    """The bundled controls with another step."""
    path = folder / "controls.safetensors"
    save_controls(path, [replace(control, step=0.3) for control in editor.controls.values()],
                  spaces=editor.generator.spaces)
    return path


def test_a_pasted_face_leaves_the_rest_of_the_photo_alone(me: Path, astronaut: Photo, out: Path) -> None:
    made_by("invert", me, "--out", out)
    picture, recipe_file = made_by("edit", me, "--set", "smile=1.5", "--out", out)
    assert picture.name == "me-smile+1.5.png"
    outside = paste_mask(astronaut, find_faces(astronaut)[0]) == 0
    found = pixels(picture)
    assert np.array_equal(found[outside], astronaut.pixels[outside])
    assert not np.array_equal(found, astronaut.pixels)
    again, its_recipe = made_by("edit", out / "me.latent.safetensors", "--photo", me, "--set", "smile=1.5", "--paste",
                             "--out", out / "latent")  # As before it was the default.
    assert np.array_equal(pixels(again), found)
    assert load_recipe(its_recipe) == load_recipe(recipe_file)
    nothing, _ = made_by("edit", out / "me.latent.safetensors", "--photo", me, "--set", "smile=0", "--paste", "--out",
                         out)
    assert np.array_equal(pixels(nothing), astronaut.pixels)


def test_all_faces_of_a_photo_go_into_one_picture(two_faces: Path, editor: Editor, out: Path) -> None:
    written = made_by("edit", two_faces, "--all-faces", "--set", "smile=1.5", "--out", out)
    assert [path.name for path in written] == ["two-face1-smile+1.5.recipe.json", "two-face2-smile+1.5.recipe.json",
                                               "two-smile+1.5.png"]
    found, before = pixels(written[2]), pixels(two_faces)
    photo = open_photo(two_faces)
    places = [paste_mask(photo, face) > 0 for face in find_faces(photo)]
    assert np.array_equal(found[~(places[0] | places[1])], before[~(places[0] | places[1])])
    for number, place in enumerate(places, 1):
        assert not np.array_equal(found[place], before[place])
        [alone] = made_by("edit", two_faces, "--recipe", written[number - 1], "--out", out / str(number))
        only = place & ~places[number % 2]
        assert np.array_equal(found[only], pixels(alone)[only])
    texts = read_picture_metadata(written[2])
    assert [parse_recipe(texts[name]).source.face for name in ("gradctrl", "gradctrl-face2")] == [0, 1]
    crops = made_by("edit", two_faces, "--all-faces", "--set", "smile=1.5", "--crop", "--out", out / "crops")
    assert [path.name for path in crops if path.suffix == ".png"] == [
        "two-face1-smile+1.5-crop.png", "two-face2-smile+1.5-crop.png"]


def test_a_recipe_s_edit_is_made_of_another_photo(me: Path, latent_file: Path, astronaut: Photo, out: Path,
                                                  editor: Editor) -> None:
    """Whatever it was made of; what is written is that of the same options by hand."""
    how = ("--set", "smile=-1.5", "--keep", "age", "--layers", "8:64")
    _, recipe_file = made_by("edit", "--seed", 3, *how, "--out", out)
    for source in ([me], [latent_file], ["--seed", 4]):
        [by_hand, *_] = made_by("edit", *source, *how, "--out", out / "hand")
        for number, file in enumerate((recipe_file, recipe_file.with_name("sample3-smile-1.5.png"))):
            [alike, *_] = made_by("edit", *source, "--like", file, "--out", out / str(number))
            assert alike.name == by_hand.name
            assert np.array_equal(pixels(alike), pixels(by_hand))
    result = run("edit", "--seed", 5, "--like", recipe_file, "--controls", other_controls(editor, out), "--out", out)
    assert result.exit_code == 0
    assert "was made with other controls" in result.stderr


def test_pictures_say_that_a_generator_took_part_unless_told_not_to(out: Path) -> None:
    edit = ("edit", "--seed", 3, "--set", "smile=1", "--strip", "--out")
    for folder, options, marked in ((out / "1", (), True), (out / "2", ("--no-mark",), False)):
        picture, recipe_file, strip = made_by(*edit, folder, *options)
        assert load_recipe(recipe_file) == load_recipe(picture)
        for path in (picture, strip):
            assert (b"compositeWithTrainedAlgorithmicMedia" in path.read_bytes()) is marked
    assert np.array_equal(pixels(out / "1" / picture.name), pixels(picture))


def test_strength_zero_is_the_inversion(latent_file: Path, out: Path) -> None:
    result = run("edit", latent_file, "--set", "smile=0", "--out", out)
    assert result.stdout.splitlines() == [str(out / "you-smile+0.png")]
    assert np.array_equal(pixels(out / "you-smile+0.png"), load_inversion(latent_file).picture)
    assert "no recipe" in result.stderr  # The latent does not tell which of the photo's faces it is.


def test_a_synthetic_person_is_edited_and_made_again(out: Path) -> None:
    source, latent = made_by("sample", "--seed", 7, "--count", 1, "--out", out)
    same, _ = made_by("edit", "--seed", 7, "--set", "smile=0", "--out", out)
    assert np.array_equal(pixels(same), pixels(source))
    picture, recipe_file = made_by("edit", "--seed", 7, "--set", "age=-1", "--out", out)
    assert np.array_equal(pixels(made_by("edit", latent, "--set", "age=-1", "--out", out / "latent")[0]),
                          pixels(picture))
    [again] = made_by("edit", "--recipe", recipe_file, "--out", out / "again")
    assert again.read_bytes() == picture.read_bytes()
    refused("edit", latent, "--recipe", recipe_file, "--out", out / "x", words=(latent, "synthetic"))


def test_keep_lists_and_layers_reach_the_editor(editor: Editor, out: Path) -> None:
    editor.set_latent(editor.generator.sample([3], truncation=0.7)[0])
    for number, (flags, how) in enumerate([
        ([], {}), (["--keep", "none"], {"keep": ()}), (["--keep", "age:200,gender:100"],
                                                       {"keep": {"age": 200, "gender": 100}}),
        (["--layers", "16:32"], {"layers": (16, 32)}), (["--step", "0.2"], {"step": 0.2}),
    ]):
        picture, _ = made_by("edit", "--seed", 3, "--set", "smile=1", *flags, "--out", out / str(number))
        assert np.array_equal(pixels(picture), editor.edit({"smile": 1.0}, **how)), flags  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_strip_and_video(kind: str, out: Path, editor: Editor) -> None:
    written = made_by("edit", "--seed", 3, "--set", "smile=1", "--set", "hair:blond=1", "--strip", "--video", kind,
                   "--format", "webp", "--out", out)
    name = "sample3-smile+1-hair-blond+1"
    assert [path.name for path in written] == [f"{name}.webp", f"{name}.recipe.json", f"{name}-strip.png",
                                               f"{name}.{kind}"]
    rows = pixels(written[2])
    assert rows.shape == (2 * 128, STRIP_PICTURES * 128, 3)
    editor.set_latent(editor.generator.sample([3], truncation=0.7)[0])
    middle = STRIP_PICTURES // 2 * 128
    source = editor.edit({}).astype(int)  # Alone: in a batch a value may be rounded the other way.
    assert np.abs(rows[:128, middle:middle + 128] - source).max() <= 1
    assert np.abs(rows[128:, :128] - source).max() <= 1  # A class has limits from 0.
    assert np.abs(rows[:128, -128:] - source).mean() > 2
    assert written[3].stat().st_size > 10_000
    assert parse_recipe(read_picture_metadata(written[0])["gradctrl"]) == load_recipe(written[1])


def test_a_long_edit_has_a_short_name(out: Path) -> None:
    names = ["smile", "gender", "age", "hair:black", "hair:brown", "hair:blond", "pose:left", "pose:right"]
    flags = [part for name in names for part in ("--set", f"{name}=0.123456")]
    picture, _ = made_by("edit", "--seed", 1, *flags, "--out", out)
    assert picture.name.startswith("sample1-8-attributes-")


def test_strengths_beyond_the_limits_are_warned_of(out: Path) -> None:
    result = run("edit", "--seed", 1, "--set", "smile=5.5", "--out", out)
    assert result.exit_code == 0
    assert "Warning: smile=5.5" in result.stderr


# --- nothing is lost ---


def test_results_that_are_there_are_replaced_only_when_told(me: Path, out: Path) -> None:
    made_by("align", me, "--size", 64, "--out", out)
    old = (out / "me-face.png").read_bytes()
    refused("align", me, "--size", 32, "--out", out, words=(out / "me-face.png", "--overwrite", "--out"))
    assert (out / "me-face.png").read_bytes() == old
    made_by("align", me, "--size", 32, "--out", out, "--overwrite")
    assert pixels(out / "me-face.png").shape == (32, 32, 3)


def test_the_refusal_comes_before_the_long_work(me: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out.mkdir()
    (out / "me-inverted.png").write_bytes(b"mine")
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted"))
    refused("invert", me, "--out", out, words=("me-inverted.png",))
    assert files(out) == ["me-inverted.png"]
    assert (out / "me-inverted.png").read_bytes() == b"mine"


def test_an_input_is_never_overwritten(me: Path) -> None:
    folder = me.parent
    other = folder / "me-face.png"
    Image.fromarray(pixels(me)).save(other)
    (folder / "link").symlink_to(folder, target_is_directory=True)
    before = other.read_bytes()
    for where in (folder, folder / "link"):
        result = run("align", me, other, "--size", 32, "--out", where, "--overwrite")
        assert result.exit_code == 1
        assert f"{where / 'me-face.png'}: is an input" in result.stderr
        assert (where / "me-face-face.png").exists()
        assert other.read_bytes() == before


def test_inputs_of_one_name_do_not_overwrite_each_other(me: Path, tmp_path: Path, out: Path) -> None:
    twin = tmp_path / "elsewhere" / "me.jpg"
    twin.parent.mkdir()
    Image.fromarray(pixels(me)[:, ::-1]).save(twin)
    [first] = made_by("align", me, "--size", 32, "--out", out)
    expected = first.read_bytes()
    refused("align", me, twin, "--size", 32, "--out", out, "--overwrite", words=("another input",))
    assert first.read_bytes() == expected


def test_a_bad_input_does_not_stop_the_rest(me: Path, two_faces: Path, tmp_path: Path, out: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    refused("align", bad, me, "--size", 32, "--out", out, words=(bad,))
    refused("invert", bad, me, "--out", out, words=(bad,))
    refused("edit", bad, out / "me.latent.safetensors", "--set", "smile=1", "--out", out, words=(bad,))
    assert files(out) == ["me-face.png", "me-inverted.png", "me-smile+1.png", "me.latent.safetensors"]
    result = run("align", bad, two_faces, tmp_path / "none.png", "--out", out)
    assert result.exit_code == 1
    assert result.stderr.count("Error: ") == len(result.stderr.splitlines()) == 3


def test_a_full_disk_ends_the_run_and_leaves_nothing_half_made(me: Path, two_faces: Path, out: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out.mkdir()
    (out / "me-face.png").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", full)
    for command in (["align", me, two_faces, "--face", 1, "--size", 32], ["sample", "--count", 1],
                    ["edit", "--seed", 1, "--set", "smile=1"], ["convert", "bundled"]):
        where = [out / "g.safetensors"] if command[0] == "convert" else ["--out", out]
        refused(*command, *where, "--overwrite", words=("No space left", "free some space"))
        assert files(out) == ["me-face.png"]
    assert (out / "me-face.png").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_is_refused_at_once(me: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for command in (["align", me], ["invert", me], ["edit", me, "--set", "smile=1"], ["sample"]):
        refused(*command, "--out", file / "below", words=(file / "below", "--out"))
    refused("convert", "bundled", file / "below" / "g.safetensors", words=(file / "below",))


# --- bad input ---


def huge_png() -> bytes:
    """The header of a PNG of 200 megapixels."""
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(("name", "data", "word"), [
    ("empty.jpg", b"", "0 bytes"),
    ("text.jpg", b"dear diary", "not a JPEG"),
    ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "cut short"),
    ("huge.png", huge_png(), "megapixels"),
    ("truncated.jpg", None, "cut short"),
    ("missing.jpg", None, "no such file"),
    ("white.png", None, "no face"),
    ("tiny.png", None, "too small"),
])
def test_photos_that_cannot_be_used(name: str, data: bytes | None, word: str, me: Path, tmp_path: Path,
                                    out: Path) -> None:
    path = tmp_path / name
    if name == "truncated.jpg":
        data = me.read_bytes()[:9000]
    if data is not None:
        path.write_bytes(data)
    elif name == "white.png":
        Image.new("RGB", (300, 300), "white").save(path)
    elif name == "tiny.png":
        Image.open(me).resize((90, 90), Image.Resampling.LANCZOS).save(path)
    refused("align", path, "--out", out, words=(path.name, word))
    refused("edit", path, "--set", "smile=1", "--out", out, words=(path.name, word))
    assert files(out) == []


@pytest.mark.parametrize(("flags", "words"), [
    (["--set", "grin=1"], ("grin", "smile")),
    (["--set", "grin=1"], ("grin", "the bundled controls")),
    (["--set", "hair:green=1"], ("hair:green", "hair:blond")),
    (["--set", "hair=1"], ("hair:blond",)),
    (["--set", "smile=1", "--keep", "hat"], ("hat", "age")),
    (["--set", "smile=1", "--layers", "1:3"], ("1-3",)),
    (["--set", "smile=1e9"], ("smile", "too far")),
    (["--set", "smile=1", "--generator", "nobody.pkl"], ("nobody.pkl",)),
    (["--set", "smile=1", "--generator", "stylegan2-ffhq"], ("gradctrl weights fetch stylegan2-ffhq",)),
    (["--set", "smile=1", "--controls", "nobody.safetensors"], ("nobody.safetensors",)),
])
def test_edits_that_cannot_be_made(flags: list[str], words: tuple[str, ...], me: Path, out: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Projector, "invert_batch", lambda *_, **__: pytest.fail("inverted before it was checked"))
    monkeypatch.setenv("GRADCTRL_CACHE", str(out.parent / "cache"))
    refused("edit", me, *flags, "--out", out, words=words)
    assert files(out) == []


def test_files_of_other_generators_are_refused(latent_file: Path, editor: Editor, tmp_path: Path, out: Path) -> None:
    alien = replace(load_inversion(latent_file), space=Space.of("w", torch.randn(4, 512)))
    save_inversion(tmp_path / "alien.latent.safetensors", alien)
    refused("edit", tmp_path / "alien.latent.safetensors", "--set", "smile=1", "--out", out,
            words=("alien.latent.safetensors", "another space"))
    alien_space = Space.of("w", torch.randn(4, editor.generator.w_dim))
    save_controls(tmp_path / "alien.safetensors", editor.controls.values(), spaces={"w": alien_space})
    refused("edit", latent_file, "--set", "smile=1", "--controls", tmp_path / "alien.safetensors", "--out", out,
            words=("alien.safetensors", alien_space.short))
    made_by("edit", "--seed", 2, "--set", "smile=1", "--out", out)
    recipe_file = out / "sample2-smile+1.recipe.json"
    data = json.loads(recipe_file.read_text())
    recipe_file.write_text(json.dumps({**data, "generator": "0" * 64}))
    refused("edit", "--recipe", recipe_file, "--out", out / "again", words=("generator 000000",))


def test_latents_and_recipes_that_cannot_be_used(me: Path, latent_file: Path, two_faces: Path, out: Path) -> None:
    edit = ("--set", "smile=1", "--out", out)
    damaged = latent_file.with_name("cut.latent.safetensors")
    damaged.write_bytes(latent_file.read_bytes()[:2000])
    refused("edit", damaged, *edit, words=(damaged,))
    refused("edit", latent_file, "--paste", *edit, words=("--photo",))
    refused("edit", latent_file, "--photo", two_faces, "--paste", *edit, words=(two_faces, "is not the photo"))
    damaged.with_name("r.json").write_text("{")
    refused("edit", me, "--recipe", damaged.with_name("r.json"), "--out", out, words=("r.json",))
    refused("edit", me, "--recipe", me, "--out", out, words=(me, "no recipe"))
    assert files(out) == []
    recipe_file = made_by("edit", me, *edit)[1]
    refused("edit", two_faces, "--recipe", recipe_file, "--out", out / "a", words=("not the recipe's photo", "--like"))
    refused("edit", latent_file, "--recipe", recipe_file, "--out", out / "a", words=("give that photo",))
    refused("edit", "--recipe", recipe_file, "--out", out / "a", words=("give that photo",))


@pytest.mark.parametrize("arguments", [
    ["align"], ["align", "a.jpg", "--face", "1", "--all-faces"], ["align", "a.jpg", "--face", "0"],
    ["invert", "a.jpg", "--preset", "best"],
    ["invert", "a.jpg", "--steps", "0"], ["edit", "a.jpg"], ["edit", "--set", "smile=1"],
    ["edit", "a.jpg", "--set", "smile"], ["edit", "a.jpg", "--set", "smile=nan"], ["edit", "a.jpg", "--set", "=1"],
    ["edit", "a.jpg", "--set", "smile=1", "--set", "smile=2"], ["edit", "a.jpg", "--set", "smile=1", "--layers", "2-8"],
    ["edit", "a.jpg", "--set", "smile=1", "--keep", "age:10,smile"],
    ["edit", "a.jpg", "--set", "smile=1", "--step", "0"], ["edit", "--seed", "1", "--set", "smile=1", "--paste"],
    ["edit", "a.jpg", "--recipe", "r.json", "--set", "smile=1"],
    ["edit", "a.jpg", "--recipe", "r.json", "--preset", "fast"],
    ["edit", "a.jpg", "--recipe", "r.json", "--all-faces"], ["edit", "a.jpg", "--recipe", "r.json", "--like", "s.json"],
    ["edit", "a.jpg", "--like", "r.json", "--set", "smile=1"], ["edit", "a.jpg", "--like", "r.json", "--keep", "age"],
    ["edit", "a.jpg", "--set", "smile=1", "--face", "1", "--all-faces"],
    ["edit", "a.jpg", "--through", "pose", "--all-faces"],
    ["edit", "a.jpg", "--set", "smile=1", "--photo", "b.jpg"],
    ["sample", "--count", "0"], ["sample", "--device", "tpu"], ["nonsense"], ["weights", "fetch"],
])
def test_wrong_usage(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Error: " in result.stderr
    assert files(tmp_path) == []


def test_errors_of_a_real_process_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a\nb.jpg").write_bytes(b"x")
    result = subprocess.run([sys.executable, "-m", "cli", "align", tmp_path / "a\nb.jpg", "--out", tmp_path / "out"],
                            capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: ")


# --- samples, attributes, weights, convert, app ---


def test_samples_are_the_generator_s(generator: Generator, out: Path) -> None:
    written = made_by("sample", "--count", 5, "--seed", 3, "--truncation", 0.5, "--sheet", "--out", out)
    expected = to_pixels(generator.render(generator.sample(range(3, 8), truncation=0.5)))
    for seed, picture in zip(range(3, 8), expected, strict=True):
        assert np.abs(pixels(out / f"sample{seed}.png").astype(int) - picture).max() <= 1
        latent = load_inversion(out / f"sample{seed}.latent.safetensors", generator=generator).latent
        assert latent.allclose(generator.sample([seed], truncation=0.5)[0], atol=1e-5)
    sheet = pixels(written[-1])
    assert (written[-1].name, sheet.shape) == ("samples3-7.png", (256, 384, 3))
    assert np.array_equal(sheet[128:, 128:256], pixels(out / "sample7.png"))
    assert (sheet[128:, 256:] == 255).all()


def test_attributes_lists_names_that_edit_takes(editor: Editor) -> None:
    lines = run("attributes").stdout.splitlines()
    names = [name for line in lines if not line.startswith(" ") for name in line.split()]
    assert {name.partition(":")[0] for name in names} == set(editor.controls)
    for name in names:
        attribute, _, class_name = name.partition(":")
        editor.controls.find(attribute).target(class_name or None)
    assert any("gender" in line for line in lines if "keeps" in line)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_weights_are_listed_found_and_checked(bundled_models: None, cache: Path) -> None:
    from weights.manifest import entries

    listed = run("weights", "list").stdout
    for name, entry in entries().items():
        assert name in listed
        assert entry.licence in listed
    assert made_by("weights", "path") == [cache]
    assert made_by("weights", "path", "bundled-generator")[0].is_file()
    assert run("weights", "verify", "bundled-generator").stdout == "bundled-generator: right\n"
    damaged = cache / entries()["gradctrl-cat"].file
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"x")
    refused("weights", "verify", "gradctrl-cat", words=(damaged, "gradctrl weights fetch gradctrl-cat --force"))
    assert run("weights", "verify").exit_code == 1
    refused("weights", "verify", "lpips-vgg", words=("lpips-vgg", "gradctrl weights fetch lpips-vgg"))
    refused("weights", "fetch", "unheard-of", words=("unheard-of", "gradctrl weights list"))
    assert made_by("weights", "fetch", "bundled-generator")[0].name == "generator.safetensors"


def test_fetch_follows_the_progress(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def fetch(name: str, *, on_progress: Callable[[int, int], None], force: bool) -> Path:
        for done, total in ((0, 0), (50, 0), (0, 100), (60, 100), (100, 100), (10, 40)):  # Three sources.
            on_progress(done, total)
        seen.append((name, force))
        return cache / name

    monkeypatch.setattr("generators.fetch", fetch, raising=False)
    assert made_by("weights", "fetch", "lpips-vgg", "--force") == [cache / "lpips-vgg"]
    made_by("weights", "fetch", "lpips-vgg")
    assert seen == [("lpips-vgg", True), ("lpips-vgg", False)]


def test_convert_keeps_the_generator(generator: Generator, tmp_path: Path) -> None:
    out = tmp_path / "g.safetensors"
    assert made_by("convert", "bundled", out) == [out]
    assert load(out).hash == generator.hash
    refused("convert", "bundled", out, words=(out, "--overwrite"))
    refused("convert", out, out, "--overwrite", words=("input",))
    made_by("convert", "bundled", out, "--half", "--overwrite")
    refused("convert", out, tmp_path / "g.pkl", words=("g.pkl", ".safetensors"))
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(out.read_bytes()[:5000])
    refused("convert", cut, tmp_path / "new.safetensors", words=(cut,))
    refused("sample", "--generator", cut, "--out", tmp_path / "samples", words=(cut,))
    assert not (tmp_path / "new.safetensors").exists()


def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path) -> None:
    import pickle

    marker, out = tmp_path / "ran", tmp_path / "out.safetensors"
    command = f"touch {marker}".encode()
    data = b"\x80\x04\x8c\x02os\x8c\x06system\x93X" + struct.pack("<I", len(command)) + command + b"\x85R."
    for name in ("hostile.pkl", "hostile.pt"):
        (tmp_path / name).write_bytes(data)
        refused("convert", tmp_path / name, out, words=(tmp_path / name, "os.system"))
        refused("sample", "--generator", tmp_path / name, "--out", tmp_path / "s", words=("os.system",))
    assert not marker.exists()
    assert not out.exists()
    pickle.loads(data)
    assert marker.exists()  # The trap was live.


def test_app_starts_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    called = {}
    page = types.ModuleType("page.launching")
    page.launch = lambda **arguments: called.update(arguments)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "page.launching", page)
    made_by("app", "--port", 8000, "--device", "cpu")
    assert (called["host"], called["port"], called["share"]) == ("127.0.0.1", 8000, False)
    assert (called["generator"], called["device"]) == ("bundled", "cpu")
    assert "smile" in called["controls"]
    refused("app", "--controls", "nobody.safetensors", words=("nobody.safetensors",))


def test_a_folder_is_read_as_the_authors_controls(editor: Editor, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    refused("attributes", "--controls", tmp_path, words=(tmp_path, "model_params.pkl"))
    monkeypatch.setattr("directions.files.import_authors", lambda folder: list(editor.controls.values()))
    assert "smile" in run("attributes", "--controls", tmp_path).stdout
    result = run("edit", "--seed", 1, "--set", "smile=1", "--controls", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "does not say which space" in result.stderr
