"""The bundled image classifier: mirror images agree, files come back, and a bank's scores are those of its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from directions import load as load_directions
from gradctrl import Scores
from inversion import save_picture
from learning.bank import SampleBank
from learning.scorers import (
    PAPER,
    BundledScorer,
    FaceClassifier,
    ImageScorer,
    load_face_classifier,
    load_scorer,
    regrouped_gradients,
    save_face_classifier,
    score_bank,
)
from learning.scorers.bundled import (
    CLASSES,
    COARSER,
    FORMAT,
    SIDE,
    MobileNet,
    is_told,
    merged,
)
from weights.errors import InputError


def network() -> FaceClassifier:
    """Random weights."""
    torch.manual_seed(0)
    return FaceClassifier().eval()


@pytest.fixture(scope="module")
def scorer() -> BundledScorer:
    return BundledScorer(network())


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.rand(4, 3, 160, 160, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_the_mobilenet_is_that_of_its_paper() -> None:
    """By its layers, and 4.2 million numbers less the classifier of a thousand classes (Howard et al., table 1)."""
    mobilenet = MobileNet()
    assert len(mobilenet.convolutions) == 27
    assert 3.1e6 < sum(p.numel() for p in mobilenet.parameters()) < 3.3e6
    assert mobilenet(torch.zeros(1, 3, 224, 224)).shape == (1, MobileNet.width)


def test_scores_are_what_the_network_tells(scorer: BundledScorer, pictures: Tensor) -> None:
    scores = scorer(pictures)
    with torch.no_grad():
        told = scorer.network(pictures)
    torch.testing.assert_close(scores["smile"], torch.cat([told["smile"] * 0, told["smile"]], dim=1))
    torch.testing.assert_close(scores["hair"], told["hair"])
    torch.testing.assert_close(scores["pose"], -4 * (told["pose"] / 25 - torch.tensor([-1.0, 0, 1])).abs())


def test_features_are_told_linearly(scorer: BundledScorer, pictures: Tensor) -> None:
    network = scorer.network
    with torch.no_grad():
        features = network.features(pictures)
        half = network.told((features[:1] + features[1:2]) / 2)
        ends = network.told(features[:2])
    for name, values in half.items():
        torch.testing.assert_close(values[0], ends[name].mean(dim=0), rtol=1e-4, atol=1e-5)


def test_the_same_is_seen_at_every_resolution(scorer: BundledScorer, pictures: Tensor) -> None:
    small = torch.nn.functional.interpolate(pictures, size=(SIDE, SIDE), mode="area")
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="nearest")
    for name, values in scorer(small).items():
        torch.testing.assert_close(scorer(large)[name], values, rtol=1e-4, atol=1e-4)


def test_each_attribute_has_a_column_a_class(scorer: BundledScorer, pictures: Tensor) -> None:
    as_protocol: ImageScorer = scorer
    scores = as_protocol(pictures)
    assert {name: values.shape for name, values in scores.items()} == {
        name: (len(pictures), len(classes)) for name, classes in scorer.attributes.items()}
    assert list(scores) == list(CLASSES)
    assert all(values.dtype == torch.float32 and not values.requires_grad for values in scores.values())
    assert scorer.ordered == {"age", "pose", "pitch", "beard"}


def test_fewer_classes_are_the_same_probabilities_together(scorer: BundledScorer, pictures: Tensor) -> None:
    fewer = BundledScorer(scorer.network, PAPER)(pictures)
    all_of_them = {name: values.softmax(dim=1) for name, values in scorer(pictures).items()}
    assert list(fewer) == ["gender", "smile", "eyeglasses", "age"]
    assert BundledScorer(scorer.network, PAPER).ordered == frozenset()  # Two classes are no scale.
    assert all(not values[:, 0].any() for values in fewer.values())
    torch.testing.assert_close(fewer["age"].softmax(dim=1)[:, 1], all_of_them["age"][:, 2:].sum(dim=1))
    torch.testing.assert_close(fewer["eyeglasses"].softmax(dim=1)[:, 0], all_of_them["eyeglasses"][:, 0])
    with pytest.raises(KeyError):
        merged("smile", torch.zeros(1, 2), ("no", "yes"))


@pytest.mark.usefixtures("bundled_models")
def test_it_judges_the_bundled_controls_in_their_own_classes() -> None:
    judge, controls = load_scorer("controls"), load_directions()
    assert {name: controls[name].classes for name in controls} == dict(judge.attributes)
    assert all(is_told(name, controls[name].classes) for name in controls)
    assert not is_told("eyeglasses", ("no", "yes"))
    assert not is_told("monocle", ("without", "with"))


def test_gradients_of_fewer_classes_are_those_of_their_scores() -> None:
    rng = torch.Generator().manual_seed(2)
    for name, (classes, *_) in COARSER.items():
        values, gradients = (torch.randn(5, len(CLASSES[name]), *more, generator=rng).double() for more in ((), (7,)))
        item = Scores(attribute=name, classes=CLASSES[name], values=values, scorer="test")
        found = regrouped_gradients(item, gradients[:3], classes)
        ahead, back = (merged(name, values[:3] + sign * 1e-6 * gradients[:3, :, 4], classes) for sign in (1, -1))
        assert torch.allclose(found[:, :, 4], (ahead - back) / 2e-6, atol=1e-6)
        assert regrouped_gradients(item, gradients, CLASSES[name]) is gradients


def test_a_batch_equals_single_pictures_and_values_beyond_a_file_are_clipped(scorer: BundledScorer,
                                                                            pictures: Tensor) -> None:
    whole = scorer(pictures)
    for name, values in whole.items():
        singles = torch.cat([scorer(picture[None])[name] for picture in pictures])
        torch.testing.assert_close(singles, values, rtol=1e-4, atol=1e-4)
    loud = scorer(pictures * 3)
    torch.testing.assert_close(loud["hair"], scorer((pictures * 3).clamp(-1, 1))["hair"])


def test_other_shapes_are_faults_of_the_caller(scorer: BundledScorer) -> None:
    with pytest.raises(ValueError, match=r"\[N, 3, R, R\]"):
        scorer(torch.zeros(3, 64, 64))


def test_a_file_comes_back_in_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    before = network()
    save_face_classifier(path, before, {"held_out": "{}"})
    assert {name.split(".")[-1]: tensor.dtype for name, tensor in load_file(path).items()} == {
        "weight": torch.float16, "bias": torch.float32, "centre": torch.float32, "scale": torch.float32}
    after = load_face_classifier(path)
    assert not after.training
    for name, tensor in after.state_dict().items():
        expected = before.state_dict()[name]
        assert tensor.dtype == expected.dtype
        torch.testing.assert_close(tensor, expected, rtol=1e-3, atol=1e-4)
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    loaded, direct = BundledScorer(after)(x), BundledScorer(before)(x)
    assert all((loaded[name] - direct[name]).abs().max() < 0.05 for name in direct)


def test_wrong_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    save_face_classifier(path, network())
    state = load_file(path)
    good = path.read_bytes()
    cases: list[tuple[dict[str, Tensor], str]] = [
        ({name: t for name, t in state.items() if name != "heads.bias"}, r"heads\.bias"),
        ({**state, "extra": torch.zeros(1)}, "extra"),
        ({**state, "heads.bias": torch.zeros(3)}, r"heads\.bias"),
        ({**state, "heads.bias": torch.full([29], torch.nan)}, r"heads\.bias"),
    ]
    for tensors, word in cases:
        save_file(tensors, path, {"format": FORMAT})
        with pytest.raises(InputError, match=word):
            load_face_classifier(path)
    save_file(state, path, {"format": "gradctrl-controls-1"})
    with pytest.raises(InputError, match="not a face classifier"):
        load_face_classifier(path)
    path.write_bytes(good[:-100])
    with pytest.raises(InputError, match=r"classifier\.safetensors"):
        load_face_classifier(path)
    with pytest.raises(InputError, match="no such file"):
        load_face_classifier(tmp_path / "nowhere.safetensors")


def test_bundled_is_the_file_of_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "classifier.safetensors"
    save_face_classifier(path, network())
    monkeypatch.setattr("learning.scorers.bundled.path_of", {"bundled-classifier": path}.__getitem__)
    loaded = load_scorer("bundled")
    assert isinstance(loaded, BundledScorer)
    assert torch.equal(loaded.network.heads.bias, load_face_classifier(path).heads.bias)
    with pytest.raises(InputError, match=r"bundled, paper, controls, or a JSON"):
        load_scorer(tmp_path / "model.onnx")


# --- a bank ---


class Brightness:
    """Bright if most of the picture is, by a logit; and where it is brightest, in three classes."""

    name = "brightness"
    attributes = {"bright": ("dark", "bright"), "part": ("a", "b", "c")}  # noqa: RUF012
    ordered = frozenset({"part"})

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        self.seen.append(len(pictures))
        logit = pictures.mean(dim=[1, 2, 3])
        return {"bright": torch.stack([logit * 0, logit], dim=1), "part": torch.stack([logit, -logit, logit * 2], 1)}


@pytest.fixture
def bank(tmp_path: Path) -> SampleBank:
    """Pictures of a bank alone: sample i has the value 20 * i."""
    bank = SampleBank(folder=tmp_path, space="", generator_hash="a" * 64, truncation=1.0, seed=0, count=7, ending="png",
                      resolution=32, w_dim=4)
    (tmp_path / "pictures").mkdir()
    for index in range(7):
        save_picture(bank.picture_path(index), np.full([32, 32, 3], 20 * index, np.uint8))
    return bank


def test_a_bank_is_scored_picture_by_picture(bank: SampleBank) -> None:
    scorer = Brightness()
    calls: list[tuple[int, int]] = []
    bright, part = score_bank(bank, scorer, batch=3, on_progress=lambda *numbers: calls.append(numbers))
    assert scorer.seen == [3, 3, 1]
    assert calls == [(3, 7), (6, 7), (7, 7)]
    torch.testing.assert_close(bright.values[:, 1], torch.arange(7) * 20 / 127.5 - 1)
    assert (bright.attribute, bright.classes, bright.scorer, bright.graded, bright.ordered) == (
        "bright", ("dark", "bright"), "brightness", True, False)
    assert (part.ordered, part.values.shape, part.known) == (True, (7, 3), None)
    assert bank.scores() == {}  # Nothing is written.
    bank.save_scores([bright, part])
    assert torch.equal(bank.scores()["bright"].values, bright.values)


def test_a_scorer_that_gives_nan_or_another_shape_is_refused(bank: SampleBank) -> None:
    class Broken(Brightness):
        def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
            found = super().__call__(pictures)
            return {**found, "bright": found["bright"] / 0 if self.nan else found["bright"][:, 0]}

        nan = True

    with pytest.raises(InputError, match="brightness are NaN"):
        score_bank(bank, Broken())
    Broken.nan = False
    with pytest.raises(ValueError, match=r"bright must be \[N, 2\]"):
        score_bank(bank, Broken())


def test_a_missing_picture_is_named(bank: SampleBank) -> None:
    bank.picture_path(4).unlink()
    with pytest.raises(InputError, match=r"000004\.png"):
        score_bank(bank, cast(ImageScorer, Brightness()))
