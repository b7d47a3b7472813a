"""Import of the classifiers that the paper's authors published, from folders made as theirs are."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from directions.authors import FFHQ, import_authors, read_authors
from generators import layers_of_rows
from weights.errors import InputError

SHARED = Path(__file__).parents[3] / "shared" / "gradctrl-authors"


def folder(
    path: Path,
    names: tuple[str, ...] = FFHQ,
    counts: tuple[int, ...] | None = None,
    w_dim: int = 12,
    state: dict[str, torch.Tensor] | None = None,
    **parameters: object,
) -> Path:
    """A folder as the authors' train.py writes it; their state dicts are in torch's older stream format."""
    path.mkdir(exist_ok=True)
    rng = torch.Generator().manual_seed(0)
    weights: OrderedDict[str, torch.Tensor] = OrderedDict()
    for i, count in enumerate(counts or (1,) * len(names)):
        for part, shape in (("0.weight", (4, w_dim)), ("0.bias", (4,)), ("2.weight", (count, 4)), ("2.bias", (count,))):
            weights[f"classifiers.{i}.classifier.{part}"] = torch.randn(shape, generator=rng)
    torch.save(OrderedDict({**weights, **(state or {})}), path / "model.pth", _use_new_zipfile_serialization=False)
    values = {"attributes": ",".join(names), "n_attributes": len(names), "n_shared_layers": 0, "hidden_size": 4}
    if counts is not None:
        values["multiclass_classes"] = ",".join(map(str, counts))
    (path / "model_params.pkl").write_bytes(pickle.dumps({**values, **parameters}, 3))
    return path


def test_scores_are_those_of_the_authors_network(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", ("color", "day"), (8, 1))
    state = torch.load(path / "model.pth", weights_only=True)
    w = torch.randn(5, 12)
    for i, control in enumerate(import_authors(path)):
        at = [state[f"classifiers.{i}.classifier.{part}"] for part in ("0.weight", "0.bias", "2.weight", "2.bias")]
        expected = F.linear(F.leaky_relu(F.linear(w, *at[:2]), 0.1), *at[2:])
        torch.testing.assert_close(control.classifier.logits(w), expected)
        assert control.name == ("color", "day")[i]
        assert len(control.classes) == (8, 2)[i]


def test_ffhq_comes_with_the_settings_of_the_demo(tmp_path: Path) -> None:
    controls = {control.name: control for control in import_authors(folder(tmp_path / "m"))}
    assert tuple(controls) == FFHQ
    assert (controls["gender"].keep, controls["gender"].layers) == (
        {"smile": 250, "eyeglasses": 100, "age": 100},
        layers_of_rows(2, 10),
    )
    assert (controls["smile"].keep, controls["smile"].layers) == ({"gender": 200, "eyeglasses": 50, "age": 100},
                                                                  layers_of_rows(2, 8))
    assert (controls["eyeglasses"].keep, controls["eyeglasses"].layers) == (
        {"gender": 200, "smile": 100, "age": 250},
        layers_of_rows(1, 4),
    )
    assert (controls["age"].keep, controls["age"].layers) == ({"gender": 100, "eyeglasses": 300}, layers_of_rows(4, 10))
    assert all(control.step == 4 / 9 and control.units == (4.0,) for control in controls.values())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the authors' own files are not here")
@pytest.mark.parametrize(
    ("name", "attributes", "outputs"),
    [
        ("ffhq", FFHQ, [1] * 5),
        ("car", ("sky_blue", "grassground", "treesbackground", "hubcap_dense"), [1] * 4),
        ("cat", ("color",), [8]),
    ],
)
def test_the_published_files(name: str, attributes: tuple[str, ...], outputs: list[int]) -> None:
    classifiers = read_authors(SHARED / f"model_{name}")
    assert tuple(item.name for item in classifiers) == attributes
    assert [item.out_weight.shape[0] for item in classifiers] == outputs
    state = torch.load(SHARED / f"model_{name}" / "model.pth", weights_only=True, map_location="cpu")
    for i, item in enumerate(classifiers):
        assert item.hidden_weight.shape == (16, 512)
        assert torch.equal(item.out_weight, state[f"classifiers.{i}.classifier.2.weight"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"n_shared_layers": 2}, "share layers"),
        ({"hidden_size": None}, "hidden layer"),
        ({"n_attributes": 3}, "n_attributes"),
        ({"attributes": "a,a,b,c,d"}, "distinct"),
        ({"attributes": None}, "names attributes"),
        ({"multiclass_classes": "1,1"}, "multiclass_classes"),
        ({"multiclass_classes": "1,1,1,1,9"}, "9 outputs"),
        ({"state": {"classifiers.1.classifier.0.bias": torch.zeros(7)}}, "[7]"),
        ({"state": {"classifiers.1.classifier.0.bias": torch.full([4], float("nan"))}}, "NaN"),
        ({"state": {"classifiers.9.classifier.0.bias": torch.zeros(4)}}, "classifiers.9"),
        ({"names": ("a", "b"), "attributes": "a,b,c", "n_attributes": 3}, "classifiers.2.classifier.0.bias is missing"),
    ],
)
def test_other_files_are_refused(changes: dict[str, object], word: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        import_authors(path)
    assert word in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_hostile_files_are_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "m")
    (path / "model_params.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(InputError, match=r"os\.system"):
        import_authors(path)
    assert not (tmp_path / "ran").exists()
    (path / "model.pth").unlink()
    with pytest.raises(InputError, match=r"model\.pth: no such file"):
        import_authors(path)
