"""An evaluation from end to end, on a generator that shows w+ itself: resumed equals straight through."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from directions import Controls
from directions import load as load_controls
from evaluation import Evaluation, EvaluationSettings, Results, write_report
from evaluation.ablations import few_shot
from evaluation.dependency import Dependency, dependency, draw_edits
from evaluation.evaluation import judged_scores
from evaluation.folder import EvaluationFolder
from evaluation.tables import accuracy_rows
from generators import Space
from learning import TuneSettings
from learning.bank import SampleBank, write_bank
from learning.contenders import split_bank
from tests.learning.glass import Glass, Reader, along, binary, latents
from weights.errors import InputError

COUNT = 900
SETTINGS = EvaluationSettings(
    methods=("gradctrl", "paper", "interfacegan", "ganspace"), trials=40, edits=12, ablation=10, counts=(0, 4),
    examples=(5, 10_000), tune=TuneSettings(samples=6, margins=(0.3,), search_margins=(0.3,), margin_samples=6,
                                            counts=(0, 4), layer_ranges=((4, 2048),)))


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def glass() -> Glass:
    return Glass()


@pytest.fixture(scope="module")
def reader(glass: Glass) -> Reader:
    """Smile and age share channels; hair is a scale of three; hat is hardly ever worn."""
    w = glass.sample(range(500))
    centre, spread = w.mean(dim=0), w.std(dim=0)

    def mean(w_plus: Tensor, *channels: int) -> Tensor:
        return ((w_plus.mean(dim=1) - centre) / spread) @ along(*channels)

    return Reader(
        {"smile": binary(lambda w_plus: mean(w_plus, 0, 1, 2, 3)), "age": binary(lambda w_plus: mean(w_plus, 3, 4, 5)),
         "hair": lambda w_plus: torch.stack([-mean(w_plus, 8, 9), torch.full([len(w_plus)], 0.5),
                                             mean(w_plus, 8, 9)], dim=1),
         "hat": binary(lambda w_plus: mean(w_plus, 12) - 50)},
        classes={"hair": ("black", "brown", "blond")})


@pytest.fixture(scope="module")
def bank(glass: Glass, reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> SampleBank:
    made = write_bank(glass, tmp_path_factory.mktemp("bank"), count=COUNT)
    made.save_scores(reader.scores(glass, made.latents()).values())
    return made


@pytest.fixture(scope="module")
def whole(glass: Glass, reader: Reader, bank: SampleBank,
          tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Results]:
    evaluation = Evaluation(glass, reader, bank, tmp_path_factory.mktemp("whole"), SETTINGS)
    return evaluation, evaluation.run()


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_projection_is_right_where_the_score_of_the_latent_is(whole: tuple[Evaluation, Results]) -> None:
    rows = {(row[0], row[1]): row for row in accuracy_rows(whole[1])[1:]}
    assert rows["gradctrl", "all"][3] >= 0.9  # type: ignore[operator]
    assert rows["gradctrl", "all"][3] > rows["ganspace", "all"][3]  # type: ignore[operator]
    assert whole[1].trials.attributes == ("smile", "age", "hair")
    assert sum(len(whole[1].trials.of(name)) for name in whole[1].trials.attributes) == len(whole[1].trials)


def test_samples_to_test_on_were_never_learned_from(whole: tuple[Evaluation, Results]) -> None:
    evaluation, results = whole
    split = evaluation.split
    assert not set(split.test.tolist()) & {*split.fit.tolist(), *split.tune.tolist()}
    assert set(results.trials.sample.tolist()) | set(results.edits.sample.tolist()) <= set(split.test.tolist())
    assert len(split.fit) + len(split.tune) + len(split.test) == COUNT


def test_given_controls_are_tried_as_they_are_on_what_they_have(
        glass: Glass, reader: Reader, bank: SampleBank, whole: tuple[Evaluation, Results], tmp_path: Path) -> None:
    tuned = load_controls(whole[0].folder.path / "methods" / "gradctrl.safetensors")
    part = Controls([tuned.control("smile")], spaces=tuned.spaces)
    evaluation = Evaluation(glass, reader, bank, tmp_path, replace(SETTINGS, methods=()),
                            given={"all_of_them": tuned, "only_smile": part})
    results = evaluation.run()
    rows = {(row[0], row[1]): row for row in accuracy_rows(results)[1:]}
    assert rows["all_of_them", "all"][2:] == next(row[2:] for row in accuracy_rows(whole[1])[1:]
                                                  if (row[0], row[1]) == ("gradctrl", "all"))
    assert rows["only_smile", "all"][2] == rows["all_of_them", "smile"][2] < rows["all_of_them", "all"][2]
    assert len(results.edits_of("only_smile")) < len(results.edits_of("all_of_them")) == len(results.edits)
    [line] = [line for line in write_report(evaluation, results)[0].read_text().splitlines()
              if line.startswith("| only_smile |") and line.count("\N{MULTIPLICATION SIGN}") == 2]
    assert len(line.split("|")) == 7  # The method, three attributes and all.


def test_margins_of_given_controls_are_tuned_when_asked(
        glass: Glass, reader: Reader, bank: SampleBank, whole: tuple[Evaluation, Results], tmp_path: Path) -> None:
    tuned = load_controls(whole[0].folder.path / "methods" / "gradctrl.safetensors")
    timid = replace(tuned.control("smile"), margins=(0.0, 0.0))
    settings = replace(SETTINGS, methods=(), tune_given=True)
    given = Evaluation(glass, reader, bank, tmp_path, settings,
                       given={"timid": Controls([timid], spaces=tuned.spaces)}).run().controls["timid"].control("smile")
    assert given.layers == timid.layers
    assert given.margins > (0.0, 0.0)


@pytest.mark.parametrize("after", [2, pytest.param(13, marks=pytest.mark.slow)])
def test_an_interrupted_evaluation_goes_on_where_it_was(glass: Glass, reader: Reader, bank: SampleBank,
                                                        whole: tuple[Evaluation, Results], tmp_path: Path,
                                                        after: int) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if done == after:
            raise Stop

    with pytest.raises(Stop):
        Evaluation(glass, reader, bank, tmp_path, SETTINGS, on_progress=stop).run()
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    results = Evaluation(glass, reader, bank, tmp_path, SETTINGS).run()
    assert accuracy_rows(results) == accuracy_rows(whole[1])
    for method, found in results.dependencies.items():
        assert torch.equal(found.others, whole[1].dependencies[method].others)
    assert {path: path.stat().st_mtime_ns for path in there} == there


def test_the_report_says_what_was_measured(whole: tuple[Evaluation, Results]) -> None:
    evaluation, results = whole
    paths = write_report(evaluation, results)
    assert all(path.is_file() for path in paths)
    names = {path.name for path in paths}
    assert {"report.md", "accuracy.csv", "dependency.csv", "scatter.csv", "ablations.csv", "dependency.png",
            "scatter.png", "masks.png", "channels.png", "examples.png", "gradctrl-successes.png"} <= names
    text = paths[0].read_text()
    found = {(row["method"], row["attribute"]): row for row in rows_of(evaluation.folder.path / "accuracy.csv")}
    share = float(results.verdicts["gradctrl"].correct.float().mean())
    assert float(found["gradctrl", "all"]["accuracy"]) == pytest.approx(share, abs=1e-4)
    assert f"{share:.3f}" in text
    assert "hat is not judged" in text
    ablations = rows_of(evaluation.folder.path / "ablations.csv")
    assert {row["value"] for row in ablations if row["figure"] == "masks"} == {"none", "smile", "age", "hair", "all"}
    assert [row["edits"] for row in ablations if row["value"] == "10000"] == ["0", "0"]  # Too few samples for it.


def test_keeping_the_others_is_what_keeps_them(whole: tuple[Evaluation, Results]) -> None:
    """With hundreds of edits this is figure 8a; here that none of the points is made up."""
    points = {(point.method, point.value): point.verdict for point in whole[1].ablations if point.figure == "masks"}
    none, everything = points["gradctrl", "none"], points["gradctrl", "all"]
    assert none is not None
    assert everything is not None
    assert everything.correct.float().mean() >= none.correct.float().mean()
    assert len(none.correct) == SETTINGS.ablation


def test_measured_controls_can_be_loaded_and_say_how_good_they_are(whole: tuple[Evaluation, Results]) -> None:
    evaluation, results = whole
    write_report(evaluation, results)
    for method in SETTINGS.methods:
        loaded = load_controls(evaluation.folder.path / "measured" / f"{method}.safetensors")
        assert loaded.spaces["w"].matches(evaluation.generator.space)
        told = loaded["smile"].report["measured"]
        own = results.trials.of("smile")
        assert told["edits"] == len(own)  # type: ignore[index]
        assert told["accuracy"] == pytest.approx(  # type: ignore[index]
            float(results.verdicts[method].correct[own].float().mean()), abs=1e-3)
        assert set(told["stayed"]) == {"age", "hair"}  # type: ignore[index]


def test_an_evaluation_of_other_settings_is_refused(glass: Glass, reader: Reader, bank: SampleBank,
                                                    tmp_path: Path) -> None:
    Evaluation(glass, reader, bank, tmp_path, SETTINGS)
    with pytest.raises(InputError, match=r"another settings.*--out"):
        Evaluation(glass, reader, bank, tmp_path, replace(SETTINGS, seed=1))
    Evaluation(glass, reader, bank, tmp_path, SETTINGS)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        EvaluationFolder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_controls_and_banks_of_another_generator_are_refused(glass: Glass, reader: Reader, bank: SampleBank,
                                                             whole: tuple[Evaluation, Results],
                                                             tmp_path: Path) -> None:
    with pytest.raises(InputError, match="load that generator"):
        Evaluation(glass, reader, replace(bank, generator_hash="0" * 64), tmp_path / "a", SETTINGS)
    foreign = Controls(list(whole[1].controls["gradctrl"].values()), spaces={"w": Space.of("w", latents(4))},
                       source="theirs")
    with pytest.raises(InputError, match="theirs"):
        Evaluation(glass, reader, bank, tmp_path / "b", SETTINGS, given={"gradctrl": foreign})
    assert not list(tmp_path.iterdir())


def test_a_bank_of_too_few_samples_is_refused_before_any_work(glass: Glass, reader: Reader, bank: SampleBank,
                                                              tmp_path: Path) -> None:
    with pytest.raises(InputError, match="samples of each class are needed"):
        Evaluation(glass, reader, bank, tmp_path / "out", replace(SETTINGS, paper_examples=500))
    assert not list(tmp_path.iterdir())
    Evaluation(glass, reader, bank, tmp_path / "out", replace(SETTINGS, paper_examples=500, methods=("ganspace",)))


def test_given_controls_are_measured_in_place_of_trained_ones(glass: Glass, reader: Reader, bank: SampleBank,
                                                              whole: tuple[Evaluation, Results],
                                                              tmp_path: Path) -> None:
    given = whole[1].controls["gradctrl"]
    settings = replace(SETTINGS, methods=("gradctrl",), examples=())
    results = Evaluation(glass, reader, bank, tmp_path, settings, given={"gradctrl": given}).run()
    assert torch.equal(results.verdicts["gradctrl"].correct, whole[1].verdicts["gradctrl"].correct)


def test_attributes_that_cannot_be_judged_are_left_out_with_a_reason(glass: Glass, reader: Reader,
                                                                     bank: SampleBank) -> None:
    kept, left_out = judged_scores(bank.scores(), reader)
    assert list(kept) == ["smile", "age", "hair"]
    assert "0.00%" in left_out["hat"]
    with pytest.raises(InputError, match="at least two attributes"):
        judged_scores({"smile": kept["smile"]}, reader)


def test_given_controls_of_other_classes_are_left_out_with_a_reason(
        glass: Glass, reader: Reader, bank: SampleBank, whole: tuple[Evaluation, Results], tmp_path: Path) -> None:
    tuned = whole[1].controls["gradctrl"]
    other = replace(tuned.control("smile"), classes=("glad", "sad"))
    both = Controls([other, tuned.control("hair")], spaces=tuned.spaces)
    evaluation = Evaluation(glass, reader, bank, tmp_path, replace(SETTINGS, methods=()), given={"mine": both})
    results = evaluation.run()
    why = "it tells glad, sad, the scores no, yes"
    assert results.left_out["smile of mine"] == why
    assert f"smile of mine is not judged: {why}." in write_report(evaluation, results)[0].read_text()
    assert results.trials.attributes == ("hair",)
    with pytest.raises(InputError, match="smile has the classes glad, sad, the bank's scores have"):
        Evaluation(glass, reader, bank, tmp_path, given={"mine": Controls([other], spaces=tuned.spaces)})


def test_too_few_samples_for_few_shot_training_are_no_error(whole: tuple[Evaluation, Results]) -> None:
    evaluation, results = whole
    assert few_shot("paper", results.controls["paper"], 5000, evaluation.latents, evaluation.scores, evaluation.split,
                    evaluation._tuner()) is None


def test_a_bank_is_divided_without_overlap() -> None:
    split = split_bank(100, test_share=0.5)
    assert (len(split.fit), len(split.tune), len(split.test)) == (45, 5, 50)
    assert torch.equal(torch.cat([split.fit, split.tune, split.test]), torch.arange(100))
    assert len(split_bank(50).test) == 0


def test_dependency_is_in_deviations_and_towards_the_target(bank: SampleBank) -> None:
    scores = {name: item for name, item in bank.scores().items() if name != "hat"}
    edits = draw_edits(scores, ("smile", "age", "hair"), torch.arange(COUNT), count=60, seed=3)
    assert all(scores[("smile", "age", "hair")[a]].labels[s] != t
               for s, a, t in zip(edits.sample, edits.attribute, edits.target, strict=True))
    spread = {name: item.log_odds.std(dim=0) for name, item in scores.items()}
    # Every edit moves its binary target two deviations towards the class, and each other binary logit by half of one.
    after = {}
    for index, name in enumerate(edits.attributes):
        before = scores[name].values[edits.sample]
        if name == "hair":
            after[name] = before[:, None]
            continue
        sign = torch.where(edits.target == 1, 2.0, -2.0)
        moved = torch.where(edits.attribute == index, sign, torch.tensor(0.5)) * spread[name][1]
        after[name] = torch.stack([before[:, 0], before[:, 1] + moved], dim=1)[:, None]
    found = dependency(edits, scores, after)
    binary_targets = edits.attribute < 2
    assert torch.allclose(found.target[binary_targets], torch.tensor(2.0), atol=1e-4)
    assert torch.allclose(found.others[binary_targets], torch.tensor(0.25), atol=1e-4)  # 0.5 of one, 0 of hair.
    assert torch.allclose(found.target[~binary_targets], torch.tensor(0.0), atol=1e-4)
    assert torch.allclose(found.others[~binary_targets], torch.tensor(0.5), atol=1e-4)


def test_groups_of_dependency_are_means_of_what_falls_into_them() -> None:
    found = Dependency(torch.tensor([0.3, 0.6, 1.0, 1.1, 9.0]), torch.tensor([1.0, 3.0, 5.0, 7.0, 100.0]), {})
    groups = found.groups()
    assert groups[0] == (0.5, 2.0, 2)
    assert groups[1] == (1.0, 6.0, 2)
    assert [count for _, _, count in groups] == [2, 2, 0, 0]


def test_progress_counts_up(glass: Glass, reader: Reader, bank: SampleBank, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    show: Callable[[str, int, int], None] = lambda *what: told.append(what)  # noqa: E731
    settings = replace(SETTINGS, methods=("gradctrl",), examples=())
    Evaluation(glass, reader, bank, tmp_path, settings, on_progress=show).run()
    assert [done for _, done, _ in told] == list(range(len(told)))
    assert abs(len(told) - told[0][2]) <= 2
