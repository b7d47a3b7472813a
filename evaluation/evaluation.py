"""The evaluation: all methods side by side, on the same samples, by the protocol of Chen et al. 2022, section 4.2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from directions import Control, Controls, Edit, EditedLatents, load, save
from directions.edit import Keep
from directions.methods import Contender
from editing.editor import Editor
from evaluation.ablations import Variant, variants
from evaluation.dependency import Dependency, dependency, draw_edits, walk_edits
from evaluation.folder import EvaluationFolder
from evaluation.settings import RAREST, EvaluationSettings
from generators import Generator
from gradctrl import Scores
from learning.bank import SampleBank
from learning.calibration import Tuner
from learning.contenders import examples_of, fit_contender, part_of, split_bank, tune_contender, tune_margins
from learning.scorers import ImageScorer, regrouped, regrouped_gradients
from learning.trials import Trials, Verdict, check_controls, cross, draw_trials, judge, verdict
from weights.errors import InputError

CHUNK = 100  # Trials in a piece of work.
OnProgress = Callable[[str, int, int], None]  # What is done now, how many pieces are done, of how many about.


@dataclass(frozen=True)
class Ablation:
    """One point of a figure."""

    figure: str
    method: str
    value: str
    verdict: Verdict | None  # None: the bank has too few samples for it.


@dataclass(frozen=True)
class Results:
    """All that was measured; `evaluation.report` writes it down."""

    controls: dict[str, Controls]               # By method, with their measurements in the reports.
    trials: Trials                              # All of them; `trials_of` has those of a method.
    verdicts: dict[str, Verdict]
    crossed: dict[str, Tensor]                  # By method, which trials crossed by their own score, bool [T].
    dependencies: dict[str, Dependency]
    edits: Trials                               # As the trials.
    ablations: list[Ablation] = field(default_factory=list)
    judged: tuple[str, ...] = ()                # The labels that must not change.
    left_out: dict[str, str] = field(default_factory=dict)  # Attributes of the bank that are not judged, and why.

    def trials_of(self, method: str) -> Trials:
        """The trials of the attributes that a method has."""
        return self.trials.known_to(self.controls[method])

    def edits_of(self, method: str) -> Trials:
        """The edits of the attributes that a method has."""
        return self.edits.known_to(self.controls[method])


class Evaluation:
    """An evaluation in a folder, which can be interrupted and goes on where it was.

    Args:
        generator: The generator.
        scorer: The image classifier that the bank was scored with; it judges the edits.
        bank: A scored bank of samples.
        folder: Where the pieces and the trained controls are kept.
        settings: How much is tried.
        given: Controls to use for a method in place of training them here, or under names of their own beside the
            methods; they must be of this generator. They may lack attributes, and are then not tried on them.
        on_progress: Told of each piece.
    Raises:
        InputError: the bank or the controls are of another generator, the folder holds another evaluation, or a class
            has too few samples to learn from.
    """

    def __init__(self, generator: Generator, scorer: ImageScorer, bank: SampleBank, folder: Path,
                 settings: EvaluationSettings | None = None, *, given: Mapping[str, Controls] | None = None,
                 on_progress: OnProgress | None = None) -> None:
        self.generator, self.scorer, self.settings = generator, scorer, settings or EvaluationSettings()
        self.given = dict(given or {})
        self.on_progress = on_progress or (lambda what, done, total: None)
        if bank.generator_hash != generator.identity:
            raise InputError(bank.folder,
                             f"holds samples of generator {bank.generator_hash[:12]}, not of the loaded one "
                             f"({generator.identity[:12]})", "load that generator")
        self.bank = bank
        self.latents = bank.latents()
        scores = bank.scores()
        self.scores, self.left_out = judged_scores(scores, scorer)
        self.gradients = {name: regrouped_gradients(scores[name], values, scorer.attributes.get(name))
                          for name, values in bank.gradients().items() if name in self.scores}
        self.split = split_bank(bank.count, test_share=self.settings.test_share)
        for name, item in self.given.items():  # What cannot be used is said before hours of other work.
            item.check(generator)
            self.given[name], apart = told_alike(item, self.scores)
            self.left_out |= {f"{attribute} of {name}": why for attribute, why in apart.items()}
        if "paper" in self.settings.methods and "paper" not in self.given:
            examples_of(part_of(self.scores, self.split.fit), self.settings.paper_examples)
        self.folder = EvaluationFolder(folder, {
            "bank": bank.settings, "scorer": scorer.name, "settings": self.settings.to_json(),
            "given": {name: item.hash for name, item in self.given.items()},
            **({"gradients": {name: len(part) for name, part in self.gradients.items()}} if self.gradients else {})})
        self._done = 0

    def run(self) -> Results:
        """Train, tune, try and judge what is not there yet, and return all of it."""
        methods = dict.fromkeys([*self.settings.methods, *self.given])
        controls = {name: self._controls(cast(Contender, name)) for name in methods}
        names = tuple(name for name in self.scores if any(name in item for item in controls.values()))
        trials = draw_trials(self.scores, names, self.split.test, count=self.settings.trials, seed=self.settings.seed)
        edits = draw_edits(self.scores, names, self.split.test, count=self.settings.edits, seed=self.settings.seed)
        judged = {name: self._judge_trials(f"trials/{name}", item, trials.known_to(item))
                  for name, item in controls.items()}
        results = Results(
            controls=controls, trials=trials, edits=edits,
            verdicts={name: verdict(trials.known_to(controls[name]), self.scores, after)
                      for name, (after, _) in judged.items()},
            crossed={name: crossed for name, (_, crossed) in judged.items()},
            dependencies={name: self._dependency(name, item, edits.known_to(item)) for name, item in controls.items()},
            ablations=self._ablations(controls, names, trials), judged=tuple(self.scores), left_out=self.left_out)
        return replace(results, controls={name: _measured(item, name, results, self.bank)
                                          for name, item in controls.items()})

    def edited(self, controls: Controls, trials: Trials, keep: Keep | None = None) -> tuple[EditedLatents, Tensor]:
        """Carry out trials: the edited latents in their order, and which crossed."""
        controls = controls.to(self.generator.device, self.generator.dtype)
        parts, crossed, order = [], [], []
        for name in trials.attributes:
            members = trials.of(name)
            if len(members):
                part, over = cross(self.generator, controls, self.latents[trials.sample[members]], name,
                                   trials.target[members],
                                   edit=Edit(keep=keep))
                parts.append(part)
                crossed.append(over)
                order.append(members)
        places = torch.cat(order).argsort()
        return EditedLatents.join(parts).select(places), torch.cat(crossed)[places]

    def _controls(self, name: Contender) -> Controls:
        """The tuned controls of a method, from the folder if they are there."""
        path = self.folder.path / "methods" / f"{name}.safetensors"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            self._tell(f"training and tuning {name}")
            if name in self.given:
                controls = self.given[name]
                if self.settings.tune_given:
                    controls = tune_margins(self._tuner(), controls)
            else:
                candidates = fit_contender(name, self.generator, self.scorer, self.latents, self.scores, self.split,
                                          gradients=self.gradients, fit=self.settings.fit,
                                          examples=self.settings.paper_examples,
                                          pick_samples=self.settings.pick_samples, finalists=self.settings.finalists)
                controls = tune_contender(self._tuner(), candidates, source=name)
            save(path, controls.values(), spaces=self.generator.spaces)
        return load(path)

    def _tuner(self) -> Tuner:
        return Tuner(self.generator, self.scorer, self.latents, self.scores, self.split.tune, self.settings.tune)

    def _judge_trials(self, key: str, controls: Controls, trials: Trials,
                      keep: Keep | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """The image classifier's scores after all trials, and which crossed; piece by piece."""
        parts = []
        for start in range(0, len(trials), CHUNK):
            part = trials.part(slice(start, start + CHUNK))

            def make(part: Trials = part) -> dict[str, Tensor]:
                edited, crossed = self.edited(controls, part, keep)
                return {**judge(self.generator, self.scorer, edited), "crossed": crossed}

            self._tell(key)
            parts.append(self.folder.tensors(f"{key}-{start // CHUNK:03}", make))
        after = {name: torch.cat([part[name] for part in parts]) for name in self.scores}
        return after, torch.cat([part["crossed"] for part in parts])

    def _dependency(self, name: str, controls: Controls, edits: Trials) -> Dependency:
        parts = []
        for start in range(0, len(edits), CHUNK):
            part = edits.part(slice(start, start + CHUNK))

            def make(part: Trials = part) -> dict[str, Tensor]:
                return walk_edits(Editor(self.generator, controls), self.scorer, self.latents, part)

            self._tell(f"dependency of {name}")
            parts.append(self.folder.tensors(f"dependency/{name}-{start // CHUNK:03}", make))
        after = {key: torch.cat([part[key] for part in parts]) for key in self.scores}
        return dependency(edits, self.scores, after)

    def _ablations(self, controls: Mapping[str, Controls], names: tuple[str, ...], trials: Trials) -> list[Ablation]:
        some = trials.part(slice(self.settings.ablation))
        ablations = []
        for variant in variants(controls, names, self.latents, self.scores, self.split, self._tuner(), self.settings):
            part = some.part((some.attribute != _index(names, variant.spared)).nonzero()[:, 0])
            ablations.append(Ablation(variant.figure, variant.method, variant.value, self._ablate(variant, part)))
        return ablations

    def _ablate(self, variant: Variant, part: Trials) -> Verdict | None:
        made = variant.controls()
        part = part.known_to(made) if made is not None else part
        if made is None or not len(part):
            return None
        after, _ = self._judge_trials(f"ablations/{variant.key}", made, part, variant.keep)
        return verdict(part, self.scores, after)

    def _tell(self, what: str) -> None:
        self.on_progress(what, self._done, self.pieces)
        self._done += 1

    @property
    def pieces(self) -> int:
        """How many pieces of work there are, about."""
        s, attributes = self.settings, len(self.scores)
        chunks = -(-s.trials // CHUNK) + -(-s.edits // CHUNK)
        points = sum(attributes + 2 + len(s.examples) + (len(s.counts) if name == "paper" else 0)
                     for name in ("gradctrl", "paper") if name in s.methods)
        return len({*s.methods, *self.given}) * (1 + chunks) + points * -(-s.ablation // CHUNK)


def judged_scores(scores: Mapping[str, Scores], scorer: ImageScorer) -> tuple[dict[str, Scores], dict[str, str]]:
    """The scores of the attributes that can be judged, and why the others cannot.

    Raises:
        InputError: none can.
    """
    kept, left_out = {}, {}
    for name, item in ((name, regrouped(item, scorer.attributes.get(name))) for name, item in scores.items()):
        shares = item.labels[item.mask].bincount(minlength=len(item.classes)) / max(int(item.mask.sum()), 1)
        if scorer.attributes.get(name) != item.classes or not item.mask.all():
            left_out[name] = f"{scorer.name} does not score it"
        elif float(shares.min()) < RAREST:
            left_out[name] = f"only {float(shares.min()):.2%} of the samples are {item.classes[int(shares.argmin())]}"
        else:
            kept[name] = item
    if len(kept) < 2:
        raise InputError(None, f"an evaluation needs scores by {scorer.name} of at least two attributes",
                         "score the bank "
                         f"({'; '.join((f'{name}: {why}' for name, why in left_out.items())) or 'it has no scores'})")
    return kept, left_out


def told_alike(controls: Controls, scores: Mapping[str, Scores]) -> tuple[Controls, dict[str, str]]:
    """The controls without those of attributes that the scores have in other classes, and why these cannot be judged.

    Raises:
        InputError: nothing is left to judge.
    """
    apart = {name: f"it tells {', '.join(control.classes)}, the scores {', '.join(scores[name].classes)}"
             for name, control in controls.items()
             if name in scores and isinstance(control, Control) and control.classes != scores[name].classes}
    alike = [control for name, control in controls.items() if name not in apart]
    if not any(control.name in scores for control in alike):
        check_controls(controls, scores)
    return Controls(alike, spaces=controls.spaces, source=controls.source), apart


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1


def _measured(controls: Controls, method: str, results: Results, bank: SampleBank) -> Controls:
    """The controls with what was measured of them, and the bank that it was measured on, in their reports."""
    verdict, changes = results.verdicts[method], results.dependencies[method]
    measured = []
    for control in controls.values():
        if control.name not in results.trials.attributes:
            measured.append(control)
            continue
        edits = results.edits_of(method)
        members = results.trials_of(method).of(control.name)
        of = (edits.attribute == edits.attributes.index(control.name))
        of = of.repeat_interleave(len(changes.target) // len(edits))
        part = Dependency(changes.target[of], changes.others[of], {})
        report = {"edits": len(members), "accuracy": _round(verdict.correct[members]),
                  "reached": _round(verdict.hit[members]),
                  "stayed": {name: _round(stay[members]) for name, stay in verdict.stayed.items()
                             if name != control.name},
                  "dependency": {f"{middle:g}": round(mean, 3) for middle, mean, count in part.groups() if count}}
        measured.append(replace(control, report={**control.report, "samples": bank.settings, "measured": report}))
    return Controls(measured, spaces=controls.spaces, source=controls.source)


def _round(values: Tensor) -> float:
    return round(float(values.float().mean()), 3)
