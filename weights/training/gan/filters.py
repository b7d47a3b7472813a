"""The low-pass filter around a change of size, in two ways that compute the same.

"separate" filters the feature maps by themselves, as the generator does when it renders. "fused" convolves the filter
into the weight first, so that one denser convolution does both: more arithmetic, but one pass over the maps instead
of two, which pays where arithmetic is cheap (tensor cores) and memory is what is waited for.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Filters = Literal["separate", "fused"]


def widen(weight: Tensor, fir: Tensor) -> Tensor:
    """Convolve kernels [O, C, K, K] with the filter [L, L]; [O, C, K + L - 1, K + L - 1]."""
    outputs, inputs, size, _ = weight.shape
    flat = weight.reshape(outputs * inputs, 1, size, size)
    side = fir.shape[-1]
    wide = F.conv2d(flat, fir.to(weight.dtype).flip([0, 1])[None, None], padding=side - 1)
    return wide.reshape(outputs, inputs, size + side - 1, size + side - 1)


def filter_maps(x: Tensor, fir: Tensor, *, padding: int, stride: int = 1) -> Tensor:
    """Convolve each feature map of x [N, C, H, W] with the filter [L, L], keeping every `stride`-th value."""
    kernel = fir.to(x.dtype).flip([0, 1]).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, stride=stride, padding=padding, groups=x.shape[1])


def up_convolve(x: Tensor, weight: Tensor, fir: Tensor, filters: Filters) -> Tensor:
    """Double the sides of x [N, C, H, W] by a 3x3 kernel [O, C, 3, 3] and smooth it by the filter [4, 4].

    Karras et al. 2020, section 2 and figure 7; the filter is scaled by 4, for the zeros that are put in between.
    """
    if filters == "fused":
        return F.conv_transpose2d(x, widen(weight, fir * 4).to(x.dtype).transpose(0, 1), stride=2, padding=2)
    x = F.conv_transpose2d(x, weight.to(x.dtype).transpose(0, 1), stride=2)
    return filter_maps(x, fir * 4, padding=1)


def down_convolve(x: Tensor, weight: Tensor, fir: Tensor, filters: Filters) -> Tensor:
    """Halve the sides of x [N, C, H, W] by the filter [4, 4] and a kernel [O, C, K, K], K = 1 or 3."""
    size = weight.shape[-1]
    padding = (size + 1) // 2
    if filters == "fused":
        return F.conv2d(x, widen(weight, fir).to(x.dtype), stride=2, padding=padding)
    if size == 1:  # The values that the kernel would leave out need not be filtered.
        return F.conv2d(filter_maps(x, fir, padding=padding, stride=2), weight.to(x.dtype))
    return F.conv2d(filter_maps(x, fir, padding=padding), weight.to(x.dtype), stride=2)
