"""Attribute dependency: how much the other attributes change while one does.

Chen et al. 2022, section 4.2 and figure 7, after Wu et al., "StyleSpace Analysis" (2021), section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from directions import EditedLatents
from editing.editor import Editor
from generators import Generator
from gradctrl import Scores
from gradctrl.scores import log_odds
from learning.scorers import ImageScorer
from learning.trials import Trials, judge
from weights.errors import InputError

STRENGTHS = (0.5, 1.0, 1.5, 2.5)
EDGES = (0.25, 0.75, 1.25, 1.75, 2.25)  # Of the groups, in deviations of the target's log-odds.


@dataclass(frozen=True)
class Dependency:
    """Changes of T edits, each in deviations of the log-odds among the samples."""

    target: Tensor              # Of the target, towards where it was to go [T].
    others: Tensor              # Mean size of the change of all other attributes [T].
    signed: dict[str, Tensor]   # Of each attribute's last class [T], with its sign.

    def groups(self) -> list[tuple[float, float, int]]:
        """For each group of target changes its middle, the mean change of the others, and how many edits it has."""
        groups = []
        for low, high in pairwise(EDGES):
            inside = (self.target >= low) & (self.target < high)
            mean = float(self.others[inside].mean()) if inside.any() else float("nan")
            groups.append(((low + high) / 2, mean, int(inside.sum())))
        return groups


def draw_edits(scores: Mapping[str, Scores], attributes: tuple[str, ...], pool: Tensor, *, count: int,
               seed: int = 0) -> Trials:
    """Random samples, each with an attribute and a class other than its own to go towards."""
    rng = torch.Generator().manual_seed(seed)
    sample = pool[torch.randperm(len(pool), generator=rng)[:count]]
    attribute = torch.randint(len(attributes), [len(sample)], generator=rng)
    target = torch.zeros_like(sample)
    for index, name in enumerate(attributes):
        members = (attribute == index).nonzero()[:, 0]
        classes = len(scores[name].classes)
        shift = torch.randint(1, classes, [len(members)], generator=rng)
        target[members] = (scores[name].labels[sample[members]] + shift) % classes
    if not len(sample):
        raise InputError(None, "the bank has no samples to edit", "sample and score more")
    return Trials(attributes=attributes, sample=sample, attribute=attribute, target=target)


def walk_edits(editor: Editor, scorer: ImageScorer, latents: Tensor, edits: Trials,
               strengths: tuple[float, ...] = STRENGTHS) -> dict[str, Tensor]:
    """The image classifier's scores {attribute: [T, S, C]} of all edits at each strength."""
    parts, order = [], []
    for name in [name for name in edits.attributes if len(edits.of(name))]:
        control = editor.controls.control(name)
        for class_index, class_name in enumerate(control.classes):
            members = edits.of(name)
            members = members[edits.target[members] == class_index]
            if len(members):
                _, sign = control.heading(class_index)
                key = editor.key_of(f"{name}:{class_name}")
                editor.set_latents(latents[edits.sample[members]])
                parts += [editor.displace({key: sign * strength}) for strength in strengths]
                order += [members * len(strengths) + index for index in range(len(strengths))]
    return judge_in_order(editor.generator, scorer, parts, torch.cat(order), len(strengths))


def judge_in_order(generator: Generator, scorer: ImageScorer, parts: list[EditedLatents], order: Tensor,
                   strengths: int) -> dict[str, Tensor]:
    """Judge all parts, whose i-th latent belongs at place order[i] of [T * S]: {attribute: [T, S, C]}."""
    edited = EditedLatents.join(parts).select(order.argsort())
    return {name: values.unflatten(0, (-1, strengths)) for name, values in judge(generator, scorer, edited).items()}


def dependency(edits: Trials, scores: Mapping[str, Scores], after: Mapping[str, Tensor]) -> Dependency:
    """Changes of all edits at all strengths (T = edits times strengths), from the scores before and after."""
    strengths = next(iter(after.values())).shape[1]
    changes = {}  # {attribute: [T, S, C]} in deviations.
    for name in [name for name in after if name in scores]:
        item = scores[name]
        before = item.log_odds[edits.sample][:, None]
        now = log_odds(after[name].flatten(0, 1)).unflatten(0, (-1, strengths))
        changes[name] = (now - before) / item.log_odds[item.mask].std(dim=0).clamp_min(1e-6)
    target = torch.zeros(len(edits), strengths)
    others = torch.zeros(len(edits), strengths)
    for index, name in enumerate(edits.attributes):
        members = (edits.attribute == index).nonzero()[:, 0]
        wanted = edits.target[members][:, None, None].expand(-1, strengths, 1)
        target[members] = changes[name][members].gather(2, wanted)[:, :, 0]
        rest = [change[members].abs().mean(dim=2) for other, change in changes.items() if other != name]
        others[members] = torch.stack(rest).mean(dim=0) if rest else torch.zeros(len(members), strengths)
    return Dependency(target.flatten(), others.flatten(), {name: c[:, :, -1].flatten() for name, c in changes.items()})
