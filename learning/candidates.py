"""Picking among candidates by what they do to pictures.

The papers of GANSpace and StyleSpace leave the last choice to the eye of whoever looks at the pictures. Here image
classifiers look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from directions.boundaries import STEPS, belonging, crossing_units, outputs_of
from directions.linear import LinearControl, recombine
from directions.stylespace import styles_of
from generators import Generator, in_quickest_precision
from gradctrl import Scores
from learning.trials import JUDGED

BATCH = 16
REACH = {"w": 2.0, "styles": 10.0}  # How far pictures are changed, in deviations of the coordinate along a direction.
PictureScorer = Callable[[Tensor], Mapping[str, Tensor]]  # Pictures [N, 3, R, R] to logits [N, C] by attribute.


@torch.no_grad()
def pick_by_pictures(generator: Generator, latents: Tensor, scores: Mapping[str, Scores],
                     candidates: Mapping[str, Sequence[LinearControl]], scorer: PictureScorer, *, best: int = 5,
                     samples: int = 16, reach: float | None = None,
                     on_step: Callable[[int, int], None] | None = None) -> dict[str, list[LinearControl]]:
    """Rank the candidates' directions by what they change in pictures, and keep the best of each output.

    Some samples are rendered a little to either side of where they are. With r the change of the output's own log-odds
    and q_m the largest change of those of another attribute m, each over its deviation among all samples, a direction
    ranks by r^2 / sqrt(r^2 + sum_m q_m^2). One that changes pictures the other way round is turned round.

    In the style space the own score of each candidate is then made to gain along the direction what pictures gain. A
    linear boundary on styles spreads its weight over thousands of channels that vary together, so that without this a
    single channel would seem to do next to nothing, and an edit until the score crosses would never end. In w the
    components are independent among samples, and the boundary's own weight is the better one.

    Args:
        generator: The generator.
        latents: w [N, w_dim] of all samples; the first ones are rendered.
        scores: Scores [N, C] by attribute; their order and classes are those of the scorer.
        candidates: Controls by attribute, of one method.
        scorer: An image classifier of these attributes.
        best: How many controls an attribute are kept.
        samples: How many samples are rendered.
        reach: To how many deviations on either side; None: 2 in w, 10 for a style channel.
        on_step: Called after each candidate with how many are done, and of how many.
    Returns:
        By attribute `best` controls, the i-th with the i-th direction of each output. Their reports tell by output the
        measured "slope" (log-odds by length) and the "rank in pictures".
    """
    generator = in_quickest_precision(generator)
    total, done = sum(len(group) for group in candidates.values()), 0
    spread = {name: _log_odds({name: item.values}, scores)[name][item.mask].std(dim=0)
              for name, item in scores.items()}  # [outputs]
    result = {}
    for name, group in candidates.items():
        x = latents.cpu().float() if group[0].moves == "w" else styles_of(generator, latents)
        measured = []
        for control in group:
            far = (REACH[control.moves] if reach is None else reach) * (x @ control.directions.T).std(dim=0)
            changes = [_change(generator, control, output, float(length), latents[:samples], scorer, scores)
                       for output, length in enumerate(far.clamp_min(1e-6))]
            measured.append(_told(control, changes, far.clamp_min(1e-6), spread, x[scores[name].mask]))
            done += 1
            if on_step is not None:
                on_step(done, total)
        result[name] = _best(measured, best)
    return result


def _change(generator: Generator, control: LinearControl, output: int, length: float, latents: Tensor,
            scorer: PictureScorer, scores: Mapping[str, Scores]) -> dict[str, Tensor]:
    """Mean difference [outputs] of each attribute's log-odds between pictures at either side of the latents."""
    sides = []
    for sign in (1, -1):
        parts = []
        for part in latents.to(generator.device, generator.dtype).split(BATCH):
            step = (sign * length * control.directions[output]).to(part).expand(len(part), -1)
            side = generator.side_for(JUDGED)
            pictures = (generator.render(part + step, side) if control.moves == "w"
                        else generator.render(part, side, style_change=step))
            parts.append(_log_odds(scorer(pictures), scores))
        sides.append({name: torch.cat([part[name] for part in parts]).mean(dim=0) for name in parts[0]})
    return {name: sides[0][name] - sides[1][name] for name in sides[0]}


def _log_odds(logits: Mapping[str, Tensor], scores: Mapping[str, Scores]) -> dict[str, Tensor]:
    """Log-odds [N, outputs] by attribute of an image classifier's logits."""
    by_name = {name: replace(scores[name], values=values.cpu().float(), known=None)
             for name, values in logits.items() if name in scores}
    return {name: torch.stack([belonging(item, classes) for classes in outputs_of(item)], dim=1)
            for name, item in by_name.items()}


def _told(control: LinearControl, changes: Sequence[Mapping[str, Tensor]], far: Tensor,
          spread: Mapping[str, Tensor], x: Tensor) -> LinearControl:
    """The control with its directions turned the way pictures go, and the measurements in its report."""
    gains = torch.stack([change[control.name][output] for output, change in enumerate(changes)])  # [outputs]
    r = (gains / spread[control.name]).square()
    blurred = torch.stack([sum(((change[name] / spread[name]).square().max() for name in change
                                if name != control.name), torch.zeros([])) for change in changes])
    ranks = r / (r + blurred).sqrt().clamp_min(1e-12)
    directions = control.directions * torch.where(gains < 0, -1.0, 1.0)[:, None]
    slopes = gains.abs() / (2 * far)
    weights, bias = control.weights, control.bias
    if control.moves == "styles":
        lacking = slopes - (weights * directions).sum(dim=1)  # [outputs]
        weights = weights + lacking[:, None] * directions
        bias = bias - lacking * (directions @ x.mean(dim=0))  # The score of the mean sample stays.
    units = crossing_units(x, directions, weights, bias)
    outputs = [{**told, "slope": float(slope), "rank in pictures": float(rank)} for told, slope, rank
               in zip(control.report["outputs"], slopes, ranks, strict=True)]  # type: ignore[call-overload]
    return replace(control, directions=directions, weights=weights, bias=bias, units=units,
                   step=min(units) / STEPS, report={**control.report, "outputs": outputs})


def _best(measured: Sequence[LinearControl], best: int) -> list[LinearControl]:
    ranks = torch.tensor([[told["rank in pictures"] for told in control.report["outputs"]]  # type: ignore[attr-defined]
                          for control in measured])  # [K, outputs]
    order = ranks.argsort(dim=0, descending=True, stable=True)[:best]
    return [recombine(measured, choice) for choice in order.tolist()]
