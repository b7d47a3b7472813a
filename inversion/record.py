"""The record of one inversion, and its file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generators import Generator, Space, fit_rows
from generators.spaces import in_words
from inversion.settings import ProjectorSettings
from inversion.tone import Monochrome
from inversion.tuning import Tuning
from weights.errors import InputError
from weights.fingerprint import fingerprint
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-inversion-3"
TUNING = "tuning."  # Begins the names of the tensors that were added to the generator's weights.


@dataclass(frozen=True, eq=False, kw_only=True)
class Inversion:
    """The latent whose picture is the crop, and how near it came."""

    latent: Tensor                # w [w_dim] or w+ [num_ws, w_dim], float32 on the CPU.
    space: Space                  # W of the generators that the latent fits.
    crop: np.ndarray              # What was inverted, uint8 [R, R, 3].
    picture: np.ndarray           # The latent's picture, by the tuned generator if there is one, uint8 [R, R, 3].
    lpips: float                  # LPIPS (AlexNet) between the two.
    mse: float                    # Mean squared difference of the two, both in [-1, 1].
    identity: float | None        # Distance of dlib's face descriptors; below 0.6 the same person. None: not measured.
    seconds: float                # Time the inversion took; shared by the crops of a batch.
    steps: int                    # Steps done, of the search and of this crop's tuning.
    stopped: bool = False         # Whether it ended before it was done, so that no settings make it again.
    tuning: Tuning = field(default_factory=dict)  # What is added to the generator's weights for this crop.
    generator_hash: str = ""      # With a tuning: `Generator.hash` of the weights that it is added to.
    warnings: tuple[str, ...] = ()  # What is off with the face or with the result, in sentences.
    settings: ProjectorSettings = field(default_factory=ProjectorSettings)
    photo_hash: str | None = None               # SHA-256 of the photo's file.
    quad: tuple[tuple[float, float], ...] = ()  # The face's FFHQ quad in photo pixels.

    @cached_property
    def name(self) -> str:
        """12 hexadecimal digits that tell its latent and its tuning from others."""
        return fingerprint({"latent": self.latent, **self.tuning})[:12]

    @cached_property
    def monochrome(self) -> Monochrome | None:
        """The one colour that the crop has; None if it has several."""
        return Monochrome.of(self.crop)

    def of_photo(self, photo_hash: str, quad: np.ndarray) -> Inversion:
        """The same record, naming the photo and the face that the crop was taken from."""
        return replace(self, photo_hash=photo_hash, quad=tuple((float(x), float(y)) for x, y in quad))

    def generator_of(self, generator: Generator) -> Generator:
        """The generator whose picture of the latent is the inversion's: the one given, or a tuned copy of it.

        Raises:
            InputError: the latent, or the tuning, does not belong to it.
        """
        self.check(generator)
        try:
            return generator.with_weights(self.tuning) if self.tuning else generator
        except ValueError as error:
            raise InputError(None, f"this inversion is damaged ({error})", "invert the photo again") from error

    def check(self, generator: Generator) -> None:
        """Refuse a generator that it does not fit: without a tuning all of its space do, with one its weights alone.

        Raises:
            InputError: the latent is of another space, or the tuning of other weights.
        """
        remedy = "load that generator or invert the photo again"
        if not self.space.matches(generator.space):
            raise InputError(None, f"this latent is of another space ({in_words(self.space.short)}) than the loaded "
                                   f"generator's ({generator.space.short})", remedy)
        if self.latent.ndim == 2 and len(self.latent) != generator.num_ws:
            raise InputError(None, f"this latent has {len(self.latent)} rows, and the loaded generator takes "
                                   f"{generator.num_ws}", remedy)
        if self.tuning and self.generator_hash != generator.hash:
            raise InputError(None, f"this inversion is tuned to generator {self.generator_hash[:12]}, not to the "
                                   f"loaded one ({generator.hash[:12]})", remedy)


def save_inversion(path: str | os.PathLike[str], inversion: Inversion) -> None:
    """Write the record as safetensors; an older file at `path` is replaced only once the new one is whole.

    Raises:
        InputError: the file cannot be written.
    """
    tensors, metadata = pack_inversion(inversion)
    write_tensors(path, tensors, {"format": FORMAT, **metadata})


def pack_inversion(inversion: Inversion) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The record as tensors and texts, for a file of its own or as a part of another."""
    numbers = {name: getattr(inversion, name) for name in ("lpips", "mse", "identity", "seconds", "steps", "stopped",
                                                           "warnings", "photo_hash", "quad")}
    metadata = {"space": inversion.space.to_text(), "generator": inversion.generator_hash,
                "numbers": json.dumps(numbers), "settings": json.dumps(asdict(inversion.settings))}
    tuning = {f"{TUNING}{name}": change.half() for name, change in inversion.tuning.items()}
    return {"latent": inversion.latent.float(), "crop": torch.tensor(inversion.crop),
            "picture": torch.tensor(inversion.picture), **tuning}, metadata


def load_inversion(path: str | os.PathLike[str], *, generator: Generator | None = None) -> Inversion:
    """Read a record that `save_inversion` wrote.

    Args:
        path: The file.
        generator: The generator that it is to be used with; a record that does not fit it is refused. Rows of w+ that
            one generator of its space has more than another follow the last one, or are left out.
    Raises:
        InputError: no such file, not a record, damaged, or of another space or generator; the message names the file.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path, format=FORMAT, what="an inversion", remedy="invert the photo again")
    try:
        inversion = unpack_inversion(tensors, metadata)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"damaged inversion ({error})", "invert the photo again") from error
    if generator is not None:
        if inversion.latent.ndim == 2 and not inversion.tuning:
            inversion = replace(inversion, latent=fit_rows(inversion.latent, generator.num_ws))
        try:
            inversion.check(generator)
        except InputError as error:
            raise error.about(path) from error
    return inversion


def unpack_inversion(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Inversion:
    """The record that `pack_inversion` took apart.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or is not what it should be.
    """
    latent, crop, picture = tensors["latent"], tensors["crop"], tensors["picture"]
    if latent.ndim not in (1, 2) or not latent.isfinite().all():
        raise ValueError("the latent is not finite or has the wrong shape")
    if crop.dtype != torch.uint8 or crop.ndim != 3 or crop.shape != picture.shape or picture.dtype != torch.uint8:
        raise ValueError("the pictures have the wrong shape")
    tuning = {name.removeprefix(TUNING): change for name, change in tensors.items() if name.startswith(TUNING)}
    if not all(bool(change.isfinite().all()) for change in tuning.values()):
        raise ValueError("the tuning is not finite")
    numbers = json.loads(metadata["numbers"])
    warnings = tuple(str(text) for text in numbers.pop("warnings"))
    quad = tuple((float(x), float(y)) for x, y in numbers.pop("quad"))
    return Inversion(latent=latent, space=Space.from_text(metadata["space"]), generator_hash=metadata["generator"],
                     crop=crop.numpy(), picture=picture.numpy(), quad=quad, tuning=tuning, warnings=warnings,
                     settings=ProjectorSettings(**json.loads(metadata["settings"])), **numbers)
