"""The encoder: from a crop to about the latent whose picture it is, in one pass. Inversions start there.

A small head on the perceptual distance's features of the crop, which an inversion needs anyway and which say much the
same of pictures that a generator drew and of photos. It says w, and how far each row of w+ lies from it, as e4e does
(Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", 2021): near W, where edits work. It is trained by
`inversion.encoder_training`; any generator can have one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators import Generator, LatentStatistics, Space, fit_rows
from weights.errors import InputError
from weights.files import is_file
from weights.fingerprint import fingerprint
from weights.manifest import entries
from weights.store import cache_dir, path_of
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-encoder-4"
LAYERS = (1, 2, 4)  # Of AlexNet's five; 192, 384 and 256 feature maps.
CHANNELS = 832
GRID = 15           # Features are averaged over so many cells a side,
COLOURS = 16        # and colours over so many.
WIDTHS = (96, 160, 256)  # Feature maps of the head at 15, 8 and 4 cells a side.
HIDDEN = 640        # Length of the vector that all of them become.
ROW_AXES = 64       # Along so many of the widest axes rows leave w.
SLOPE = 0.2
REMEDY = "train it again with `gradctrl encoder`"  # For a file that cannot be used.
FAR = 3.0           # Standard scores beyond which nothing is predicted: hardly a sample lies there.
STRANGE = 4.0       # Features beyond so many standard deviations are taken to be so many.


class Encoder(nn.Module):
    """Predicts w and w+ from what `read_crops` gives.

    Built with random weights, with all rows at w; `load_encoder` fills one from a file.
    """

    mean: Tensor
    deviation: Tensor
    w_mean: Tensor
    basis: Tensor

    def __init__(self, w_dim: int, axes: int, rows: int, *, hidden: int = HIDDEN) -> None:
        """Take the lengths of w and of its standard scores, and the rows of w+."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, CHANNELS, 1, 1))      # Of each feature map over samples,
        self.register_buffer("deviation", torch.ones(1, CHANNELS, 1, 1))  # and its standard deviation.
        # The standard scores that it was trained with: on another machine components may come out turned.
        self.register_buffer("w_mean", torch.zeros(w_dim))
        self.register_buffer("basis", torch.zeros(axes, w_dim))  # Widest first.
        first, middle, last = WIDTHS
        self.reduce = nn.Conv2d(CHANNELS, first, 1)
        self.down = nn.Conv2d(first, middle, 3, stride=2, padding=1)
        self.down_again = nn.Conv2d(middle, last, 3, stride=2, padding=1)
        self.first = nn.Linear(last * ((GRID + 3) // 4) ** 2 + 3 * COLOURS**2, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.second = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, axes)
        self.rows = nn.Linear(hidden, rows * min(ROW_AXES, axes))
        nn.init.zeros_(self.rows.weight)
        nn.init.zeros_(self.rows.bias)

    def forward(self, maps: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
        """Standard scores of w [N, K], and what each row adds to the first of them [N, L, k].

        maps, colours: features [N, 832, 15, 15] and colours [N, 3, 16, 16].
        """
        x = ((maps - self.mean) / self.deviation).clamp(-STRANGE, STRANGE)
        for conv in (self.reduce, self.down, self.down_again):
            x = F.leaky_relu(conv(x), SLOPE)
        x = F.leaky_relu(self.first(torch.cat([x.flatten(1), colours.flatten(1)], dim=1)), SLOPE)
        x = x + F.leaky_relu(self.second(self.norm(x)), SLOPE)
        rows = self.rows(x).unflatten(1, (-1, min(ROW_AXES, len(self.basis))))
        return FAR * torch.tanh(self.out(x) / FAR), FAR * torch.tanh(rows / FAR)

    def w(self, scores: Tensor) -> Tensor:
        """w [N, w_dim] of its standard scores [N, K]."""
        return self.w_mean + scores @ self.basis

    def latents(self, scores: Tensor, rows: Tensor) -> Tensor:
        """w+ [N, L, w_dim] of what `forward` gives."""
        return self.w(scores)[:, None] + rows @ self.basis[:rows.shape[2]]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the weights; recipes name the encoder by it."""
        return fingerprint(self.state_dict())


def read_crops(pictures: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What an encoder sees of crops.

    Args:
        pictures: [N, 3, R, R] in [-1, 1].
        features: Theirs, by `PerceptualDistance("alex")`.
    Returns:
        Features [N, 832, 15, 15] and colours [N, 3, 16, 16].
    """
    maps = torch.cat([F.adaptive_avg_pool2d(features[layer], GRID) for layer in LAYERS], dim=1)
    return maps, F.adaptive_avg_pool2d(pictures, COLOURS)


def save_encoder(path: str | os.PathLike[str], encoder: Encoder, *, space: Space, notes: dict[str, str]) -> None:
    """Write an encoder, mostly in half precision.

    An older file at `path` is replaced only once the new one is whole.

    Args:
        path: The file.
        encoder: The encoder.
        space: W of the generator that it was trained for; it serves all generators of it.
        notes: Metadata: on what it was trained and how well it does.
    Raises:
        InputError: the file cannot be written.
    """
    # w varies a thousand times less along some directions than along others: half precision would swamp those.
    state = {name: value if name in ("w_mean", "basis") else value.half()
             for name, value in encoder.state_dict().items()}
    write_tensors(path, state, {**notes, "format": FORMAT, "space": space.to_text()})


def load_encoder(path: str | os.PathLike[str], *, generator: Generator) -> Encoder:
    """Read an encoder, frozen and in float32.

    Raises:
        InputError: no such file, not an encoder, damaged, or of another space; the message names the file.
    """
    space, tensors = _read(path)
    if not space.matches(generator.space):
        raise InputError(path, f"this encoder is of another space ({space.short}) than the loaded generator's "
                               f"({generator.space.short})", f"{REMEDY} for it")
    return _built(path, tensors, generator)


def _read(path: str | os.PathLike[str]) -> tuple[Space, dict[str, Tensor]]:
    tensors, metadata = read_tensors(path, format=FORMAT, what="an encoder", remedy=REMEDY)
    try:
        return Space.from_text(metadata["space"]), tensors
    except (KeyError, ValueError) as error:
        raise InputError(path, "damaged encoder", REMEDY) from error


def _built(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], generator: Generator) -> Encoder:
    """An encoder of the tensors of a file."""
    try:
        axes = len(tensors["basis"])
        encoder = Encoder(generator.w_dim, axes, len(tensors["rows.bias"]) // min(ROW_AXES, axes),
                          hidden=len(tensors["first.weight"]))
        encoder.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (KeyError, RuntimeError) as error:
        raise InputError(path, "damaged encoder", REMEDY) from error
    encoder.requires_grad_(False).eval()
    _ = encoder.hash  # Taken here, from the weights as they are in the file.
    return encoder.to(generator.device)


def find_encoder(generator: Generator) -> Encoder | None:
    """The encoder of a generator's space: one that was trained here, its own before others', else the bundled one.

    Returns:
        None if there is none.
    Raises:
        InputError: the file of its own, or the bundled one, is damaged or of a former version.
    """
    trained_here = own_path(generator)
    others = sorted({*trained_here.parent.glob("*.safetensors")} - {trained_here})
    bundled = [path_of(entry.name) for entry in entries().values() if entry.kind == "encoder"]
    for path in [trained_here] * is_file(trained_here) + others + bundled:
        try:
            space, tensors = _read(path)
        except InputError:
            if path in others:
                continue
            raise
        if space.matches(generator.space):
            return _built(path, tensors, generator)
    return None


def own_path(generator: Generator) -> Path:
    """Where the encoder that was trained here for a generator is kept, among those of others."""
    return cache_dir() / "encoders" / f"{generator.hash}.safetensors"


@torch.no_grad()
def encode(encoder: Encoder, pictures: Tensor, features: list[Tensor], statistics: LatentStatistics,
           num_ws: int) -> tuple[Tensor, Tensor]:
    """Where inversions of crops begin; at the mean, 0, for one whose scores are not finite.

    Args:
        encoder: Of the generator's space.
        pictures: Crops [N, 3, R, R] in [-1, 1].
        features: Theirs, by `PerceptualDistance("alex")`.
        statistics: Of the generator's W.
        num_ws: Rows of its w+; those beyond the encoder's are as its last.
    Returns:
        Standard scores of w [N, K], and what the rows of w+ add to them [N, num_ws, K].
    """
    scores, rows = encoder(*(part.to(encoder.mean.dtype) for part in read_crops(pictures, features)))
    ws = fit_rows(encoder.latents(scores, rows), num_ws)
    start = statistics.standardise(encoder.w(scores).to(statistics.mean))
    added = statistics.standardise(ws.to(statistics.mean)) - start[:, None]
    fine = (start.isfinite().all(dim=1) & added.isfinite().all(dim=2).all(dim=1)).view(-1, 1)
    return torch.where(fine, start, 0.0), torch.where(fine[..., None], added, 0.0)
