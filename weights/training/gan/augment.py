"""Adaptive augmentation: the discriminator sees all pictures, real or not, through the same random changes.

Karras et al., "Training Generative Adversarial Networks with Limited Data" (2020): the changes and their order are
appendix B's "pixel blitting", "general geometric" and "colour" groups, each drawn with the same probability p, which
follows how far the discriminator overfits (section 3.1). Below p of about 0.8 the generator does not learn to draw
the changes themselves.
"""

from __future__ import annotations

from math import pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from weights.training.gan.chance import generator as random_generator

LARGEST = 0.8  # p above this would leak into the pictures (section 2.2 of the paper).

# The low-pass filter of Daubechies' symlet with six vanishing moments, scaled to unit length: enlarging by it and
# shrinking by its mirror image gives back exactly what was there, so that what is not changed is not softened either.
SYMLET = (0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
          0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
          0.0017677118642428036, -0.007800708325034148)
TAPS = len(SYMLET)
MIDDLE = sum(place * tap for place, tap in enumerate(SYMLET)) / sum(SYMLET)  # Its centre of mass, in taps.
CUT = TAPS // 2 - 1  # Of its TAPS, those that an enlarged picture begins earlier with.
MARGIN = TAPS // 2  # Pixels of the reflected picture that are kept around it.


class Adaptive:
    """The probability p, and what it is adapted by: r_t, the mean sign of the logits of real pictures.

    r_t is 0 for a discriminator that cannot tell, 1 for one that knows its training pictures by heart. p rises while
    r_t is above `target` and falls while it is below; all on the device, so that nothing has to wait for it.

    Args:
        target: r_t to keep to; 0.6 in the paper.
        kimg: Thousands of pictures in which p can go from 0 to 1; 500 in the paper.
        fixed: Keep p at this; None: adapt it.
    """

    def __init__(self, device: torch.device | str, *, target: float = 0.6, kimg: float = 500,
                 fixed: float | None = None) -> None:
        self.target, self.kimg, self.fixed = target, kimg, fixed
        self.p = torch.full([], fixed or 0.0, device=device)
        self.signs = torch.zeros([], device=device)  # Of the logits, summed since p was last moved ...
        self.count = 0  # ... and how many.

    def note(self, logits: Tensor) -> None:
        """Count the logits [N] of real, augmented pictures."""
        self.signs += logits.detach().sign().sum()
        self.count += len(logits)

    def move(self) -> Tensor:
        """Move p by what was noted, forget that, and return r_t []."""
        r_t = self.signs / max(self.count, 1)
        if self.fixed is None:
            step = (r_t - self.target).sign() * (self.count / (self.kimg * 1000))
            self.p = (self.p + step).clamp(0, LARGEST)
        self.signs, self.count = torch.zeros_like(self.signs), 0
        return r_t


def augment(pictures: Tensor, p: Tensor | float, generator: torch.Generator) -> Tensor:
    """Change pictures [N, 3, R, R] in [-1, 1] at random; differentiable with respect to them (once).

    A picture for which no change is drawn comes back bit for bit; with p = 0 that is all of them.

    Args:
        pictures: What to change.
        p: Probability of each single change; a number or a tensor [].
        generator: Where the random numbers come from, on the pictures' device.
    """
    pictures = warp(pictures, draw_geometry(len(pictures), pictures.shape[-1], p, generator))
    return recolour(pictures, draw_colours(len(pictures), p, generator))


class _Draws:
    """Random numbers for N pictures, each with probability p, else its neutral value."""

    def __init__(self, count: int, p: Tensor | float, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator
        self.p = torch.as_tensor(p, device=generator.device)

    def uniform(self) -> Tensor:  # [N] in [0, 1)
        return torch.rand(self.count, generator=self.generator, device=self.generator.device)

    def normal(self) -> Tensor:  # [N]
        return torch.randn(self.count, generator=self.generator, device=self.generator.device)

    def sometimes(self, drawn: Tensor, neutral: float, p: Tensor | None = None) -> Tensor:
        return torch.where(self.uniform() < (self.p if p is None else p), drawn, neutral)


def draw_geometry(count: int, side: int, p: Tensor | float, generator: torch.Generator) -> Tensor:
    """Draw geometric changes; [N, 3, 3], from places in the new picture to places in the old one.

    Places are in pixels from the picture's middle.
    """
    draws = _Draws(count, p, generator)
    p_turn = 1 - (1 - draws.p).clamp_min(0).sqrt()  # Two turns, with the stretching between them, make one of p.
    flip = draws.sometimes((draws.uniform() * 2).floor(), 0)
    matrix = _scaling(1 - 2 * flip, torch.ones_like(flip))
    quarters = draws.sometimes((draws.uniform() * 4).floor(), 0)
    matrix = matrix @ _rotation(quarters * (pi / 2)).round()
    across = draws.sometimes(draws.uniform() * 2 - 1, 0)
    down = draws.sometimes(draws.uniform() * 2 - 1, 0)
    matrix = matrix @ _shift((across * 0.125 * side).round(), (down * 0.125 * side).round())
    size = draws.sometimes(torch.exp2(draws.normal() * 0.2), 1)
    matrix = matrix @ _scaling(1 / size, 1 / size)
    matrix = matrix @ _rotation(draws.sometimes((draws.uniform() * 2 - 1) * pi, 0, p_turn))
    stretch = draws.sometimes(torch.exp2(draws.normal() * 0.2), 1)
    matrix = matrix @ _scaling(1 / stretch, stretch)
    matrix = matrix @ _rotation(draws.sometimes((draws.uniform() * 2 - 1) * pi, 0, p_turn))
    by = draws.sometimes(torch.full_like(size, 0.125 * side), 0)
    return matrix @ _shift(by * draws.normal(), by * draws.normal())


def draw_colours(count: int, p: Tensor | float, generator: torch.Generator) -> Tensor:
    """Draw changes of colour; [N, 4, 4], from (r, g, b, 1) to new ones, with colours in [-1, 1]."""
    draws = _Draws(count, p, generator)
    eye = torch.eye(4, device=generator.device)
    grey = torch.tensor([1.0, 1.0, 1.0, 0.0], device=generator.device) / sqrt(3)  # The axis of greys.
    along, one = grey.outer(grey), torch.diag(eye[3])
    matrix = eye.repeat(count, 1, 1)
    matrix[:, :3, 3] = draws.sometimes(draws.normal() * 0.2, 0)[:, None]  # Brightness.
    contrast = draws.sometimes(torch.exp2(draws.normal() * 0.5), 1)[:, None, None]
    matrix = ((eye - one) * contrast + one) @ matrix
    flip = draws.sometimes((draws.uniform() * 2).floor(), 0)[:, None, None]  # Light and dark; hues are kept.
    matrix = (eye - 2 * along * flip) @ matrix
    matrix = _hue_turn(draws.sometimes((draws.uniform() * 2 - 1) * pi, 0)) @ matrix
    saturation = draws.sometimes(torch.exp2(draws.normal()), 1)[:, None, None]
    return torch.where(saturation == 1, eye, along + one + (eye - one - along) * saturation) @ matrix


def _hue_turn(angle: Tensor) -> Tensor:  # [N] -> [N, 4, 4]
    """Turn colours about the axis of greys (Rodrigues' formula)."""
    eye = torch.eye(4, device=angle.device)
    axis = 1 / sqrt(3)
    cross = torch.zeros(4, 4, device=angle.device)
    cross[:3, :3] = torch.tensor([[0, -axis, axis], [axis, 0, -axis], [-axis, axis, 0]], device=angle.device)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    turned = eye + sine * cross + (1 - cosine) * (cross @ cross)
    return torch.where((angle == 0)[:, None, None], eye, turned)


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # [N, 3, 3]


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([[x, zero, zero], [zero, y, zero], [zero, zero, one]])


def _shift(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([[one, zero, x], [zero, one, y], [zero, zero, one]])


def _rotation(angle: Tensor) -> Tensor:
    zero, one, cosine, sine = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    return _matrix([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]])


def warp(pictures: Tensor, matrix: Tensor) -> Tensor:
    """Resample pictures [N, C, R, R] by matrices [N, 3, 3] as `draw_geometry` gives them, mirrored at their edges.

    The pictures are enlarged to twice their size, resampled there, and shrunk again, so that what is moved by parts of
    a pixel is neither softened nor jagged (appendix B of the paper). Pictures whose matrix is the identity stay as
    they are, bit for bit.
    """
    count, side = len(pictures), pictures.shape[-1]
    taps = torch.tensor(SYMLET, device=pictures.device, dtype=pictures.dtype)
    large = _enlarge(F.pad(pictures, [MARGIN] * 4, mode="reflect"), taps)
    # Value k of an enlarged picture lies at the pixel (k + CUT - MIDDLE) / 2. What is drawn begins at k = -CUT, for the
    # filter that shrinks it.
    places = (torch.arange(2 * side + TAPS - 2, device=pictures.device, dtype=pictures.dtype) - MIDDLE) / 2
    places = places - (side - 1) / 2  # In pixels from the middle.
    y, x = torch.meshgrid(places, places, indexing="ij")
    new = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(1, -1, 3)
    old = (new @ matrix.to(pictures.dtype)[:, :2].transpose(1, 2)).reshape(count, *x.shape, 2)
    old = _fold(old + (side - 1) / 2, side - 1)
    index = (old + MARGIN) * 2 + MIDDLE - CUT
    grid = (2 * index + 1) / large.shape[-1] - 1
    drawn = F.grid_sample(large, grid, mode="bilinear", padding_mode="border", align_corners=False)
    still = (matrix == torch.eye(3, device=matrix.device)).all(dim=2).all(dim=1)
    return torch.where(still[:, None, None, None], pictures, _shrink(drawn, taps))


def _fold(places: Tensor, last: int) -> Tensor:
    """Mirror places at 0 and `last`, as often as it takes."""
    places = places.remainder(2 * last)
    return torch.minimum(places, 2 * last - places)


def _enlarge(x: Tensor, taps: Tensor) -> Tensor:  # [N, C, H, W] -> [N, C, 2 H, 2 W]
    count, channels, height, width = x.shape
    x = x.reshape(-1, 1, height, width)
    x = F.conv_transpose2d(x, taps[None, None, None] * sqrt(2), stride=(1, 2), padding=(0, CUT))
    x = F.conv_transpose2d(x, taps[None, None, :, None] * sqrt(2), stride=(2, 1), padding=(CUT, 0))
    return x.reshape(count, channels, 2 * height, 2 * width)


def _shrink(x: Tensor, taps: Tensor) -> Tensor:  # [N, C, 2 R + TAPS - 2, ...] -> [N, C, R, R]
    count, channels, height, width = x.shape
    x = x.reshape(-1, 1, height, width)
    x = F.conv2d(x, taps[None, None, None] / sqrt(2), stride=(1, 2))
    x = F.conv2d(x, taps[None, None, :, None] / sqrt(2), stride=(2, 1))
    return x.reshape(count, channels, *x.shape[-2:])


def recolour(pictures: Tensor, matrix: Tensor) -> Tensor:
    """Change the colours of pictures [N, 3, R, R] by matrices [N, 4, 4]; the identity leaves them bit for bit."""
    matrix = matrix.to(pictures.dtype)
    changed = torch.einsum("nij,njhw->nihw", matrix[:, :3, :3], pictures) + matrix[:, :3, 3, None, None]
    still = (matrix == torch.eye(4, device=matrix.device)).all(dim=2).all(dim=1)
    return torch.where(still[:, None, None, None], pictures, changed)


def flip_some(pictures: Tensor, *names: object) -> Tensor:
    """Mirror about half of the pictures [N, C, H, W] from left to right; which ones, the names decide."""
    drawn = torch.rand(len(pictures), generator=random_generator(pictures.device, "flip", *names),
                       device=pictures.device)
    return torch.where((drawn < 0.5)[:, None, None, None], pictures.flip(3), pictures)
