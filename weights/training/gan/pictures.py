"""A folder of pictures as one tensor of pixels."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from inversion.photo import photo_from_array
from weights.errors import InputError
from weights.files import visible_files

NO_PICTURES = {".csv", ".json", ".md", ".txt"}  # What may lie beside the pictures.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error,
                   zlib.error, Image.DecompressionBombError)


def find_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """All files of a folder and its subfolders in the order of their names, but hidden ones and `NO_PICTURES`.

    Raises:
        InputError: no such folder, or nothing in it.
    """
    paths = [path for path in visible_files(folder) if path.suffix.lower() not in NO_PICTURES]
    if not paths:
        raise InputError(f"{os.fspath(folder)}: no pictures in it; name a folder of pictures")
    return sorted(paths, key=lambda path: path.relative_to(folder).as_posix())


def read_picture(path: Path, resolution: int) -> np.ndarray:
    """One picture, centre-cropped to a square and resampled (Lanczos); uint8 [resolution, resolution, 3].

    As a photo is opened: upright, sRGB, transparency over white; but in any format that Pillow reads.

    Raises:
        InputError: not a picture that can be read.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (resolution, resolution))  # A JPEG is decoded no larger than needed.
            upright = photo_from_array(image, name=str(path)).pixels
    except InputError:
        raise
    except _DECODER_ERRORS as error:
        raise InputError(f"{path}: not readable as a picture ({error}); mend it or move it away") from error
    square = ImageOps.fit(Image.fromarray(upright), (resolution, resolution), Image.Resampling.LANCZOS)
    return np.array(square, dtype=np.uint8)


def read_pictures(paths: Sequence[Path], resolution: int, *, workers: int | None = None,
                  on_picture: Callable[[int, int], None] | None = None) -> Tensor:
    """Read pictures in several threads; uint8 [N, 3, resolution, resolution].

    It takes N * 3 * resolution^2 bytes: 0.8 GB for 4,000 pictures of 256 pixels.

    Args:
        paths: The files.
        resolution: Side in pixels.
        workers: Threads; None: one for each core.
        on_picture: Called with how many have been read, and of how many.
    Raises:
        InputError: names the first file that cannot be read.
    """
    store = torch.empty(len(paths), 3, resolution, resolution, dtype=torch.uint8)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        jobs = [pool.submit(read_picture, path, resolution) for path in paths]
        try:
            for index, job in enumerate(jobs):
                store[index] = torch.from_numpy(job.result()).permute(2, 0, 1)
                if on_picture is not None:
                    on_picture(index + 1, len(paths))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return store


def pixels_hash(store: Tensor) -> str:
    """SHA-256 over the pixels: tells whether a run goes on with the pictures that it began with; 64 hex digits."""
    digest = hashlib.sha256(f"{list(store.shape)}".encode())
    for picture in store:
        digest.update(picture.contiguous().numpy().tobytes())
    return digest.hexdigest()
