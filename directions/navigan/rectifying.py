"""Interpretable directions in the span of a basis: trained so that a predictor tells them apart (NaviGAN, section 3.3).

Voynov and Babenko (2020) did so in the latent space. Symbols: N pictures, B directions of the basis, K of the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.navigan.basis import NotFiniteError, WeightBasis
from directions.navigan.network import Network
from directions.navigan.predictors import Predictor, PredictorName
from generators import Generator, WeightShift
from weights.errors import InputError
from weights.tensors import read_tensors, write_tensors

CHECKPOINT = "gradctrl-rectifying-checkpoint-1"
CHECKPOINT_SECONDS = 30.0  # From one to the next, at least, and 20 times what the last one took.
AUTHORS_WEIGHT = 15.0      # Of how far off the predicted shift is, in parts of the scale: the authors' 0.25 * 60.
RECENT = 200               # Steps over which what is told is averaged.


@dataclass(frozen=True, kw_only=True)
class RectifySettings:
    """How directions are trained; the defaults do on two cores, `AUTHORS` are the authors'."""

    count: int = 0            # K; 0: as many as the basis has.
    steps: int = 3000
    batch: int = 8
    scale: float = 0.0        # The longest shift; 0: twice the basis's median recommended length.
    least: float = 0.0        # The shortest one; 0: a quarter of the scale, as the authors' 15 of 60.
    weight: float = 0.0       # Of mean |predicted - true shift|; 0: 15 / scale, the authors' 0.25 at 60.
    learning_rate: float = 1e-3
    predictor: PredictorName = "small"
    side: int = 64            # Of the pictures that the predictor sees, in pixels.
    truncation: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.count + 1, self.steps, self.batch) < 1 or min(self.scale, self.least, self.weight) < 0:
            raise ValueError("steps and batch must be above 0, count, scale, least and weight not below")
        if self.scale and self.least >= self.scale:
            raise InputError(None, f"shifts of {self.least:g} to {self.scale:g} are none",
                             "give a --least that is below the --scale")

    def resolved(self, basis: WeightBasis) -> RectifySettings:
        """With numbers in place of the zeros.

        Raises:
            InputError: the basis has no recommended lengths that a scale could be made of.
        """
        if not self.scale and not len(basis.lengths):
            raise InputError(None, "this basis has no recommended lengths", "give a --scale")
        scale = self.scale or 2 * float(basis.lengths.median())
        return RectifySettings(**{**asdict(self), "count": self.count or len(basis), "scale": scale,
                                  "least": self.least or scale / 4, "weight": self.weight or AUTHORS_WEIGHT / scale})


AUTHORS = RectifySettings(steps=100_000, batch=32, learning_rate=1e-4, predictor="resnet18", side=256)


@dataclass(frozen=True)
class Told:
    """How training does, over the last steps."""

    step: int
    loss: float
    accuracy: float  # Share of the pictures whose direction the predictor names, 0 to 1.
    off: float       # Mean |predicted - true shift| in parts of the scale.


@dataclass(eq=False)
class Rectifying:
    """A training that can be stopped after any step and goes on bit for bit."""

    network: Network
    basis: WeightBasis
    settings: RectifySettings  # Resolved.
    inputs: Callable[[int, torch.Generator], Tensor]
    step: int = 0
    curves: list[tuple[float, float, float]] = field(default_factory=list)  # Loss, accuracy, off; of each step.

    def __post_init__(self) -> None:
        weight = self.network.get_parameter(self.network.convolutions()[self.basis.layer])
        self.device, self.shape = weight.device, weight.shape
        self.rows = self.basis.directions.flatten(1).to(weight)  # [B, A]
        self.rng = torch.Generator().manual_seed(self.settings.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self.predictor = Predictor(self.settings.count, self.settings.predictor).to(weight)
        start = torch.randn(self.settings.count, len(self.basis), generator=self.rng)
        self.coefficients = start.to(weight).requires_grad_()
        self.optimiser = torch.optim.Adam([self.coefficients, *self.predictor.parameters()],
                                          lr=self.settings.learning_rate)
        self.side = self.network.side_showing(self.basis.layer, self.settings.side)
        self.is_whole = True  # False where a step was interrupted while weights were changed.

    def directions(self) -> Tensor:
        """The directions [K, A] as they are now, of unit length."""
        return F.normalize(F.normalize(self.coefficients, dim=1) @ self.rows, dim=1)

    def train_step(self) -> None:
        """One step of both, the directions and the predictor.

        Raises:
            NotFiniteError: the loss is not finite; nothing has changed.
        """
        before = self.rng.get_state(), {name: each.clone() for name, each in self.predictor.named_buffers()}
        try:
            told = self._gradients()
        except BaseException:  # Ctrl-C among them: what goes on must draw the same once more.
            self.rng.set_state(before[0])
            for name, each in self.predictor.named_buffers():  # Running means of the normalisation.
                each.copy_(before[1][name])
            raise
        self.is_whole = False
        self.optimiser.step()
        self.step += 1
        self.curves.append(told)
        self.is_whole = True

    def _gradients(self) -> tuple[float, float, float]:
        """Gradients of the loss of fresh pictures; what goes into the curves."""
        chosen, amounts = self._draw_shifts()
        x = self.inputs(self.settings.batch, self.rng).to(self.rows)
        own = self.directions()[chosen].reshape(-1, *self.shape)  # [N, O, C, k, k]
        shift = WeightShift(own, torch.diag(amounts))
        with torch.no_grad():
            before = self._seen(self.network, x)
        after = self._seen(self.network.shifted({self.basis.layer: shift}), x)
        logits, predicted = self.predictor(before, after)
        off = (predicted - amounts / self.settings.scale).abs().mean()
        loss = F.cross_entropy(logits, chosen) + self.settings.weight * self.settings.scale * off
        if not bool(loss.isfinite()):
            raise NotFiniteError(self.basis.layer, f"the loss is not finite after {self.step} steps",
                                 "give a smaller --scale, or a lower --learning-rate")
        self.optimiser.zero_grad()
        loss.backward()
        right = (logits.argmax(dim=1) == chosen).float().mean()
        return tuple(torch.stack([loss, right, off]).tolist())

    def _draw_shifts(self) -> tuple[Tensor, Tensor]:
        """Which directions [N], and how far [N]: scale * U(-1, 1), of at least the least size."""
        chosen = torch.randint(self.settings.count, [self.settings.batch], generator=self.rng)
        amounts = self.settings.scale * (2 * torch.rand(self.settings.batch, generator=self.rng) - 1)
        signs = torch.where(amounts < 0, -1.0, 1.0)
        return chosen.to(self.device), (signs * amounts.abs().clamp_min(self.settings.least)).to(self.rows)

    def _seen(self, network: Network, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(network.render(x, self.side), self.settings.side)

    def told(self) -> Told:
        """How it does."""
        recent = torch.tensor(self.curves[-RECENT:] or [(0.0, 0.0, 0.0)]).double()
        loss, accuracy, off = recent.mean(dim=0).tolist()
        return Told(self.step, loss, accuracy, off)

    def accuracies(self) -> Tensor:
        """How often each direction [K] is recognised, on fresh pictures: 8 of each."""
        rng = torch.Generator().manual_seed(self.settings.seed + 1)
        self.predictor.eval()
        right = torch.zeros(self.settings.count)
        with torch.no_grad():
            rows = self.directions()
            for k in range(self.settings.count):
                x = self.inputs(8, rng).to(self.rows)
                amounts = self.settings.scale * torch.linspace(-1, 1, 8).to(self.rows)
                shift = WeightShift(rows[k].reshape(1, *self.shape), amounts[:, None])
                logits, _ = self.predictor(self._seen(self.network, x), self._seen(
                    self.network.shifted({self.basis.layer: shift}), x))
                right[k] = (logits.argmax(dim=1) == k).float().mean()
        self.predictor.train()
        return right

    def result(self) -> WeightBasis:
        """The directions, those that are recognised most often first."""
        accuracies = self.accuracies()
        order = accuracies.argsort(descending=True, stable=True)
        with torch.no_grad():
            rows = self.directions()[order.to(self.device)].reshape(-1, *self.shape).float().cpu()
        told = self.told()
        return WeightBasis(directions=rows, values=accuracies[order], layer=self.basis.layer,
                           weights=self.basis.weights,
                           found={"rectified": asdict(self.settings), "of": dict(self.basis.found), "steps": self.step,
                                  "accuracy": round(told.accuracy, 4), "off": round(told.off, 4)})

    # Checkpoints.

    @property
    def belonging(self) -> str:
        """What a checkpoint is of."""
        return json.dumps([self.basis.weights, self.basis.layer, dict(self.basis.found), asdict(self.settings)],
                          sort_keys=True)

    def save(self, path: Path) -> None:
        """Write all that it needs to go on."""
        tensors = {"coefficients": self.coefficients.detach(), "rng": self.rng.get_state(),
                   "curves": torch.tensor(self.curves or [(0.0,) * 3][:0]).reshape(-1, 3).double()}
        tensors |= {f"predictor.{name}": each for name, each in self.predictor.state_dict().items()}
        tensors |= {f"adam.{index}.{name}": each for index, of in self.optimiser.state_dict()["state"].items()
                    for name, each in of.items()}
        write_tensors(path, tensors, {"format": CHECKPOINT, "training": self.belonging, "step": str(self.step)})

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was.

        Raises:
            InputError: it is of another training, or damaged.
        """
        remedy = "remove it, or give the settings that it was begun with"
        tensors, metadata = read_tensors(path, format=CHECKPOINT, what="a checkpoint of a training of directions",
                                         remedy=remedy)
        if metadata.get("training") != self.belonging:
            raise InputError(path, "is the checkpoint of another training", remedy)
        try:
            self.step = int(metadata["step"])
            self.rng.set_state(tensors["rng"])
            self.curves = [tuple(row) for row in tensors["curves"].tolist()]
            self.predictor.load_state_dict(dict(_under(tensors, "predictor.")))
            with torch.no_grad():
                self.coefficients.copy_(tensors["coefficients"])
            adam: dict[int, dict[str, Tensor]] = {}
            for name, each in _under(tensors, "adam."):
                index, _, part = name.partition(".")
                adam.setdefault(int(index), {})[part] = each
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": adam})
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(path, f"damaged checkpoint ({str(error).splitlines()[0]})", remedy) from error


def rectify(network: Network, basis: WeightBasis, settings: RectifySettings, *,
            inputs: Callable[[int, torch.Generator], Tensor], checkpoint: Path | None = None,
            on_step: Callable[[Told], None] = lambda told: None,
            should_stop: Callable[[], bool] = lambda: False) -> Rectifying:
    """Train directions in the span of a basis.

    Args:
        network: Frozen; of the weights that the basis is of.
        basis: What the directions are combined of.
        settings: How.
        inputs: Draws N inputs of the network by a random generator; `random_w` does for a generator.
        checkpoint: A file in which the training is kept now and then, and when it is stopped.
        on_step: Told after each step.
        should_stop: Asked after each step; what there is then is the result.
    Raises:
        InputError: other weights, or a checkpoint of another training.
        NotFiniteError: the loss was not finite; the checkpoint has what came before.
    """
    basis.check(network)
    training = Rectifying(network, basis, settings.resolved(basis), inputs)
    if checkpoint is not None and checkpoint.is_file():
        training.resume(checkpoint)
    due = monotonic() + CHECKPOINT_SECONDS
    try:
        while training.step < training.settings.steps and not should_stop():
            training.train_step()
            on_step(training.told())
            if checkpoint is not None and monotonic() >= due:
                began = monotonic()
                training.save(checkpoint)
                due = monotonic() + max(CHECKPOINT_SECONDS, 20 * (monotonic() - began))
    finally:
        if checkpoint is not None and training.is_whole:
            training.save(checkpoint)
    return training


def random_w(generator: Generator, truncation: float = 1.0) -> Callable[[int, torch.Generator], Tensor]:
    """Draws w [N, w_dim] of a generator."""
    def draw(count: int, rng: torch.Generator) -> Tensor:
        z = torch.randn(count, generator.z_dim, generator=rng).to(generator.device, generator.dtype)
        with torch.no_grad():
            w: Tensor = generator.mapping(z, truncation=truncation)
        return w

    return draw


def _under(tensors: dict[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix(prefix), each) for name, each in tensors.items() if name.startswith(prefix))
