"""The authors' demo, with classifiers made as theirs are, for a generator with random weights."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import cli
from directions import Controls, GradCtrlControl, import_authors
from directions.authors import DEMO_STEP, DEMO_STEPS, FFHQ, FFHQ_KEEP, FFHQ_LAYERS
from editing import Editor
from editing.demo import DEMOS, TRUNCATION, Demo, demo_names, demo_strips
from generators import Generator, from_pixels, load
from generators.checkpoints import write
from gradctrl import trajectory
from learning.scorers import load_scorer
from tests.generators.made_generators import make_student
from weights.manifest import entries, entry_of

SIDE = 64
SHARED = Path(__file__).parents[3] / "shared" / "gradctrl-authors"


def authors_folder(path: Path, names: tuple[str, ...], counts: tuple[int, ...] | None = None) -> Path:
    """A folder as the authors publish it, with random weights."""
    path.mkdir()
    rng = torch.Generator().manual_seed(0)
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    for i, count in enumerate(counts or (1,) * len(names)):
        shapes = {"0.weight": (16, 512), "0.bias": (16,), "2.weight": (count, 16), "2.bias": (count,)}
        for part, shape in shapes.items():
            state[f"classifiers.{i}.classifier.{part}"] = torch.randn(shape, generator=rng)
    torch.save(state, path / "model.pth", _use_new_zipfile_serialization=False)
    parameters = {"attributes": ",".join(names), "n_attributes": len(names), "n_shared_layers": 0, "hidden_size": 16}
    if counts is not None:
        parameters["multiclass_classes"] = ",".join(map(str, counts))
    (path / "model_params.pkl").write_bytes(pickle.dumps(parameters, 3))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authors_folder(tmp_path_factory.mktemp("authors") / "ffhq", FFHQ)


@pytest.fixture(scope="module")
def generator_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    generator = make_student(SIDE, w_dim=512)
    write(path, generator.config, generator.state_dict(), half=False, metadata={})
    return path


@pytest.fixture(scope="module")
def generator(generator_file: Path) -> Generator:
    return load(generator_file)


@pytest.fixture
def editor(generator: Generator, folder: Path) -> Editor:
    return Editor(generator, Controls(import_authors(folder), source="authors"))


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """The same but for rounding, which in a batch may go the other way."""
    return bool(np.abs(a.astype(int) - b.astype(int)).max() <= 1)


@pytest.mark.parametrize("attribute", ["smile", "eyeglasses"])
def test_a_strip_is_the_authors_walk_at_every_third_step(attribute: str, editor: Editor, generator: Generator) -> None:
    w = generator.sample([5], truncation=TRUNCATION)
    [(name, picture)] = demo_strips(editor, attribute, 5)
    assert (name, picture.shape) == (attribute, (SIDE, 7 * SIDE, 3))
    control = editor.controls[attribute]
    assert isinstance(control, GradCtrlControl)
    keep = [(editor.controls[other].classifier, count) for other, count in FFHQ_KEEP[attribute].items()]
    start, stop = generator.rows(FFHQ_LAYERS[attribute])
    for sign in (1, -1):
        path = trajectory(control.classifier, w, steps=DEMO_STEPS, step=DEMO_STEP, sign=sign, keep=keep)  # type: ignore[arg-type]
        for column, steps in enumerate((0, 3, 6, 9)):
            rows = generator.broadcast(w).clone()
            rows[:, start:stop] = path[:, steps, None]
            place = (3 + sign * column) * SIDE
            assert near(picture[:, place:place + SIDE], editor.render(rows)[0])
    assert not near(picture[:, :SIDE], picture[:, -SIDE:])


def test_the_demo_is_as_far_as_the_authors_go(editor: Editor) -> None:
    """9 steps of 4/9 are 4 in W, and never more than one step at a time."""
    editor.set_latent(editor.generator.sample([0], truncation=TRUNCATION)[0])
    moved = editor.displace({"age": 1.0}).latent - editor.latent
    assert 0 < float(moved[0, 5].norm()) <= 4.0 + 1e-3
    assert editor.controls["age"].step == pytest.approx(4 / 9)


def test_of_many_classes_the_first_three_are_shown(generator: Generator, tmp_path: Path) -> None:

    [control] = import_authors(authors_folder(tmp_path / "cat", ("color",), (8,)))
    editor = Editor(generator, Controls([control]))
    assert demo_names(editor, "color") == ["color:class0", "color:class1", "color:class2"]
    found = dict(demo_strips(editor, "color", 1))
    assert list(found) == demo_names(editor, "color")
    editor.set_latent(editor.generator.sample([1], truncation=TRUNCATION)[0])
    for name, picture in found.items():
        assert picture.shape == (SIDE, 4 * SIDE, 3)
        assert near(picture[:, :SIDE], editor.edit({}))
        assert near(picture[:, -SIDE:], editor.edit({name: 1.0}))


def test_the_presets_name_what_can_be_fetched() -> None:
    for which, demo in DEMOS.items():
        assert entry_of(demo.controls).generator in {demo.generator, f"{demo.instead}-generator"}
        assert {demo.generator, demo.controls} <= set(entries())
        assert which in demo.generator


@pytest.mark.skipif(not SHARED.is_dir(), reason="the authors' own files are not here")
@pytest.mark.parametrize("which", DEMOS)
def test_the_presets_attributes_are_published(which: str) -> None:
    names = [control.name for control in import_authors(SHARED / f"model_{which}")]
    assert set(DEMOS[which].attributes) <= set(names)


def run(*arguments: object) -> Result:
    return CliRunner(catch_exceptions=False).invoke(cli.main, [str(argument) for argument in arguments])


def test_the_command_writes_a_strip_for_each_sample(editor: Editor, generator_file: Path, folder: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEMOS, "ffhq", Demo(str(generator_file), str(folder), ("smile", "age")))
    out = tmp_path / "out"
    result = run("demo", "ffhq", "--samples", 2, "--seed", 7, "--out", out)
    assert result.exit_code == 0, result.output
    written = [Path(line) for line in result.stdout.splitlines()]
    assert [path.name for path in written] == ["ffhq-7-smile.png", "ffhq-7-age.png", "ffhq-8-smile.png",
                                               "ffhq-8-age.png"]
    for path in written:
        _, seed, attribute = path.stem.split("-")
        with Image.open(path) as image:
            assert np.array_equal(np.array(image), dict(demo_strips(editor, attribute, int(seed)))[attribute])
    [only] = run("demo", "ffhq", "--samples", 1, "--attribute", "gender", "--out", out).stdout.splitlines()
    assert Path(only).name == "ffhq-0-gender.png"
    for flags, words in ((["--attribute", "beard"], "beard: no such attribute"),
                         (["--samples", "1", "--attribute", "gender"], "--overwrite")):
        refused = run("demo", "ffhq", "--out", out, *flags)
        assert (refused.exit_code, refused.stdout, len(refused.stderr.splitlines())) == (1, "", 1)
        assert words in refused.stderr


@pytest.mark.slow
def test_faces_need_no_download(bundled_models: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published classifiers, by the authors' own steps, change what they are named after in the student's faces."""
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    result = run("demo", "ffhq", "--attribute", "smile", "--samples", 1, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "the faces are those of bundled" in result.stderr
    with Image.open(tmp_path / "ffhq-0-smile.png") as image:
        steps = from_pixels(np.stack(np.split(np.array(image), 7, axis=1)))
    smiles = load_scorer("bundled")(steps)["smile"][:, 1]
    assert smiles[-1] > 0 > smiles[0]


@pytest.mark.parametrize("which", ["car", "cat"])
def test_what_is_not_fetched_is_named_with_the_commands(which: str, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path / "cache"))
    result = run("demo", which, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    for name in (f"stylegan2-{which}", f"gradctrl-{which}"):
        assert f"`gradctrl weights fetch {name}`" in result.stderr
    assert not (tmp_path / "out").exists()
    assert run("demo", "horse").exit_code == 2
