"""All that visitors share: the page's own models, the queue of inversions and their cache."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from directions import Controls
from directions import load as load_directions
from generators import Generator, in_quickest_precision, to_pixels
from generators.memory import give_back
from inversion import InversionCache, Progress, Projector, preset
from page.jobs.describing import describer
from page.jobs.executors import InversionQueue
from page.state.models import PREVIEWED, EditingModels, LazyGenerator, Pace
from page.state.visitor import Visitor

QUICK = 0.06                # Seconds that a preview's picture may take.
SETTLED_AFTER = 20.0        # Seconds before inversions are timed: the page and its first face have the cores before.
STEPS, TUNING_STEPS = 6, 3  # That are timed: some seconds. The first of the tuning is longer than most.


class Services:
    """The controls are read at once; the generator on first use, or by `warm_up`.

    Args:
        generator: Built, or what `generators.load` takes.
        controls: Built, or what `directions.load` takes.
        device: Where a generator that is loaded here goes.
        cache: Keeps inversions; None: each is made anew.
        own_models: Whether visitors may fetch generators and load their own.
    Attributes:
        models: The page's own.
        inversions: Where inversions wait for their turn.
        quick_inversions: Where those do for which somebody's sliders wait; the others give way to them.
        cache, device, own_models: As given.
    Raises:
        InputError: the controls cannot be read.
    """

    def __init__(self, generator: Generator | str | os.PathLike[str] = "bundled",
                 controls: Controls | str | os.PathLike[str] = "bundled", *, device: str = "auto",
                 cache: InversionCache | None = None, own_models: bool = True) -> None:
        self.models = EditingModels(LazyGenerator(generator, device=device),
                                    controls if isinstance(controls, Controls) else load_directions(controls))
        self.inversions, self.quick_inversions = InversionQueue(), InversionQueue()
        self.cache, self.device, self.own_models = cache, device, own_models

    def models_of(self, visitor: Visitor) -> EditingModels:
        """What a visitor edits with."""
        return visitor.own_models or self.models

    def warm_up(self) -> None:
        """Load what the first visitor would wait for: generator and descriptors. Later, time some steps of inversions.

        Raises:
            InputError: one of them cannot be loaded.
        """
        self.models.timing.preview_side = quick_side(self.models.generator)
        describer()(np.zeros((128, 128, 3), np.uint8))
        timing, closing = self.models.timing, self.inversions.closing
        while timing.pace is None and not closing.wait(SETTLED_AFTER):
            if self.is_idle:  # One that comes meanwhile has the cores at once; it is timed later then.
                timing.pace = measured_pace(self.models.projector,
                                            lambda: closing.is_set() or not self.is_idle)
                give_back()

    @property
    def is_idle(self) -> bool:
        """Whether no inversion runs and none waits."""
        return self.inversions.is_idle and self.quick_inversions.is_idle

    def close(self) -> None:
        """End all that runs, as the page ends."""
        self.quick_inversions.close()
        self.inversions.close()


@torch.no_grad()
def quick_side(generator: Generator) -> int:
    """The largest of the sides of previews at which this machine draws a picture quickly enough for each move."""
    w, generator = generator.sample([0]), in_quickest_precision(generator)
    for side in sorted({generator.side_for(side) for side in PREVIEWED}, reverse=True):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            generator.render(w, side).sum().item()  # .item() waits for a GPU to finish.
            seconds.append(time.perf_counter() - start)
        if min(seconds) < QUICK:
            break
    return side


def measured_pace(projector: Projector, should_stop: Callable[[], bool] = lambda: False) -> Pace | None:
    """Time a few steps of either kind, on a sample; the first of each kind is left out, since it sets things up.

    None: it was stopped.
    """
    generator = projector.generator
    crop = to_pixels(generator.render(generator.sample([0])))[0]
    seen: list[Progress] = []
    settings = preset("faithful", steps=STEPS, coarse=0.5, tuning_steps=TUNING_STEPS, plateau=0.0)
    projector.invert(crop, settings=settings, every=1, on_step=seen.append, should_stop=should_stop)
    if should_stop():
        return None
    moments = {progress.step: progress.seconds for progress in seen}
    took = {step: moments[step] - moments[step - 1] for step in moments if step - 1 in moments}
    ends = (0, settings.coarse_steps, STEPS, STEPS + TUNING_STEPS)
    return Pace(moments[1], *(statistics.fmean(took[step] for step in range(first + 2, last + 1))
                              for first, last in pairwise(ends)))
