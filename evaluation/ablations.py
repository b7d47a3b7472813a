"""Ablations: which attributes are kept, how many channels are masked, how many examples are learned from.

Chen et al. 2022, figures 8a and 8c, and the number of training examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from directions import Controls
from directions.control import Keeping
from directions.displacement import UNTUNED_CHANNELS
from directions.edit import Keep
from evaluation.settings import EvaluationSettings
from generators import LatentStatistics
from gradctrl import FitExamplesSettings, Scores
from gradctrl.prepare import prepare
from learning.calibration import Tuner, margin_of
from learning.contenders import Split, one_thread
from learning.fitting import fit_to_examples
from weights.errors import InputError

KEEPING: dict[str, Keeping] = {"gradctrl": "projection", "paper": "masks"}  # What is ablated, and how it keeps.


@dataclass(frozen=True)
class Variant:
    """One way to edit that is tried on the same trials as the others of its figure."""

    figure: str                            # "masks", "channels" or "examples".
    method: str                            # "gradctrl" or "paper".
    value: str                             # "none", "age", "all"; "50"; "30".
    controls: Callable[[], Controls | None]  # None where they cannot be made.
    keep: Keep | None = None               # As for `Editor.edit`.
    spared: str = ""                       # An attribute whose own trials are left out.

    @property
    def key(self) -> str:
        return f"{self.figure}-{self.method}-{self.value}"


def variants(controls: Mapping[str, Controls], names: tuple[str, ...], latents: Tensor, scores: Mapping[str, Scores],
             split: Split, tuner: Tuner, settings: EvaluationSettings) -> Iterator[Variant]:
    """All variants of the three figures, for those of the ablated methods that there are."""
    for method in [name for name in KEEPING if name in controls]:
        own = controls[method]
        masks = KEEPING[method] == "masks"

        def kept(*names: str, masks: bool = masks) -> Keep:
            return dict.fromkeys(names, UNTUNED_CHANNELS) if masks else names

        def fixed(own: Controls = own) -> Controls:
            return own

        yield Variant("masks", method, "none", fixed, kept())
        for name in names:
            yield Variant("masks", method, name, fixed, kept(name), spared=name)
        yield Variant("masks", method, "all", fixed, kept(*names))
        if masks:
            for count in settings.counts:
                yield Variant("channels", method, str(count), fixed, dict.fromkeys(names, count))
        for count in settings.examples:
            def few(method: str = method, count: int = count) -> Controls | None:
                return few_shot(method, controls[method], count, latents, scores, split, tuner)

            yield Variant("examples", method, str(count), few, kept(*names))


def few_shot(method: str, tuned: Controls, count: int, latents: Tensor, scores: Mapping[str, Scores], split: Split,
             tuner: Tuner) -> Controls | None:
    """Controls from `count` examples a class, with the layers and margins that were tuned for the method.

    The paper's are trained as in the paper; those for projection on shaped examples (`FitExamplesSettings.shaping`).
    """
    w = latents[split.fit]
    part = {name: replace(item, values=item.values[split.fit], known=item.mask[split.fit])
            for name, item in scores.items() if name in tuned}
    try:
        chosen = {name: prepare(item, count=count, validation=min(count, 30)) for name, item in part.items()}
    except InputError:  # Too few samples of a class: the figure has no such point.
        return None
    shaping = 0.0 if method == "paper" else 1.0
    with one_thread():
        fitted = fit_to_examples(w, list(part.values()), chosen, statistics=LatentStatistics.of(w),
                                 keeping=KEEPING[method], settings=FitExamplesSettings(shaping=shaping))
    controls = [tuner.with_margin(replace(control, layers=tuned[control.name].layers),
                                  margin_of(tuned.control(control.name))) for control in fitted]
    return Controls(controls, spaces=tuned.spaces, source=f"{method}, {count} examples")

