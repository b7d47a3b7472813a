"""A generator whose pictures show w+ itself, one row under the other: what an edit does to them is known exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from directions import ALL_LAYERS, GradCtrlControl
from generators import StyleGAN2, StyleGAN2Config
from gradctrl import Classifier, Scores

W_DIM, ROWS = 32, 8
DIMMED = 100.0  # Pictures end at -1 and 1; w does not reach this.


class Glass(StyleGAN2):
    """Pictures [N, 3, 32, 32]: in the first channel's first rows the rows of w+, divided by DIMMED."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(StyleGAN2Config(img_resolution=32, channels=(8, 8, 8, 8), z_dim=W_DIM, w_dim=W_DIM,
                                         mapping_layers=2))
        self.requires_grad_(False).eval()
        self.rendered: list[int] = []

    def render(self, latent: Tensor, side: int | None = None, *, noise_mode: object = "const",
               style_change: Tensor | None = None) -> Tensor:
        w_plus = self.broadcast(latent)
        self.rendered.append(len(w_plus))
        pictures = torch.zeros(len(w_plus), 3, 32, 32)
        pictures[:, 0, :ROWS] = w_plus / DIMMED
        return pictures


class Reader:
    """An image classifier that reads such pictures, by one formula [N, ROWS, W_DIM] -> logits [N, C] an attribute."""

    name = "reader"

    def __init__(self, formulas: Mapping[str, Callable[[Tensor], Tensor]],
                 classes: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.formulas = formulas
        self.attributes = {name: (classes or {}).get(name, ("no", "yes")) for name in formulas}
        self.ordered = frozenset[str]()

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        w_plus = pictures[:, 0, :ROWS] * DIMMED
        return {name: formula(w_plus) for name, formula in self.formulas.items()}

    def scores(self, generator: Glass, w: Tensor) -> dict[str, Scores]:
        """Of samples w [N, W_DIM]."""
        return {name: Scores(attribute=name, classes=self.attributes[name], values=values, scorer=self.name)
                for name, values in self(generator.render(w)).items()}


def binary(logit: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Logits [N, 2] of a binary attribute, from that of its positive class [N]."""
    return lambda w_plus: torch.stack([torch.zeros(len(w_plus)), logit(w_plus)], dim=1)


def latents(count: int) -> Tensor:
    """w [N, W_DIM], independent and of unit deviation."""
    return torch.randn(count, W_DIM, generator=torch.Generator().manual_seed(1))


def plane(name: str, *normals: Tensor, layers: tuple[int, int] = ALL_LAYERS, **settings: object) -> GradCtrlControl:
    """A control whose logits are linear: LeakyReLU(a) - LeakyReLU(-a) = 1.1 a."""
    a = torch.stack(normals)
    eye = torch.eye(len(a))
    classifier = Classifier(hidden_weight=torch.cat([a, -a]), hidden_bias=torch.zeros(2 * len(a)),
                            out_weight=torch.cat([eye, -eye], dim=1) / 1.1, out_bias=torch.zeros(len(a)))
    classes = ("no", "yes") if len(a) == 1 else tuple(f"c{index}" for index in range(len(a)))
    return GradCtrlControl(**{"name": name, "classes": classes, "classifier": classifier, "layers": layers,  # type: ignore
                      "units": (1.0,) * len(a), "step": 0.5, **settings})


def along(*channels: int) -> Tensor:
    """A vector [W_DIM] of 1 at these channels."""
    a = torch.zeros(W_DIM)
    a[list(channels)] = 1
    return a
