"""Training the bundled controls, from how what is seen of a bank's pictures changes with w.

What is seen is the log-odds of the bundled image classifier, the tone of the skin, and the light of the background. It
is differentiated by each row of w+, through the generator, so that the gradients of a layer range are known. A control
follows the mean gradient of its look (those of hair and eyeglasses networks' on several looks), and
holds what it must not change by a sensitivity of its own: the mean squared change counts as length.

    python -m tools.train_controls BANK MEASURED OUT.safetensors

BANK has pictures of the bundled generator's samples and their scores (`gradctrl sample --bank`, `gradctrl score`);
where there is no file MEASURED it is made, in a quarter of an hour of two cores. How long strength 1 is, which layers
move and where the safe ranges end is from `python -m tools.flips`, and from looking.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import directions
import generators
from directions.control import GradCtrlControl
from generators import Generator, LatentStatistics, in_quickest_precision
from generators.memory import keep_freed_memory
from gradctrl import Classifier, Scores, fit_scores
from gradctrl.classifier import SLOPE
from gradctrl.fitting import principal_rows
from gradctrl.gradients import SOFTNESS
from gradctrl.trajectories import Move, walk
from inversion.tone import skin_mask
from learning.bank import SampleBank, open_bank
from learning.scorers.bundled import CLASSES, FaceClassifier, load_face_classifier, scores_of
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-looks-1"
COUNT = 320     # Samples whose gradients are measured,
BATCH = 8       # so many at a time,
SIDE = 256      # on pictures of so many pixels a side.
PAST = 0.5      # Of strength 1: so far past its own boundary an edit has arrived, where pictures show it.
NEAR = 100      # Samples at a boundary.
MOST = 0.99     # Share of the samples whose score is lower than one that is wanted.
HELD = 96       # Rows of what a control holds.
FIRMLY = 30.0   # How much regressions of what is held count where they alone tell: it hardly changes on the whole,
LOOSELY = 4.0   # and beside gradients, which tell of small changes. Regressions tell of all layers together, and so
FINE = 48       # nothing of those that are finer than this side alone.

LOOKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "smile": ("smile", ("smiling",)), "gender": ("gender", ("male",)), "age": ("age", ("middle", "old")),
    "child": ("age", ("child",)), "eyeglasses": ("eyeglasses", ("eyeglasses", "sunglasses")),
    "sunglasses": ("eyeglasses", ("sunglasses",)), "left": ("pose", ("left",)), "right": ("pose", ("right",)),
    "up": ("pitch", ("up",)), "black": ("hair", ("black",)), "brown": ("hair", ("brown",)),
    "blond": ("hair", ("blond",)), "grey": ("hair", ("grey",)), "red": ("hair", ("red",)),
    "beard": ("beard", ("stubble", "full")), "bangs": ("bangs", ("with",)), "bald": ("bald", ("bald",)),
    "mouth": ("mouth", ("open",)), "eyes": ("eyes", ("closed",)), "makeup": ("makeup", ("with",)),
    "hat": ("hat", ("with",)),
}
"""What is seen in a picture: an attribute of the classifier, and those of its classes that have it."""


TONES = ("skin red", "skin green", "skin blue")
BACKGROUND = tuple(f"{side} {colour}" for side in ("left", "right") for colour in ("red", "green", "blue"))
CORNERS = (0.3, 0.14)     # Height and width of the upper corners, where the background shows, in sides of a picture.
BACKGROUND_COUNTS = 0.5   # Beside a look, whose changes are in deviations over W as well.
SEEN = (*LOOKS, *TONES, *BACKGROUND)
"""All that is measured of a picture."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a control is made and used."""

    classes: tuple[str, ...]
    looks: tuple[str, ...]                # Of `LOOKS`: by one two classes are told, by several all of an attribute.
    may_change: tuple[str, ...] = ()      # Of `LOOKS`, beside itself; all others, and the skin's tone, are held.
    layers: tuple[int, int]
    units: tuple[float, ...]
    limits: tuple[float, float]
    softness: float = SOFTNESS            # How much the squared change of what is held counts beside the length.
    by_regression: bool = False           # Not by gradients: these hardly tell of what most faces are far from.

    @property
    def free(self) -> set[str]:
        """All of `LOOKS` that are not held."""
        return {*self.looks, *self.may_change}


_COLOURS = ("black", "brown", "blond", "grey", "red")

CHOSEN: Mapping[str, Trained] = {
    "gender": Trained(classes=("female", "male"), looks=("gender",), may_change=("beard", "makeup", "bangs", "bald"),
                      layers=(12, 96), units=(5.6,), limits=(-1.25, 1.15)),
    "smile": Trained(classes=("serious", "smiling"), looks=("smile",), may_change=("mouth",), layers=(12, 192),
                     units=(2.0,), limits=(-1.5, 1.5)),
    "eyeglasses": Trained(classes=CLASSES["eyeglasses"], looks=("eyeglasses", "sunglasses"), may_change=("eyes",),
                          layers=(4, 64), units=(4.4, 4.2, 7.2), limits=(0.0, 1.15), by_regression=True),
    "age": Trained(classes=("young", "old"), looks=("age",), may_change=("child", "bald", *_COLOURS[:2], "grey"),
                   layers=(24, 192), units=(5.0,), limits=(-1.25, 1.1)),
    "pose": Trained(classes=("left", "right"), looks=("right",), may_change=("left",), layers=(4, 24), units=(4.0,),
                    limits=(-1.5, 1.5), by_regression=True),
    "hair": Trained(classes=_COLOURS, looks=_COLOURS, layers=(48, 1024), units=(5.0, 7.5, 7.5, 5.6, 6.2),
                    limits=(0.0, 1.25)),
    "bangs": Trained(classes=("without", "with"), looks=("bangs",), layers=(4, 48), units=(4.2,),
                     limits=(-0.75, 1.25)),
    "bald": Trained(classes=("hair", "bald"), looks=("bald",),
                    may_change=("bangs", "hat", "gender", "age", *_COLOURS), layers=(4, 32), units=(8.0,),
                    limits=(-0.25, 1.25), softness=10.0),
    "beard": Trained(classes=("without", "with"), looks=("beard",), layers=(16, 96), units=(3.8,),
                     limits=(-1.25, 1.25)),
    "mouth": Trained(classes=("closed", "open"), looks=("mouth",), layers=(8, 192), units=(2.2,),
                     limits=(-1.25, 1.25)),
    "eyes": Trained(classes=("open", "closed"), looks=("eyes",), layers=(12, 192), units=(2.7,),
                    limits=(-0.75, 1.25)),
    "makeup": Trained(classes=("without", "with"), looks=("makeup",), layers=(48, 1024), units=(6.2,),
                      limits=(-0.75, 1.25)),
    "hat": Trained(classes=("without", "with"), looks=("hat",), may_change=("bangs", "bald", *_COLOURS),
                   layers=(4, 24), units=(6.4,), limits=(-0.5, 1.25), by_regression=True),
}


@dataclass(frozen=True)
class Measured:
    """What is seen of N samples, and how it changes with each of the L rows of w+."""

    values: Tensor     # [N, len(SEEN)]
    gradients: Tensor  # [N, len(SEEN), L, w_dim], in half precision.

    def of(self, layers: tuple[int, int], generator: Generator, statistics: LatentStatistics) -> Tensor:
        """Gradients [N, len(SEEN), K] by standard scores when a layer range moves, in deviations of what is seen."""
        rows = self.gradients[:, :, slice(*generator.rows(layers))].float().sum(dim=2).double()
        return rows @ statistics.axes.double().T / self.values.double().std(dim=0)[:, None]


def looks_of(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Log-odds [N] of all `LOOKS` by the classifier's logits [N, C] of its attributes."""
    looks = {}
    for look, (attribute, having) in LOOKS.items():
        inside = torch.tensor([name in having for name in CLASSES[attribute]])
        looks[look] = values[attribute][:, inside].logsumexp(dim=1) - values[attribute][:, ~inside].logsumexp(dim=1)
    return looks


def see(classifier: FaceClassifier, pictures: Tensor) -> Tensor:
    """What is seen [N, len(SEEN)] of pictures [N, 3, S, S] in [-1, 1]."""
    looks = looks_of(scores_of(classifier(pictures)))
    return torch.cat([torch.stack(list(looks.values()), dim=1), colours_of(pictures)], dim=1)


def colours_of(pictures: Tensor) -> Tensor:
    """`TONES` and `BACKGROUND` [N, 9] of pictures [N, 3, S, S] in [-1, 1]."""
    skin = torch.from_numpy(skin_mask())
    small = F.interpolate(pictures, size=tuple(skin.shape), mode="area")
    height, width = (int(part * pictures.shape[-1]) for part in CORNERS)
    corners = [pictures[:, :, :height, :width], pictures[:, :, :height, -width:]]
    return torch.cat([small[:, :, skin].mean(dim=2), *(corner.mean(dim=(2, 3)) for corner in corners)], dim=1)


def measure(generator: Generator, latents: Tensor) -> Measured:
    """See the samples of w [N, w_dim], and differentiate."""
    keep_freed_memory()
    quickest, classifier, values, gradients = in_quickest_precision(generator), load_face_classifier(), [], []
    for part in tqdm(latents.split(BATCH), desc="gradients"):
        ws = generator.broadcast(part).clone().requires_grad_()
        picture = quickest.render(ws.to(quickest.dtype), quickest.side_for(SIDE))
        seen = see(classifier, picture.float().clamp(-1, 1))
        gradients.append(torch.stack([torch.autograd.grad(column.sum(), ws, retain_graph=True)[0].half()
                                      for column in seen.unbind(dim=1)], dim=1))
        values.append(seen.detach())
    return Measured(torch.cat(values), torch.cat(gradients))


def measured_once(path: Path, generator: Generator, latents: Tensor) -> Measured:
    """What the file holds, or else is measured now and kept in it."""
    metadata = {"format": FORMAT, "generator": generator.identity, "seen": ", ".join(SEEN)}
    if not path.exists():
        made = measure(generator, latents)
        write_tensors(path, {"values": made.values, "gradients": made.gradients}, metadata)
    tensors, found = read_tensors(path, format=FORMAT, what="looks that were measured", remedy="delete it")
    if found != metadata:
        raise SystemExit(f"{path} was measured of another generator, or of other looks: delete it")
    return Measured(tensors["values"], tensors["gradients"])


class Trainer:
    """Makes controls of what was measured, and of the looks of a whole bank.

    Args:
        generator: Whose samples they are.
        latents: All of a bank [N, w_dim].
        scores: Of these samples, by the bundled image classifier.
        measured: Of the bank's first samples.
    """

    def __init__(self, generator: Generator, latents: Tensor, scores: Mapping[str, Scores], measured: Measured) -> None:
        self.generator, self.measured, self.scores = generator, measured, scores
        self.looks = looks_of({name: each.values for name, each in scores.items()})
        self.statistics = LatentStatistics.of(latents)
        self.standing = ((latents - self.statistics.mean) @ self.statistics.reader).double()  # [N, K]
        self.report = {"trained on": f"{len(latents)} samples of the bundled generator, as the bundled image "
                                     f"classifier sees them, and gradients of {len(measured.values)}",
                       "settings": "looked at, on photos"}

    def control(self, name: str, how: Trained) -> GradCtrlControl:
        """One of `CHOSEN`."""
        made = GradCtrlControl(
            name=name, classes=how.classes, classifier=self.classifier(how), statistics=self.statistics,
            keeping="projection", shell=False, keep={}, layers=how.layers, units=how.units, limits=how.limits,
            keeps_tone=True, holds=self.holds(how),
            report={**self.report, "holds": ", ".join(name for name in LOOKS if name not in how.free)})
        return replace(made, margins=self.margins(made))

    def margins(self, made: GradCtrlControl) -> tuple[float, ...]:
        """By what scores rise in half a strength past the boundary; of several classes not more than samples have."""
        latents = self.standing.float() @ self.statistics.axes + self.statistics.mean
        scores, margins = made.scores(latents), []
        for output, unit in enumerate(made.units):
            near = latents[scores[:, output].abs().argsort()[:NEAR]]
            way = Move(direction=partial(made.direction, target=output), length=PAST * unit, step=made.step)
            rise = float((made.scores(near + walk(near, [way])[0]) - made.scores(near))[:, output].mean())
            margins.append(rise if made.binary else min(rise, float(scores[:, output].quantile(MOST))))
        return tuple(margins * 2 if made.binary else margins)

    def classifier(self, how: Trained) -> Classifier:
        """Tells a look by the coordinate along its gradient; several classes by a network on those of some looks."""
        ways = torch.stack([self.gradient(look, how) for look in how.looks])  # [looks, K]
        ways = ways / (self.standing @ ways.T).std(dim=0)[:, None]
        seen, on_w = self.standing @ ways.T, ways @ self.statistics.reader.double().T  # [N, looks], [looks, w_dim]
        if len(ways) > 1:
            own = LatentStatistics(mean=torch.zeros(len(ways)), axes=torch.eye(len(ways)))
            told = fit_scores(seen.float(), self.scores[LOOKS[how.looks[0]][0]], own)
            weights = told.hidden_weight @ on_w.float()
            return replace(told, hidden_weight=weights, hidden_bias=told.hidden_bias - weights @ self.statistics.mean)
        slope, bias = logistic(seen[:, 0], (self.looks[how.looks[0]] > 0).double())
        weights = (slope * on_w).float()
        shift = bias - weights @ self.statistics.mean
        # leaky(a) - leaky(-a) = (1 + slope of the leaky part) a: a linear map by two units.
        return Classifier(hidden_weight=torch.cat([weights, -weights]), hidden_bias=torch.cat([shift, -shift]),
                          out_weight=torch.tensor([[1.0, -1.0]]) / (1 + SLOPE), out_bias=torch.zeros(1))

    def gradient(self, look: str, how: Trained) -> Tensor:
        """The mean gradient [K] of a look, by standard scores, or its regression."""
        if how.by_regression:
            return self._regression(look)
        return self._gradients(how)[:, SEEN.index(look)].mean(dim=0)

    def holds(self, how: Trained) -> Tensor:
        """The sensitivity [R, w_dim] of what a control must not change."""
        gradients = self._gradients(how)
        looks = torch.stack([self._regression(name) for name in LOOKS if name not in how.free])
        if how.by_regression:
            tones = gradients[:, [SEEN.index(name) for name in TONES]].mean(dim=0)
            rows = FIRMLY * torch.cat([looks, tones])
        else:
            counts = torch.tensor([0.0 if name in how.free else BACKGROUND_COUNTS if name in BACKGROUND else 1.0
                                   for name in SEEN], dtype=gradients.dtype)
            rows = (gradients * (how.softness * counts / SOFTNESS / len(gradients)).sqrt()[:, None]).flatten(0, 1)
            if how.layers[0] < FINE:
                rows = torch.cat([rows, LOOSELY * looks])
        return principal_rows(rows, HELD, self.statistics).float()

    def _gradients(self, how: Trained) -> Tensor:
        return self.measured.of(how.layers, self.generator, self.statistics)

    def _regression(self, look: str) -> Tensor:
        """Weights [K] that tell a look, in deviations, from standard scores, which have no covariance."""
        values = self.looks[look].double()
        return self.standing.T @ ((values - values.mean()) / values.std()).clamp(-3, 3) / len(values)


def logistic(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope and bias with which the sigmoid of x [N] fits y [N], 0 or 1."""
    parameters = torch.tensor([1.0 / float(x.std()), 0.0], dtype=x.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(parameters[0] * x + parameters[1], y)
        loss.backward()
        return loss

    optimiser.step(closure)
    slope, bias = parameters.detach().tolist()
    return slope, bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("measured", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    generator = generators.load()
    bank: SampleBank = open_bank(given.bank, generator=generator)
    latents = bank.latents()
    measured = measured_once(given.measured, generator, latents[:COUNT])
    trainer = Trainer(generator, latents, bank.scores(), measured)
    directions.save(given.out, [trainer.control(name, how) for name, how in CHOSEN.items()], spaces=generator.spaces,
                    dtype=torch.float16)


if __name__ == "__main__":
    main()
