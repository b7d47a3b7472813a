"""The identity of a latent space, apart from the weights that draw pictures of its latents."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

SEEDS = (0, 1, 2, 3)               # Of the z whose latents tell a space.
COLUMNS = {"w": 16, "styles": 64}  # How many numbers of each of these latents are kept, evenly spaced.
TOLERANCE = 0.02
"""How far latents of one space may be apart, in parts of their spread.

Measured (`tests/generators/test_spaces.py`), of mappings of 4 and 8 layers: weights rounded to half precision 0.001 at
most, to bfloat16 0.01; every weight moved at random by 1% of their size 0.04 and more, by 5% 0.2 and more.
"""
FORMER_BUNDLED = ("76607ecfab02d7f5fffc37d14fc0fb5b340f987affc94338d79252c94d11f2e8", "e978b958", "1693bd02")
"""Hash and spaces (`Space.short`) of the generator that former versions had bundled."""


def in_words(name: str) -> str:
    """A generator, by its hash or `Generator.identity`, or a space, by `Space.short`, for messages."""
    return ("the 128-pixel generator that former versions had bundled" if name in FORMER_BUNDLED else
            name[:12] + name[64:])


@dataclass(frozen=True, eq=False)
class Space:
    """A fingerprint of a mapping network: the latents of a few fixed z, compared within a tolerance.

    Generators whose mappings agree up to rounding share a space, whatever draws their pictures: latents, directions and
    encoders of one fit the other. `matches` compares; files hold `to_text`.
    """

    kind: str       # "w", or "styles": the styles of these w.
    width: int      # Length of a latent.
    probes: Tensor  # [4, 16 or 64], float32 on the CPU, rounded to half precision.

    @classmethod
    def of(cls, kind: str, latents: Tensor) -> Space:
        """The space of the latents [4, width] of `SEEDS`."""
        columns = torch.linspace(0, latents.shape[1] - 1, COLUMNS[kind]).round().long()
        probes = latents.detach().cpu().float()[:, columns].clamp(-65504, 65504).half()
        return cls(kind, latents.shape[1], probes.float())

    def matches(self, other: Space) -> bool:
        """Whether it is the same space: of the same kind and width, with the same latents within `TOLERANCE`."""
        if (self.kind, self.width) != (other.kind, other.width):
            return False
        spread = max(float(space.probes.var(dim=0).mean().sqrt()) for space in (self, other))
        return float((self.probes - other.probes).square().mean().sqrt()) <= TOLERANCE * spread

    @property
    def short(self) -> str:
        """8 hexadecimal digits for messages; those of spaces that match can differ."""
        return sha256(self.to_text().encode()).hexdigest()[:8]

    def to_text(self) -> str:
        """One line of ASCII for metadata: kind, width and the probes in half precision."""
        return f"{self.kind} {self.width} {base64.b64encode(self.probes.half().numpy().tobytes()).decode()}"

    @classmethod
    def from_text(cls, text: str) -> Space:
        """What `to_text` wrote.

        Raises:
            ValueError: the text is damaged.
        """
        parts = re.fullmatch(r"(w|styles) ([1-9]\d{0,5}) ([A-Za-z0-9+/]+=*)", text)
        if parts is None:
            raise ValueError(f"{text[:40]!r} is not a latent space")
        kind, width, encoded = parts.groups()
        data = base64.b64decode(encoded, validate=True)
        if len(data) != 2 * len(SEEDS) * COLUMNS[kind]:
            raise ValueError("the latent space is cut short")
        probes = torch.frombuffer(bytearray(data), dtype=torch.float16).float().reshape(len(SEEDS), COLUMNS[kind])
        if not probes.isfinite().all():
            raise ValueError("the latent space is damaged")
        return cls(kind, int(width), probes)


def fit_rows(ws: Tensor, num_ws: int) -> Tensor:
    """Rows of w+ [..., L, D] as another generator of the space has them [..., num_ws, D].

    Those that it has more follow the last one; those that it has not are left out.
    """
    return ws[..., torch.arange(num_ws, device=ws.device).clamp_max(ws.shape[-2] - 1), :]
