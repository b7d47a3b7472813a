"""LPIPS, the perceptual distance of Zhang et al. (2018), with the features of the target computed once.

The one module that imports lpips (and with it torchvision). Its backbones are read from safetensors files of ours,
since the package would download them.
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inversion.settings import LEAST_SIDE
from weights.errors import InputError

Backbone = Literal["alex", "vgg"]
FILES = {"alex": "lpips-alex", "vgg": "lpips-vgg"}  # Names in the manifest.
MAX_SIDE = 256  # Larger pictures are averaged down to this, as StyleGAN2's projector does.


class PerceptualDistance:
    """LPIPS between pictures in [-1, 1], split into features and their distance.

    The features are those of LPIPS version 0.1, multiplied by the square roots of its linear weights, so that the
    distance is a plain mean of squared differences (equation 1 of the paper).
    """

    def __init__(self, backbone: Backbone = "alex", *, device: str | torch.device = "cpu",
                 dtype: torch.dtype = torch.float32, max_side: int = MAX_SIDE) -> None:
        """Build the network.

        Args:
            backbone: "alex" or "vgg".
            device, dtype: Where and in what it computes.
            max_side: Larger pictures are averaged down to this.
        """
        self.backbone, self.max_side = backbone, max_side
        self._scaling, self._net, self._weights = _build(backbone)
        self._scaling.to(device, dtype)
        self._net.to(device, dtype).to(memory_format=torch.channels_last)
        self._weights = [weight.to(device, dtype) for weight in self._weights]

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Weighted features of pictures [N, 3, H, W] in [-1, 1]: five tensors [N, C_k, H_k, W_k].

        Raises:
            ValueError: another shape.
            InputError: they are smaller than 32 pixels.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures must be [N, 3, H, W], not {list(pictures.shape)}")
        height, width = pictures.shape[2:]
        if min(height, width) < LEAST_SIDE:
            raise InputError(None, f"pictures of {width} x {height} pixels are too small to be compared",
                             f"use a generator of at least {LEAST_SIDE} pixels")
        if max(height, width) > self.max_side:
            scale = self.max_side / max(height, width)
            pictures = F.interpolate(pictures, size=(round(height * scale), round(width * scale)), mode="area")
        layers = self._net(self._scaling(pictures.to(self._weights[0].dtype)))
        return [_normalise(layer) * weight for layer, weight in zip(layers, self._weights, strict=True)]

    @staticmethod
    def between(a: list[Tensor], b: list[Tensor], window: Tensor | None = None) -> Tensor:
        """LPIPS [N] between two lists of features; a single picture's features are compared with all.

        Args:
            a, b: Features.
            window: How much each place counts [H, W], any size; None: all the same, as in the paper.
        """
        total = torch.zeros([], device=a[0].device, dtype=a[0].dtype)
        for x, y in zip(a, b, strict=True):
            difference = (x - y).square().sum(dim=1)  # [N, H_k, W_k]
            if window is not None:
                weight = F.adaptive_avg_pool2d(window[None], (difference.shape[1], difference.shape[2]))
                difference = difference * (weight / weight.mean())
            total = total + difference.mean(dim=[1, 2])
        return total

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS [N] between pictures [N, 3, H, W] in [-1, 1]; 0 for the same picture."""
        return self.between(self.features(a), self.features(b))


def _normalise(layer: Tensor) -> Tensor:
    # As lpips.normalize_tensor, but with a gradient where all channels are 0.
    return layer / ((layer.square().sum(dim=1, keepdim=True) + 1e-20).sqrt() + 1e-10)


def _build(backbone: Backbone) -> tuple[nn.Module, nn.Module, list[Tensor]]:
    import lpips
    from safetensors.torch import load_file

    from weights.store import path_of

    if backbone not in FILES:
        raise InputError(backbone, "no such LPIPS backbone", "use alex or vgg")
    # pnet_rand's random weights are only replaced below: on the meta device they are never drawn, which saves seconds
    # and leaves the caller's random state alone.
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision in a way that is going out of use.
        model = lpips.LPIPS(net=backbone, pretrained=False, pnet_rand=True, verbose=False)
    state = load_file(path_of(FILES[backbone]))
    # Both backbones' linear weights are in the bundled file.
    linear = state if backbone == "alex" else load_file(path_of(FILES["alex"]))
    # slice1.0.weight -> features.0.weight
    names = {name: f"features.{name.split('.', 1)[1]}" for name in model.net.state_dict()}
    model.net.load_state_dict({name: state[source].float() for name, source in names.items()}, assign=True)
    weights = [linear[f"lin_{backbone}.{k}.weight"].float().sqrt() for k in range(model.L)]  # [1, C_k, 1, 1]
    model.requires_grad_(False).eval()
    return lpips.ScalingLayer(), model.net, weights
