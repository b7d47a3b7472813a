"""Making the bundled controls: sample the generator, score the samples, take 30 a class, train, measure.

The scores are the judge's (an image classifier, see `judge`), never the controls' own: what is reported in the control
file is how often an edit of strength 1 flips the judge's opinion, and how often it leaves the other attributes alone.

    python -m weights.training.controls JUDGE.safetensors OUT.safetensors --strips FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from editing import Editor, strip
from editing.scorers.bundled import FaceClassifier, shrink
from gradctrl import Control, Controls, save_controls, train_classifier
from inversion import save_picture
from stylegan2 import Generator, load
from weights.training.judge import load_judge

EXAMPLES = 30      # A class, as in the paper.
SAMPLES = 6000     # From which the most confident examples are taken.
TEST = 200         # Fresh samples on which a control is measured, about evenly of each class.
BATCH = 16
GOOD_PATH = 9.0    # Path length in W beyond which pictures fall apart; about the length of w - w_avg itself.


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One control to be made: how the judge's scores become class scores, and the settings it starts with."""

    classes: tuple[str, ...]
    scores: Callable[[dict[str, Tensor]], Tensor]  # The judge's scores to [N] (binary) or [N, C].
    layers: tuple[int, int]
    keep: dict[str, int] = field(default_factory=dict)


def _bands(value: Tensor, centres: tuple[float, ...]) -> Tensor:
    """Scores [N, C] of a number [N] that falls into bands around centres: the nearest centre scores highest."""
    return -(value[:, None] - torch.tensor(centres)).abs()


# The channel counts are small: the w of this generator fill about 20 of their 512 dimensions, and masking more channels
# drives a direction out of them (measured: the squared standard score of the edited w, 1 for a likely one, grows from 2
# at 20 channels an attribute to 5 and more at 100, while the other attributes are kept no better).
PLANS = {
    "smile": Plan(classes=("serious", "smiling"), scores=lambda s: s["smile"][:, 0], layers=(2, 8),
                  keep={"gender": 20, "age": 20, "hair": 20, "pose": 20}),
    "gender": Plan(classes=("female", "male"), scores=lambda s: s["gender"][:, 0], layers=(0, 8),
                   keep={"smile": 20, "age": 20, "hair": 20, "pose": 20}),
    "age": Plan(classes=("young", "old"), scores=lambda s: s["age"][:, 0], layers=(2, 10),
                keep={"smile": 20, "gender": 50, "hair": 20, "pose": 20}),
    "hair": Plan(classes=("black", "brown", "blond"), scores=lambda s: s["hair"], layers=(5, 12)),
    # Hair keeps nothing by masks: its layers carry colours alone, and looked at, masks put colour into the eyes.
    "pose": Plan(classes=("left", "front", "right"), scores=lambda s: _bands(s["yaw"][:, 0], (-1.4, 0.0, 1.4)),
                 layers=(0, 6), keep={"smile": 20, "gender": 20, "age": 20, "hair": 20}),
}


@torch.no_grad()
def judge_latents(generator: Generator, judge: FaceClassifier, latents: Tensor, *,
                  quiet: bool = False) -> dict[str, Tensor]:
    """The judge's scores of the pictures of w or w+ latents: {head: [N, C]}."""
    parts = [judge(shrink(generator.render(part).clamp(-1, 1))) for part in tqdm(latents.split(BATCH), disable=quiet,
                                                                                desc="scoring", leave=False)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def class_scores(plan: Plan, scores: dict[str, Tensor]) -> Tensor:
    """Scores [N, C] whose largest is the class, for binary plans too (the negative class scores 0)."""
    values = plan.scores(scores)
    return torch.stack([torch.zeros_like(values), values], dim=1) if values.ndim == 1 else values


def most_confident(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Indexes and labels of the samples in which each class leads the others by most: [C * count] each."""
    index, labels = [], []
    for label in range(values.shape[1]):
        others = torch.cat([values[:, :label], values[:, label + 1:]], dim=1).amax(dim=1)
        index.append((values[:, label] - others).topk(count).indices)
        labels.append(torch.full([count], label))
    return torch.cat(index), torch.cat(labels)


def train_control(name: str, plan: Plan, w: Tensor, scores: dict[str, Tensor]) -> Control:
    """Train on the most confident samples; the report has the accuracy on the others."""
    values = class_scores(plan, scores)
    index, labels = most_confident(values, EXAMPLES)
    classifier = train_classifier(w[index], labels, classes=len(plan.classes))
    control = Control(name=name, classes=plan.classes, classifier=classifier, layers=plan.layers, keep=plan.keep,
                      units=(1.0,) * classifier.outputs)
    rest = torch.ones(len(w), dtype=torch.bool)
    rest[index] = False
    hit = control.predict(w[rest]) == values[rest].argmax(dim=1)
    classes = values[rest].argmax(dim=1)
    recall = [round(float(hit[classes == c].float().mean()), 3) for c in range(len(plan.classes))]
    return replace(control, report={"examples a class": EXAMPLES, "recall by class on other samples": recall})


def crossing_lengths(editor: Editor, judge: FaceClassifier, name: str, plan: Plan, w: Tensor, values: Tensor,
                     target: int, sign: int, *, longest: float, parts: int = 12) -> Tensor:
    """Path length at which the judge's class becomes the target's, for samples of other classes; inf if never."""
    others = values.argmax(dim=1) != target
    editor.set_latents(w[others][:TEST // 4])
    key = name if len(plan.classes) == 2 else f"{name}:{plan.classes[target]}"
    result = torch.full([len(editor.latent)], torch.inf)
    for part in range(1, parts + 1):
        length = longest * part / parts
        edited = editor.edit_latent({key: sign * length})
        crossed = class_scores(plan, judge_latents(editor.generator, judge, edited, quiet=True)).argmax(1) == target
        result = torch.where(crossed & result.isinf(), torch.tensor(length), result)
    return result


def calibrate(editor: Editor, judge: FaceClassifier, control: Control, plan: Plan, w: Tensor, values: Tensor,
              longest: float) -> Control:
    """Set the unit of each output to the median length at which the judge's class flips."""
    units, flipped = [], []
    for output in range(control.classifier.outputs):
        if control.binary:
            both = [crossing_lengths(editor, judge, control.name, plan, w, values, target, sign, longest=longest)
                    for target, sign in ((1, 1), (0, -1))]
            lengths = torch.cat(both)
        else:
            lengths = crossing_lengths(editor, judge, control.name, plan, w, values, output, 1, longest=longest)
        units.append(round(float(lengths.median().clamp(max=longest)), 2))
        flipped.append(round(float(lengths.isfinite().float().mean()), 3))
    report = {**control.report, f"share that flips within {longest:g} of path": flipped}
    reach = min(3.0, max(1.0, round(GOOD_PATH / max(units), 1)))
    return replace(control, units=tuple(units), limits=(-reach if control.binary else 0.0, reach), report=report)


def measure(editor: Editor, judge: FaceClassifier, name: str, w: Tensor,
            scores: dict[str, Tensor]) -> dict[str, object]:
    """Effect of strength +-1.5 on fresh samples: share that reaches the target, share whose others stay."""
    plan = PLANS[name]
    before = {other: class_scores(p, scores).argmax(dim=1) for other, p in PLANS.items()}
    reached: list[float] = []
    stayed: dict[str, list[float]] = {other: [] for other in PLANS if other != name}
    for target, class_name in enumerate(plan.classes):
        chosen = (before[name] != target).nonzero()[:TEST // 4, 0]
        editor.set_latents(w[chosen])
        key, strength = (name, 1.5 if target else -1.5) if len(plan.classes) == 2 else (f"{name}:{class_name}", 1.5)
        after = judge_latents(editor.generator, judge, editor.edit_latent({key: strength}), quiet=True)
        reached.append((class_scores(plan, after).argmax(dim=1) == target).float().mean().item())
        for other, kept in stayed.items():
            kept.append((class_scores(PLANS[other], after).argmax(1) == before[other][chosen]).float().mean().item())
    return {"reached at strength 1.5 (image classifier)": [round(value, 3) for value in reached],
            "others unchanged then": {other: round(sum(kept) / len(kept), 3) for other, kept in stayed.items()}}


def make(judge_file: Path, out: Path, strips: Path | None, *, generator_source: str, longest: float) -> None:
    generator, judge = load(generator_source), load_judge(judge_file)
    w = generator.sample(range(SAMPLES))
    scores = judge_latents(generator, judge, w)
    train_w, test_w = w[:-2000], w[-2000:]
    train_scores = {name: value[:-2000] for name, value in scores.items()}
    test_scores = {name: value[-2000:] for name, value in scores.items()}
    controls = [train_control(name, plan, train_w, train_scores) for name, plan in PLANS.items()]
    editor = Editor(generator, Controls(controls))
    controls = [calibrate(editor, judge, control, PLANS[control.name], test_w,
                          class_scores(PLANS[control.name], test_scores), longest) for control in tqdm(controls)]
    editor = Editor(generator, Controls(controls))
    for index, control in enumerate(controls):
        report = {**control.report, **measure(editor, judge, control.name, test_w, test_scores)}
        controls[index] = replace(control, report=report)
        print(control.name, control.units, report)
    save_controls(out, controls, generator_hash=generator.hash)
    if strips is not None:
        save_strips(editor, strips)


def save_strips(editor: Editor, folder: Path) -> None:
    """A strip a control and class, of four typical samples, to be looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    editor.set_latents(editor.generator.sample([3, 14, 15, 92], truncation=0.8))
    for name, control in editor.controls.items():
        keys = [name] if control.binary else [f"{name}:{class_name}" for class_name in control.classes]
        for key in keys:
            strengths = (-2.0, -1.0, 0.0, 1.0, 2.0) if control.binary else (0.0, 0.5, 1.0, 1.5, 2.0)
            save_picture(folder / f"{key.replace(':', '-')}.png", strip(editor, key, strengths))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("judge", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--generator", default="bundled")
    parser.add_argument("--strips", type=Path)
    parser.add_argument("--longest", type=float, default=9.6, help="longest path that is tried, in W")
    arguments = parser.parse_args()
    make(arguments.judge, arguments.out, arguments.strips, generator_source=arguments.generator,
         longest=arguments.longest)
