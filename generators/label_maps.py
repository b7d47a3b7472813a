"""Label maps: what stands where in a street, by the classes of Cityscapes, and the edges of its instances."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from generators.pix2pixhd import CLASSES
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np

COLOURS = {  # By number, as Cordts et al., "The Cityscapes Dataset" (2016), publish them.
    0: (0, 0, 0), 5: (111, 74, 0), 6: (81, 0, 81), 7: (128, 64, 128), 8: (244, 35, 232), 9: (250, 170, 160),
    10: (230, 150, 140), 11: (70, 70, 70), 12: (102, 102, 156), 13: (190, 153, 153), 14: (180, 165, 180),
    15: (150, 100, 100), 16: (150, 120, 90), 17: (153, 153, 153), 19: (250, 170, 30), 20: (220, 220, 0),
    21: (107, 142, 35), 22: (152, 251, 152), 23: (70, 130, 180), 24: (220, 20, 60), 25: (255, 0, 0), 26: (0, 0, 142),
    27: (0, 0, 70), 28: (0, 60, 100), 29: (0, 0, 90), 30: (0, 0, 110), 31: (0, 80, 100), 32: (0, 0, 230),
    33: (119, 11, 32)}
"""Numbers 1 to 4 are black too, as 0; 18 has the colour of 17."""


def read_label_maps(labels: str | os.PathLike[str], instances: str | os.PathLike[str] | None = None) -> Tensor:
    """A label map as `Pix2PixHD.render` takes it; float32 [1, 2, H, W].

    Args:
        labels: A picture (PNG) of class numbers from 0 to 34, or of Cityscapes' colours.
        instances: A picture (PNG, of 8 or 16 bits) with another number for each instance, of the same size; None: each
            class is one instance.
    Raises:
        InputError: a file is no such picture, has numbers or colours that are no classes, or they differ in size.
    """
    numbers = _class_numbers(Path(labels))
    if instances is None:
        each = numbers
    else:
        each = _read(Path(instances))
        if each.ndim == 3:  # Colours are as good as numbers, if they differ.
            each = each[..., 0] * 65536 + each[..., 1] * 256 + each[..., 2]
        if each.shape != numbers.shape:
            raise InputError(instances, f"has {each.shape[1]} x {each.shape[0]} pixels, and the label map "
                             f"{numbers.shape[1]} x {numbers.shape[0]}", "give the instances of that label map")
    return torch.stack([torch.from_numpy(numbers).float(), edges(torch.from_numpy(each)).float()])[None]


def edges(instances: Tensor) -> Tensor:
    """Where a pixel's instance is another than that of a pixel beside, above or below; bool [H, W]."""
    found = torch.zeros(instances.shape, dtype=torch.bool)
    across, down = instances[:, 1:] != instances[:, :-1], instances[1:] != instances[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def _class_numbers(path: Path) -> np.ndarray:
    import numpy as np

    found = _read(path)
    if found.ndim == 3:
        packed = found[..., 0] * 65536 + found[..., 1] * 256 + found[..., 2]
        by_colour = {red * 65536 + green * 256 + blue: number for number, (red, green, blue) in COLOURS.items()}
        present, places = np.unique(packed, return_inverse=True)
        unknown = [int(each) for each in present if int(each) not in by_colour]
        if unknown:
            colour = unknown[0] >> 16, unknown[0] >> 8 & 255, unknown[0] & 255
            raise InputError(path, f"has the colour {colour}, which is none of Cityscapes' classes",
                             f"save it as class numbers from 0 to {CLASSES - 1}, or in these colours without smoothing")
        return np.array([by_colour[int(each)] for each in present])[places].reshape(packed.shape)
    if found.max() >= CLASSES:
        raise InputError(path, f"has the number {int(found.max())}, which is no class",
                         f"use Cityscapes' label numbers, 0 to {CLASSES - 1} (files named labelIds)")
    return found


def _read(path: Path) -> np.ndarray:
    """The numbers of a picture, int64 [H, W], or its colours [H, W, 3]."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            numbers = image.mode in ("L", "P", "1") or image.mode.startswith("I")
            return np.asarray(image if numbers else image.convert("RGB")).astype(np.int64)
    except FileNotFoundError as error:
        raise InputError(path, "no such file", "check the path") from error
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(path, f"cannot be read as a picture ({error!s:.80})", "give a PNG") from error
