"""What components do, measured by a classifier of pictures: which attributes' scores they move, and how little else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from directions.components import Components
from directions.control import ALL_LAYERS
from generators import Generator
from gradctrl.scores import log_odds

Judge = Callable[[Tensor], Mapping[str, Tensor]]  # Pictures [N, 3, s, s] to logits [N, C] by attribute.
WEAK = 0.3  # Standard deviations below which nothing is named after an effect.


@dataclass(frozen=True, eq=False, kw_only=True)
class Effects:
    """How far components move the scores of attributes, in standard deviations of the scores over samples.

    An effect of 1 of "smile" means: `sigmas` along the component pictures are farther towards smiling by one standard
    deviation of all samples.
    """

    outputs: tuple[str, ...]     # "smile" (its second class), "hair:blond" ...
    attributes: tuple[str, ...]  # Of each output.
    values: Tensor               # [K, outputs]
    sigmas: float

    def strongest(self, number: int) -> tuple[str, float]:
        """The output that a component moves most, and how far."""
        at = int(self.values[number].abs().argmax())
        return self.outputs[at], float(self.values[number, at])

    def purity(self, number: int) -> float:
        """The share, 0 to 1, of what a component moves that is its strongest attribute; lengths, not sums."""
        sizes = torch.stack([self.values[number, [name == other for other in self.attributes]].abs().max()
                             for name in dict.fromkeys(self.attributes)])
        return float(sizes.max() / sizes.norm().clamp_min(1e-12))

    def name(self, number: int, called: int | None = None, kind: str = "component") -> str:
        """A name that the strongest effect suggests: "hair_blond_10"; "component_10" where all are weak.

        Args:
            number: Which of them.
            called: The number that the name ends in; None: the same.
            kind: What they are, for those whose effects are weak.
        """
        output, effect = self.strongest(number)
        called = number if called is None else called
        if abs(effect) < WEAK:
            return f"{kind}_{called}"
        return f"{'' if effect > 0 else 'less_'}{output.replace(':', '_')}_{called}"

    def ranked(self) -> list[int]:
        """The components, those first that move one attribute far and little else."""
        return sorted(range(len(self.values)), key=lambda k: -self.purity(k) * min(abs(self.strongest(k)[1]), 1.0))


@torch.no_grad()
def measure_effects(generator: Generator, components: Components, judge: Judge, classes: Mapping[str, Sequence[str]],
                    latents: Tensor, *, sigmas: float = 2.0, layers: tuple[int, int] = ALL_LAYERS, side: int = 128,
                    batch: int = 8, on_step: Callable[[int, int], None] = lambda done, total: None) -> Effects:
    """Draw samples moved both ways along each component, and ask a classifier what has changed.

    Args:
        generator: Of the space that the components are of.
        components: They move w or z.
        judge: Tells the logits of attributes in pictures.
        classes: The judge's classes by attribute; of two, the second counts.
        latents: What the components move, w or z [N, D]: the samples; better tens than a few.
        sigmas: How far to each side.
        layers: Layer range that is moved.
        side: Of the pictures, in pixels.
        batch: Pictures that are drawn at once.
        on_step: Called with the components that are done and in all.
    """
    components.check(generator)
    asked = Asked(judge, classes)

    def told(ws: Tensor) -> Tensor:
        return torch.cat([asked(generator.render(part, generator.side_for(side))) for part in ws.split(batch)])

    spread = told(moved_rows(generator, components, latents, 0, [0.0], layers)[:, 0]).std(dim=0).clamp_min(1e-6)
    values = torch.zeros(len(components), len(asked.outputs))
    for number in range(len(components)):
        low, high = moved_rows(generator, components, latents, number, [-sigmas, sigmas], layers).unbind(dim=1)
        values[number] = (told(high) - told(low)).mean(dim=0) / (2 * spread)
        on_step(number + 1, len(components))
    return Effects(outputs=asked.outputs, attributes=asked.attributes, values=values, sigmas=sigmas)


class Asked:
    """What a classifier tells of pictures, as one row each: the log-odds of each class, of two the second.

    Attributes:
        outputs: What the columns are: "smile", "hair:blond".
        attributes: The attribute of each.
    """

    def __init__(self, judge: Judge, classes: Mapping[str, Sequence[str]]) -> None:
        self._judge, self._names = judge, [(name, index) for name, of in classes.items()
                                           for index in ([1] if len(of) == 2 else range(len(of)))]
        self.attributes = tuple(name for name, _ in self._names)
        self.outputs = tuple(name if len(classes[name]) == 2 else f"{name}:{classes[name][index]}"
                             for name, index in self._names)

    def __call__(self, pictures: Tensor) -> Tensor:
        """Log-odds [N, outputs] of pictures [N, 3, s, s]."""
        told = {name: log_odds(logits.float().cpu()) for name, logits in self._judge(pictures).items()}
        return torch.stack([told[name][:, index] for name, index in self._names], dim=1)


def moved_rows(generator: Generator, components: Components, latents: Tensor, number: int, sigmas: Sequence[float],
               layers: tuple[int, int] = ALL_LAYERS, *, centred: bool = False) -> Tensor:
    """w+ [N, len(sigmas), L, w_dim] of latents moved along a component, in the rows of a layer range alone.

    Args:
        generator: The generator.
        components: Of its space.
        latents: z [N, D] where the components move z; else w [N, D] or w+ [N, L, D].
        number: Which component.
        sigmas: How far.
        layers: Layer range.
        centred: Take the latents' own coordinate away first.
    """
    start, stop = generator.rows(layers)
    count = len(latents)
    if components.latent == "z":
        moved = components.moved(latents, number, sigmas, centred=centred).flatten(0, 1)
        ws = generator.broadcast(generator.mapping(latents)).repeat_interleave(len(sigmas), dim=0).clone()
        ws[:, start:stop] = generator.mapping(moved)[:, None]
    else:
        whole = generator.broadcast(latents)
        ws = whole.repeat_interleave(len(sigmas), dim=0).clone()
        part = whole[:, start:stop].flatten(0, 1)  # Each row is a latent.
        moved = components.moved(part, number, sigmas, centred=centred).unflatten(0, (count, stop - start))
        ws[:, start:stop] = moved.transpose(1, 2).flatten(0, 1)
    return ws.unflatten(0, (count, len(sigmas)))
