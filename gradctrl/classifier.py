"""The attribute classifier of a control: two fully connected layers on w."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gradctrl.scores import log_odds

SLOPE = 0.1  # Of the classifier's leaky ReLU, as in the classifiers that the paper's authors published.


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Two fully connected layers on w, Linear(w_dim, H), LeakyReLU(0.1), Linear(H, C) (Chen et al. 2022, section 4)."""

    hidden_weight: Tensor  # [H, w_dim]
    hidden_bias: Tensor    # [H]
    out_weight: Tensor     # [C, H]; C is 1 for a binary attribute.
    out_bias: Tensor       # [C]

    def __post_init__(self) -> None:
        hidden, outputs = self.hidden_weight.shape[0], self.out_weight.shape[0]
        if (self.hidden_weight.ndim != 2 or self.hidden_bias.shape != (hidden,) or self.out_bias.shape != (outputs,)
                or self.out_weight.shape != (outputs, hidden)):
            raise ValueError("classifier weights must be [H, w_dim], [H], [C, H] and [C], not "
                             f"{[list(t.shape) for t in self.tensors().values()]}")

    @property
    def w_dim(self) -> int:
        return self.hidden_weight.shape[1]

    @property
    def outputs(self) -> int:
        """C: 1 for a binary attribute, else the number of classes."""
        return self.out_weight.shape[0]

    @property
    def binary(self) -> bool:
        return self.outputs == 1

    def tensors(self) -> dict[str, Tensor]:
        return {"hidden_weight": self.hidden_weight, "hidden_bias": self.hidden_bias,
                "out_weight": self.out_weight, "out_bias": self.out_bias}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Classifier:
        return Classifier(**{name: tensor.to(device, dtype) for name, tensor in self.tensors().items()})

    def logits(self, w: Tensor) -> Tensor:
        """Logits [N, C] at w [N, w_dim]."""
        hidden = F.linear(w, self.hidden_weight, self.hidden_bias)
        return F.linear(F.leaky_relu(hidden, SLOPE), self.out_weight, self.out_bias)

    def scores(self, w: Tensor) -> Tensor:
        """Log-odds [N, C] at w [N, w_dim]: log p_j / (1 - p_j), of a binary attribute the logit itself."""
        logits = self.logits(w)
        return logits if self.binary else log_odds(logits)

    def predict(self, w: Tensor) -> Tensor:
        """Index of the likeliest class [N] at w [N, w_dim]; of a binary attribute 1 where the logit is above 0."""
        logits = self.logits(w)
        return (logits[:, 0] > 0).long() if self.binary else logits.argmax(dim=1)
