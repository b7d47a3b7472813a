"""Networks that see a picture and the same one with shifted weights, and tell which direction it went and how far.

Voynov and Babenko, "Unsupervised Discovery of Interpretable Directions in the GAN Latent Space" (2020), section 3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

PredictorName = Literal["resnet18", "small"]
PREDICTORS: tuple[PredictorName, ...] = ("resnet18", "small")
WIDTHS = (32, 64, 128)  # Feature maps of the small network.


class Predictor(nn.Module):
    """Two pictures [N, 3, s, s] to logits of the directions [N, K], and how far it went [N] in parts of the scale."""

    def __init__(self, count: int, name: PredictorName) -> None:
        super().__init__()
        self.features, width = _resnet18() if name == "resnet18" else _small()
        self.direction, self.amount = nn.Linear(width, count), nn.Linear(width, 1)

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.features(torch.cat([before, after], dim=1))
        return self.direction(seen), self.amount(seen)[:, 0]


def _resnet18() -> tuple[nn.Module, int]:
    """ResNet-18 from random weights, which sees six colours."""
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    network.conv1 = nn.Conv2d(6, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    width = network.fc.in_features
    network.fc = nn.Identity()
    return network, width


def _small() -> tuple[nn.Module, int]:
    """Three convolutions that halve the side, as LeNet has them; places count."""
    layers: list[nn.Module] = []
    inputs = 6
    for outputs in WIDTHS:
        layers += [nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten()), 16 * inputs
