"""Which resolutions are computed in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from weights.errors import InputError

CLAMP = 256.0  # Of activations, when there is half precision (Karras et al. 2020, "Limited Data", appendix D.1).
HALF_RESOLUTIONS = 4  # The largest ones, which take nearly all of the time; the smaller ones keep float32.
NAMES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """Half precision from some resolution on; weights, their updates and the picture's sum are float32 throughout.

    Attributes:
        half: torch.bfloat16, torch.float16, or None: float32 everywhere.
        smallest: The smallest side in pixels whose block is computed in `half`.
    """

    half: torch.dtype | None = None
    smallest: int = 8

    @classmethod
    def named(cls, name: str, resolution: int) -> Precision:
        """For "float32", "bfloat16" or "float16" and a picture's side: the four largest blocks, but never 4 pixels."""
        return cls(NAMES[name], max(resolution >> (HALF_RESOLUTIONS - 1), 8))

    @property
    def clamp(self) -> float | None:
        return None if self.half is None else CLAMP

    def at(self, side: int, otherwise: torch.dtype) -> torch.dtype:
        """The precision of the block of a side, where that of the weights is `otherwise`."""
        return otherwise if self.half is None or side < self.smallest else self.half


def choose_precision(name: str, device: torch.device) -> str:
    """Resolve "auto": bfloat16 on a GPU that computes with it, float16 on an older one, float32 on anything else.

    Raises:
        InputError: float16 on a device that is not a GPU.
    """
    if name == "auto":
        if device.type != "cuda":
            return "float32"
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"
    if name == "float16" and device.type != "cuda":
        raise InputError(f"--precision float16: not of use on {device.type}; take float32, bfloat16 or auto")
    return name
