"""Classifiers of the user's own: pictures go in as described, outputs come out as logits, mistakes are named."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from generators import from_pixels
from learning.scorers import FileScorer, ImageScorer, load_file_scorer, load_scorer
from learning.scorers.description import read_description
from learning.scorers.files import prepare_pictures, to_logits
from weights.errors import InputError

SMILE = {"attribute": "smile", "classes": ["serious", "smiling"], "columns": [0], "kind": "logit"}
HAIR = {"attribute": "hair", "classes": ["black", "brown", "blond"], "columns": [2, 0, 1], "kind": "probability",
        "ordered": True}


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Means(nn.Module):
    """Mean of each channel [N, 3]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=[2, 3])


class Two(nn.Module):
    """Means [N, 3] and their softmax [N, 3, 1, 1]."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        means = x.mean(dim=[2, 3])
        return means, means.softmax(dim=1)[:, :, None, None]


class Named(nn.Module):
    """The same by name."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        means = x.mean(dim=[2, 3])
        return {"means": means, "shares": means.softmax(dim=1)}


class Fixed(nn.Module):
    """Takes 8 x 8 pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def save_script(path: Path, module: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(module.eval()).save(str(path))


def save_onnx(path: Path, *, batch: int | str = "N", kind: str = "FLOAT", axes: tuple[int, int] = (2, 3)) -> None:
    """Means and their softmax, as `Two`, in ONNX."""
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto
    dtype = getattr(tensor, kind)
    shape = [batch, None, None, None]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["f"], to=tensor.FLOAT),
         helper.make_node("ReduceMean", ["f", "axes"], ["means"], keepdims=0),
         helper.make_node("Softmax", ["means"], ["shares"], axis=1)],
        "means", [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(name, tensor.FLOAT, [batch, None]) for name in ("means", "shares")],
        [helper.make_tensor("axes", tensor.INT64, [2], axes)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))


def describe(folder: Path, **changes: Any) -> Path:
    """A description of model.pt; a change of None leaves a key out."""
    found = {"format": "gradctrl-scorer-1", "model": "model.pt", "outputs": [SMILE], **changes}
    path = folder / "mine.json"
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))
    return path


def script(folder: Path, module: nn.Module, **changes: Any) -> FileScorer:
    save_script(folder / "model.pt", module)
    return load_file_scorer(describe(folder, **changes))


# --- what goes in ---


def prepared(folder: Path, pictures: Tensor, **changes: Any) -> Tensor:
    (folder / "model.pt").touch()
    return prepare_pictures(pictures, read_description(describe(folder, **changes)))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255)])
def test_black_and_white_are_the_ends_of_the_range(tmp_path: Path, low: float, high: float) -> None:
    ends = torch.tensor([-1.0, 1.0, -7.0, 7.0]).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)  # Beyond them is clipped.
    assert prepared(tmp_path, ends, range=[low, high])[:, 0, 0, 0].tolist() == [low, high, low, high]


def test_mean_and_deviation_are_those_of_the_model_s_channels(tmp_path: Path, pictures: Tensor) -> None:
    x = (pictures + 1) / 2
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(prepared(tmp_path, pictures, mean=mean, std=std), expected)
    bgr = prepared(tmp_path, pictures, channels="bgr", range=[0, 255], mean=[104, 117, 123])
    torch.testing.assert_close(bgr[:, 0], x[:, 2] * 255 - 104)
    torch.testing.assert_close(bgr[:, 2], x[:, 0] * 255 - 123)
    torch.testing.assert_close(prepared(tmp_path, pictures, mean=0.5, std=2), (x - 0.5) / 2)


def test_gray_is_luma_and_layouts_differ_by_order_alone(tmp_path: Path, pictures: Tensor) -> None:
    gray = prepared(tmp_path, pictures, channels="gray")
    assert gray.shape == (5, 1, 32, 32)
    torch.testing.assert_close(gray[:, 0], (pictures[:, 0] * 0.299 + pictures[:, 1] * 0.587 + pictures[:, 2] * 0.114
                                            + 1) / 2)
    nhwc = prepared(tmp_path, pictures, layout="nhwc")
    assert nhwc.is_contiguous()
    assert torch.equal(nhwc.permute(0, 3, 1, 2), prepared(tmp_path, pictures))


def test_resizing_is_pillow_s_and_cropping_keeps_the_middle(tmp_path: Path, pictures: Tensor) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, [32, 32, 3], np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((10, 12), Image.Resampling.BILINEAR)) / 255
    found = prepared(tmp_path, from_pixels(pixels), size=[12, 10])
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() < 1.5 / 255
    middle = prepared(tmp_path, pictures, crop=0.5)
    assert torch.equal(middle, ((pictures + 1) / 2)[:, :, 8:24, 8:24])
    assert prepared(tmp_path, pictures, crop=0.5, size=[7, 9]).shape == (5, 3, 7, 9)


# --- what comes out ---


def test_probabilities_become_finite_logits_of_the_same_odds() -> None:
    p = torch.tensor([[0.0], [0.2], [0.5], [1.0]])
    single = to_logits(p, probability=True, binary=True)
    both = to_logits(torch.cat([1 - p, p], dim=1), probability=True, binary=True)
    assert single.isfinite().all()
    assert (single[:, 0] == 0).all()
    torch.testing.assert_close(single[1:3, 1], torch.logit(p[1:3, 0]))
    torch.testing.assert_close(both, single, rtol=1e-4, atol=1e-4)
    assert single[0, 1] < -10
    assert single[3, 1] > 10
    many = torch.tensor([[0.1, 0.2, 0.7], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(to_logits(many, probability=True, binary=False).softmax(dim=1), many, rtol=0, atol=1e-5)


def test_logits_of_two_classes_become_their_difference() -> None:
    both = torch.tensor([[1.0, 3.0], [2.0, -1.0]])
    assert to_logits(both, probability=False, binary=True).tolist() == [[0, 2], [0, -3]]
    assert to_logits(both[:, :1], probability=False, binary=True).tolist() == [[0, 1], [0, 2]]
    three = torch.randn(4, 3)
    assert torch.equal(to_logits(three, probability=False, binary=False), three)


def check_two_outputs(scorer: ImageScorer, pictures: Tensor) -> None:
    means = ((pictures + 1) / 2).mean(dim=[2, 3])
    found = scorer(pictures)
    torch.testing.assert_close(found["smile"], torch.stack([means[:, 0] * 0, means[:, 0]], dim=1))
    torch.testing.assert_close(found["hair"].softmax(dim=1), means.softmax(dim=1)[:, [2, 0, 1]])
    assert (scorer.ordered, list(scorer.attributes)) == ({"hair"}, ["smile", "hair"])
    one = scorer(pictures[:1])["hair"]
    torch.testing.assert_close(one, found["hair"][:1])


def test_torchscript_with_a_tuple_and_a_dict(tmp_path: Path, pictures: Tensor) -> None:
    scorer = script(tmp_path, Two(), outputs=[SMILE, {**HAIR, "output": 1}], name="mine own")
    check_two_outputs(scorer, pictures)
    assert scorer.name == "mine own"
    check_two_outputs(script(tmp_path, Named(), outputs=[{**SMILE, "output": "means"}, {**HAIR, "output": "shares"}]),
                      pictures)
    loaded = load_scorer(tmp_path / "mine.json")
    assert loaded.name == "mine"


@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_onnx_with_a_free_and_a_fixed_batch(tmp_path: Path, pictures: Tensor, batch: int | str) -> None:
    pytest.importorskip("onnxruntime")
    save_onnx(tmp_path / "model.onnx", batch=batch)
    path = describe(tmp_path, model="model.onnx", outputs=[SMILE, {**HAIR, "output": "shares"}])
    check_two_outputs(load_scorer(path), pictures)


def test_onnx_and_torchscript_agree_in_every_layout(tmp_path: Path, pictures: Tensor) -> None:
    pytest.importorskip("onnxruntime")
    settings: dict[str, Any] = {"range": [0, 255], "layout": "nhwc", "size": [16, 16], "channels": "bgr",
                                "outputs": [{**SMILE, "columns": [1]}]}
    save_onnx(tmp_path / "model.onnx", kind="UINT8", axes=(1, 2))
    by_onnx = load_scorer(describe(tmp_path, model="model.onnx", **settings))(pictures)
    by_torch = script(tmp_path, Means(), **{**settings, "layout": "nchw"})(pictures)
    torch.testing.assert_close(by_onnx["smile"], by_torch["smile"], rtol=0, atol=0.1)  # The first is rounded.


def test_a_fixed_size_is_met_by_resizing(tmp_path: Path, pictures: Tensor) -> None:
    scorer = script(tmp_path, module := Fixed(), size=[8, 8], outputs=[{**SMILE, "columns": [0, 1]}])
    small = F.interpolate((pictures + 1) / 2, size=(8, 8), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = module(small)
    torch.testing.assert_close(scorer(pictures)["smile"][:, 1], expected[:, 1] - expected[:, 0])


def test_the_example_of_the_docs_is_a_description(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "scorers.md").read_text()
    (tmp_path / "faces.json").write_text(text.split("```json\n")[1].split("```")[0])
    (tmp_path / "faces.onnx").touch()
    found = read_description(tmp_path / "faces.json")
    assert (found.size, found.crop, found.mean) == ((224, 224), 0.9, (0.485, 0.456, 0.406))
    assert [(output.attribute, output.columns) for output in found.outputs] == [("beard", (3,)), ("hat", (7,)),
                                                                                ("mood", (2, 0, 1))]


# --- bad input ---


@pytest.mark.parametrize(("changes", "words"), [
    ({"format": "gradctrl-scorer-2"}, "gradctrl-scorer-1"),
    ({"model": "other.pt"}, "is not there"),
    ({"model": "model.pkl"}, r"\.onnx"),
    ({"model": None}, '"model"'),
    ({"sise": [8, 8]}, "'sise'.*size"),
    ({"size": [8]}, '"size"'), ({"size": 8}, '"size"'), ({"size": [0, 8]}, '"size"'),
    ({"crop": 0}, '"crop"'), ({"crop": 1.5}, '"crop"'), ({"crop": "half"}, '"crop"'),
    ({"channels": "cmyk"}, '"channels".*rgb or bgr or gray'),
    ({"layout": "chw"}, '"layout"'),
    ({"range": [1, 0]}, '"range"'), ({"range": [0, 1, 2]}, '"range"'), ({"mean": [1, 2]}, '"mean"'),
    ({"std": [1, 0, 1]}, '"std"'), ({"mean": [float("nan")] * 3}, '"mean"'),
    ({"outputs": []}, '"outputs"'), ({"outputs": SMILE}, '"outputs"'), ({"outputs": [SMILE, SMILE]}, "twice"),
    ({"outputs": [{**SMILE, "attribute": "My Smile"}]}, "attribute's name"),
    ({"outputs": [{**SMILE, "classes": ["a"]}]}, "two or more"),
    ({"outputs": [{**SMILE, "classes": ["a", "b:c"]}]}, "names without"),
    ({"outputs": [{**SMILE, "classes": "ab"}]}, '"classes"'),
    ({"outputs": [{**SMILE, "columns": [0, 1, 2]}]}, "one column a class"),
    ({"outputs": [{**SMILE, "columns": [1, 1]}]}, "one column a class"),
    ({"outputs": [{**SMILE, "columns": [-1]}]}, '"columns"'),
    ({"outputs": [{**HAIR, "columns": [0]}]}, "3 classes"),
    ({"outputs": [{**SMILE, "kind": "odds"}]}, '"kind".*logit or probability'),
    ({"outputs": [{**SMILE, "output": -1}]}, '"output"'),
    ({"outputs": [{**SMILE, "orderd": True}]}, "'orderd' of smile"),
    ({"outputs": [{**SMILE, "ordered": 1}]}, '"ordered"'),
])
def test_a_mistake_in_a_description_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    (tmp_path / "model.pt").touch()
    (tmp_path / "model.pkl").touch()
    with pytest.raises(InputError, match=words) as caught:
        read_description(describe(tmp_path, **changes))
    assert "mine.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_file_scorer(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        load_file_scorer(tmp_path / "bad.json")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: not readable as TorchScript"):
        load_file_scorer(describe(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match=r"model\.onnx: not readable as ONNX"):
        load_file_scorer(describe(tmp_path, model="model.onnx"))


@pytest.mark.parametrize(("module", "output", "words"), [
    (Means(), {**SMILE, "columns": [3]}, "column 3.*3 columns"),
    (Means(), {**SMILE, "output": 1}, "no output 1"),
    (Named(), {**SMILE, "output": "mean"}, r"0 \(means\), 1 \(shares\)"),
    (nn.Identity(), SMILE, r"\[5, 3, 32, 32\], and \[5, columns\]"),
    (nn.Sequential(Means(), nn.Flatten(0)), SMILE, "columns"),
    (Fixed(), SMILE, r"model\.pt: does not take pictures of shape \[5, 3, 32, 32\]"),
])
def test_outputs_that_are_not_as_described(tmp_path: Path, pictures: Tensor, module: nn.Module, output: dict[str, Any],
                                           words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        script(tmp_path, module, outputs=[output])(pictures)
    assert "\n" not in str(caught.value)


def test_nan_and_what_is_no_probability_are_refused(tmp_path: Path, pictures: Tensor) -> None:
    broken = pictures.clone()
    broken[3] = torch.nan
    with pytest.raises(InputError, match=r"mine\.json: smile.*NaN"):
        script(tmp_path, Means())(broken)
    with pytest.raises(InputError, match='"kind" to "logit"'):
        script(tmp_path, Means(), range=[0, 255], outputs=[{**SMILE, "kind": "probability"}])(pictures)


def test_onnx_pictures_of_another_shape_are_refused(tmp_path: Path, pictures: Tensor) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    save_onnx(tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 8
    onnx.save(model, str(tmp_path / "model.onnx"))
    with pytest.raises(InputError, match=r"model\.onnx: does not take pictures"):
        load_scorer(describe(tmp_path, model="model.onnx"))(pictures)


def test_without_onnxruntime_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'gradctrl\[onnx\]'"):
        load_file_scorer(describe(tmp_path, model="model.onnx"))


def test_onnxruntime_is_not_imported_for_other_scorers() -> None:
    code = ("import sys, learning.scorers as s; s.load_scorer, s.load_file_scorer, s.BundledScorer, s.read_labels\n"
            "print('onnxruntime' in sys.modules)")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            cwd=Path(__file__).parents[3])
    assert result.stdout.strip() == "False"
