"""Trials: samples near decision boundaries, edited until the control's own score crosses, judged by their pictures.

The protocol of Chen et al. 2022, section 4.2. Scores of latents decide where an edit stops, and nothing else; whether
it did what it should is said by an image classifier that sees the rendered pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from directions import Controls, Edit, EditedLatents, displace, key_of, strengths_to
from generators import Generator, in_quickest_precision
from gradctrl import Scores
from learning.scorers import ImageScorer
from weights.errors import InputError

NEAR = 0.1          # The share of the pool that is near an attribute's boundary.
RENDER_BATCH = 16
JUDGED = 256        # Side of the pictures that a classifier judges, in pixels, where the generator draws such: that of
                    # a bank's, as 4% of the labels of gender and age turn by being drawn at 128 and nothing else.
PictureScorer = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Trials:
    """T edits to try, each of one sample."""

    attributes: tuple[str, ...]  # What can be changed.
    sample: Tensor               # Index of the sample in the bank [T].
    attribute: Tensor            # Index of what to change, into `attributes` [T].
    target: Tensor               # Index of the class to reach [T].

    def __len__(self) -> int:
        return len(self.sample)

    def of(self, name: str) -> Tensor:
        """Indexes of the trials of one attribute."""
        return (self.attribute == self.attributes.index(name)).nonzero()[:, 0]

    def known_to(self, controls: Controls) -> Trials:
        """The trials of the attributes that there are controls of."""
        known = torch.tensor([name in controls for name in self.attributes])
        return self.part(known[self.attribute].nonzero()[:, 0])

    def part(self, index: Tensor | slice) -> Trials:
        return replace(self, sample=self.sample[index], attribute=self.attribute[index], target=self.target[index])


def draw_trials(scores: Mapping[str, Scores], attributes: Sequence[str], pool: Tensor, *, count: int,
                seed: int = 0) -> Trials:
    """Draw trials: the attribute of each uniformly, the sample among those near its decision boundary.

    Near is the tenth of the pool whose best class leads the second by least, by the image classifier. The class to
    reach is the second one. A sample is used once; if the bank does not allow as many trials, fewer are drawn.

    Args:
        scores: Of the whole bank.
        attributes: What may be changed.
        pool: Indexes of the samples that may be used [P].
        count: How many.
        seed: Of the draw.
    Returns:
        The trials, in random order, so that the first ones are a fair part.
    """
    rng = torch.Generator().manual_seed(seed)
    wanted = torch.randint(len(attributes), [count], generator=rng)
    queues, second = [], []
    for name in attributes:
        top = scores[name].values.topk(2, dim=1)
        gap = torch.where(scores[name].mask, top.values[:, 0] - top.values[:, 1], torch.inf)[pool]
        near = pool[gap.argsort(stable=True)[:max(1, int(len(pool) * NEAR))]]
        near = near[scores[name].mask[near]]
        queues.append(iter(near[torch.randperm(len(near), generator=rng)].tolist()))
        second.append(top.indices[:, 1])
    used: set[int] = set()
    drawn = []
    for attribute in wanted.tolist():
        sample = next((index for index in queues[attribute] if index not in used), None)
        if sample is not None:
            used.add(sample)
            drawn.append((sample, attribute, int(second[attribute][sample])))
    if not drawn:
        raise InputError(None, "the bank has no samples to draw trials from", "sample and score more")
    table = torch.tensor(drawn)[torch.randperm(len(drawn), generator=rng)]
    return Trials(attributes=tuple(attributes), sample=table[:, 0], attribute=table[:, 1], target=table[:, 2])


def cross(generator: Generator, controls: Controls, latents: Tensor, name: str, target: Tensor, *,
          edit: Edit = Edit()) -> tuple[EditedLatents, Tensor]:  # noqa: B008 (frozen)
    """Edit each latent until the control's own score of its target class reaches the margin.

    Args:
        generator: Whose latents they are.
        controls: With the attribute's.
        latents: w [N, w_dim] or w+ [N, num_ws, w_dim].
        name: The attribute.
        target: Class to reach, of each [N].
        edit: How to edit.
    Returns:
        The edited latents, and which of them crossed, bool [N]; the others are left as they were.
    """
    control = controls.control(name)
    parts: list[EditedLatents] = []
    crossed = torch.zeros(len(latents), dtype=torch.bool)
    order = []
    for class_index in target.unique().tolist():
        chosen = (target == class_index).nonzero()[:, 0]
        start = EditedLatents(generator.broadcast(latents[chosen].to(generator.device, generator.dtype)))
        key = f"{name}:{control.classes[class_index]}"
        strengths = strengths_to(generator, controls, start, key, edit)
        crossed[chosen] = strengths.isfinite().cpu()
        strengths = torch.where(strengths.isfinite(), strengths, 0.0)
        parts.append(displace(generator, controls, start, edit, strengths={key_of(controls, key, edit): strengths}))
        order.append(chosen)
    return EditedLatents.join(parts).select(torch.cat(order).argsort()), crossed


@torch.no_grad()
def judge(generator: Generator, scorer: ImageScorer | PictureScorer, edited: EditedLatents,
          on_batch: Callable[[int], None] | None = None) -> dict[str, Tensor]:
    """The image classifier's scores {attribute: [N, C]} of the pictures of edited latents, drawn as those of a bank."""
    parts = []
    quickest = in_quickest_precision(generator)
    for part in edited.split(RENDER_BATCH):
        pictures = quickest.render(part.latent, generator.side_for(JUDGED), style_change=part.styles).clamp(-1, 1)
        parts.append({name: values.float().cpu() for name, values in scorer(pictures).items()})
        if on_batch is not None:
            on_batch(len(part.latent))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Verdict:
    """What the image classifier says of T edits."""

    hit: Tensor                 # Whether the target's label changed to the target class, bool [T].
    stayed: dict[str, Tensor]   # Of each label whether it stayed, bool [T]; true for the one that was to change.

    @property
    def correct(self) -> Tensor:
        """Only the target's label changed, bool [T] (the manipulation accuracy of table 1 is its mean)."""
        return torch.stack([self.hit, *self.stayed.values()]).all(dim=0)


def verdict(trials: Trials, before: Mapping[str, Scores], after: Mapping[str, Tensor]) -> Verdict:
    """Compare the image classifier's labels before (of the bank) and after the edits of all trials, in their order."""
    hit = torch.zeros(len(trials), dtype=torch.bool)
    stayed = {}
    for name in [name for name in after if name in before]:
        label = after[name].argmax(dim=1)
        # A label that was not known cannot be seen to go.
        stayed[name] = (label == before[name].labels[trials.sample]) | ~before[name].mask[trials.sample]
        if name in trials.attributes:
            members = trials.of(name)
            hit[members] = label[members] == trials.target[members]
            stayed[name][members] = True
    return Verdict(hit, stayed)


def chances(trials: Trials, before: Mapping[str, Scores], after: Mapping[str, Tensor], pool: Tensor) -> Tensor:
    """How likely each edit was to be right, had all else about its sample been as chance has it: [T].

    Whether a label stays depends on how far the edit moves it, and on how near to its boundary the sample happened to
    be, which says nothing of the edit. So what the edit takes from the lead of a label over the second one is set
    against the leads of all samples of the pool that have the label. Of few trials the mean of the chances tells the
    share that will be right of others far better than the share that was right of these (docs/evaluation.md).

    Args:
        trials: That were carried out.
        before: The image classifier's scores of the whole bank.
        after: Those after the edits.
        pool: Indexes of samples that stand for all [P].
    Returns:
        From 0 to 1; 0 where the target's label did not change to the target class.
    """
    chance = verdict(trials, before, after).hit.to(torch.float32)
    for name in [name for name in after if name in before]:
        item = before[name]
        members = trials.of(name) if name in trials.attributes else torch.empty(0, dtype=torch.long)
        stays = item.mask[trials.sample].index_fill(0, members, value=False)
        label = item.labels[trials.sample]
        added = _lead(after[name].float(), label) - _lead(item.values[trials.sample], label)
        known = pool[item.mask[pool]]
        leads, labels = _lead(item.values[known], item.labels[known]), item.labels[known]
        for each in label[stays].unique():
            here = stays & (label == each)
            of_all = leads[labels == each].sort().values
            chance[here] *= 1 - torch.searchsorted(of_all, -added[here], right=True) / max(1, len(of_all))
    return chance


def _lead(values: Tensor, label: Tensor) -> Tensor:
    """How far the logit of a class [N] is before the best of the others [N], of logits [N, C]."""
    own = values.gather(1, label[:, None])[:, 0]
    return own - values.scatter(1, label[:, None], -torch.inf).amax(dim=1)


def check_controls(controls: Controls, scores: Mapping[str, Scores]) -> tuple[str, ...]:
    """The attributes that controls and scores share.

    Raises:
        InputError: there are none, or one has other classes.
    """
    shared = tuple(name for name in controls if name in scores)
    if not shared:
        raise InputError(controls.source,
                         f"none of its attributes ({', '.join(controls)}) has scores in the bank "
                         f"({', '.join(scores)})", "score the bank for them")
    for name in shared:
        if controls.control(name).classes != scores[name].classes:
            raise InputError(controls.source,
                             f"{name} has the classes {', '.join(controls.control(name).classes)}, the bank's scores "
                             f"have {', '.join(scores[name].classes)}", "train it on this bank")
    return shared
