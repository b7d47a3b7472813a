"""Ways to compute the same step, and a probe that finds out which is the fastest here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weights.training.gan.filters import Filters

if TYPE_CHECKING:
    from weights.training.gan.trainer import Trainer

ALIKE = 0.98  # Cosine between a way's gradients and those of the plain way, below which it is not trusted.
WORTH = 0.97  # Share of the seconds that a way may take to be chosen over a simpler one.


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        name: What it is called.
        filters: How the low-pass filters are applied.
        compiled: Mode of torch.compile; None: not compiled. "reduce-overhead" replays CUDA graphs.
    """

    name: str
    filters: Filters = "separate"
    compiled: str | None = None


WAYS = {way.name: way for way in (
    Way("plain"), Way("fused", "fused"),
    Way("compile", "separate", "default"), Way("fused-compile", "fused", "default"),
    Way("graphs", "separate", "reduce-overhead"), Way("fused-graphs", "fused", "reduce-overhead"),
)}


@dataclass(frozen=True)
class Finding:
    """What the probe found out about one way.

    Attributes:
        way: Which one.
        seconds: Of the gradients of one step; infinite where it cannot be used.
        start: Seconds until it ran at that speed: compiling, mostly.
        trouble: Why it cannot be used; empty if it can.
    """

    way: Way
    seconds: float = float("inf")
    start: float = 0.0
    trouble: str = ""

    def describe(self, batch: int) -> str:
        """One line about it, for steps of `batch` pictures."""
        if self.trouble:
            return f"{self.way.name}: not used: {self.trouble}"
        return f"{self.way.name}: {batch / self.seconds:.1f} pictures/s without regularisation, " \
               f"{self.start:.0f} s to start"


def probe(trainer: Trainer, *, compilers: bool, seconds_left: float = float("inf"), repeats: int = 4,
          on_finding: Callable[[Finding], None] | None = None) -> Way:
    """Time ways to compute a step on this machine, and set the trainer to the fastest.

    No weight is changed, and no random number is used up. First the two ways to filter are compared, then compiling
    the better one, then CUDA graphs, as long as each pays. A way is only trusted if its gradients are those of the
    plain one.

    Args:
        trainer: What to time.
        compilers: Whether to try torch.compile as well; it takes minutes to start, each time that the command is run.
        seconds_left: When less than five minutes are left, compiling is not tried: it would not pay for itself.
        repeats: Steps that are timed, after as many to warm up.
        on_finding: Called with each finding.
    Raises:
        RuntimeError: not even the plain way works, for lack of memory, for example.
    """
    tell = on_finding or (lambda finding: None)
    trainer.way = WAYS["plain"]
    best, expected = _timed(trainer, repeats)
    tell(best)
    fused = _tried(trainer, WAYS["fused"], expected, repeats, tell)
    prefix = "fused-" if fused.seconds < WORTH * best.seconds else ""
    best = fused if prefix else best
    for kind in ("compile", "graphs") if compilers and seconds_left >= 300 else ():
        finding = _tried(trainer, WAYS[prefix + kind], expected, repeats, tell)
        if finding.seconds > WORTH * best.seconds:
            break
        best = finding
    trainer.way = best.way
    return best.way


def _tried(trainer: Trainer, way: Way, expected: Tensor, repeats: int, tell: Callable[[Finding], None]) -> Finding:
    try:
        trainer.way = way
        finding, gradients = _timed(trainer, repeats)
        alike = float(F.cosine_similarity(gradients, expected, dim=0))
        if not alike >= ALIKE:
            finding = Finding(way, trouble=f"its gradients are not those of the plain way (cosine {alike:.3f})")
    except (RuntimeError, ImportError, OSError) as error:  # Of compilers, drivers and memory, mostly.
        finding = Finding(way, trouble=(str(error).strip() or type(error).__name__).splitlines()[0][:200])
    tell(finding)
    return finding


def _timed(trainer: Trainer, repeats: int) -> tuple[Finding, Tensor]:
    begun = time.perf_counter()
    for _ in range(repeats):
        gradients = _gradients(trainer)
    _wait(trainer.device)
    warm = time.perf_counter()
    for _ in range(repeats):
        gradients = _gradients(trainer)
    _wait(trainer.device)
    return Finding(trainer.way, (time.perf_counter() - warm) / repeats, warm - begun), gradients


def _gradients(trainer: Trainer) -> Tensor:
    """The main gradients of both networks in the trainer's next step, each of unit length, as one vector."""
    trainer.generator_gradients()
    first = _flat(trainer.generator)
    trainer.discriminator_gradients(trainer.peek())
    return torch.cat([first, _flat(trainer.discriminator)])


def _flat(module: nn.Module) -> Tensor:
    gradients = torch.cat([weight.grad.flatten() for weight in module.parameters() if weight.grad is not None])
    return F.normalize(gradients, dim=0)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
