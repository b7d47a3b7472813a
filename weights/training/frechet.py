"""The AlexNet Frechet distance: how far two sets of pictures are from each other, by features of the bundled AlexNet.

    python -m weights.training.frechet GENERATOR FOLDER [--count 10000] [--floor] [--out RESULT.json]

GENERATOR is "bundled" or a file, FOLDER holds pictures (subfolders included). The distance is that of Heusel et al.,
"GANs Trained by a Two Time-Scale Update Rule" (2017), equation 6, on other features than theirs: compare it with no
published number, but with others that are called the AlexNet Frechet distance and have the same counts of pictures,
since few pictures make it larger. `--floor` adds what chance alone makes of it: the distance between two halves of the
folder. Of faces at 256x256 (700 in each set), pictures brought to 128x128 and back were 36 times as far from others as
these were from each other, to 64x64 and back 200 times, with noise of 4 levels in 255 31 times: it is strict about
softness and noise, and less about variety.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from inversion import PerceptualDistance
from stylegan2 import Generator, choose_device, from_bytes, load, to_bytes
from weights.errors import InputError
from weights.files import replacing, visible_files
from weights.training.moments import Moments, frechet_distance, joined

__all__ = ["Features", "Moments", "folder_moments", "frechet_distance", "generator_moments"]

NAME = "AlexNet Frechet distance"
VERSION = "alexnet-frechet-1"    # Of the features; moments that are kept are those of one version.
SIDE = 256                       # Pixels to which all pictures are brought.
BATCH = 32
COUNT = 10_000                   # Samples of a generator.
PIECE = 1000                     # Pictures whose moments are kept together: what a cut can cost.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
OnProgress = Callable[[int, int], None]  # How many pictures are done, of how many.


class Features:
    """What AlexNet sees in pictures, without where: the means over all places of its five layers.

    The layers are those of LPIPS (`inversion.PerceptualDistance`): after each of the five rectified convolutions, at
    each place scaled to unit length over the channels and multiplied by the square roots of LPIPS's linear weights, so
    that the squared distance of two features is in the units of LPIPS. 64 + 192 + 384 + 256 + 256 = 1152 numbers.

    Pictures of every size are brought to 256x256 (bicubic, with the low pass where they shrink), so that generators of
    different resolutions compare: what a small one cannot draw counts against it, as it does for those who look.
    """

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._distance = PerceptualDistance("alex", device=self.device, max_side=SIDE)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Features, float32 [N, 1152] on the device, of pictures uint8 [N, 3, H, W], H = W.

        Raises:
            ValueError: not uint8, or another shape.
        """
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3 or \
                pictures.shape[2] != pictures.shape[3]:
            raise ValueError(f"pictures must be uint8 [N, 3, H, H], not {pictures.dtype} {list(pictures.shape)}")
        x = from_bytes(pictures.to(self.device))
        if x.shape[2] != SIDE:
            x = F.interpolate(x, size=(SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True).clamp(-1, 1)
        # TF32 would round what a GPU says otherwise than what a CPU says.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
            layers = self._distance.features(x)
        return torch.cat([layer.mean(dim=[2, 3]) for layer in layers], dim=1)


def pictures_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The picture files of a folder and its subfolders, in order of their names; hidden ones are left out.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    found = sorted(path for path in visible_files(folder) if path.suffix.lower() in ENDINGS)
    if not found:
        raise InputError(f"{os.fspath(folder)}: no pictures in it ({', '.join(ENDINGS)}); name a folder that has some")
    return found


def read_square(path: str | os.PathLike[str]) -> Tensor:
    """The middle square of a picture file, upright, uint8 [3, S, S].

    Raises:
        InputError: not readable as a picture; the message names the file.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"{os.fspath(path)}: no such file; check the name") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{os.fspath(path)}: not readable as a picture ({error}); remove it") from error
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    pixels = np.asarray(upright.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def folder_moments(paths: Iterable[str | os.PathLike[str]], features: Features | None = None, *, batch: int = BATCH,
                   keep: Path | None = None, on_progress: OnProgress | None = None) -> Moments:
    """The moments of picture files: the middle square of each.

    Args:
        paths: The files.
        features: None: on the CPU.
        batch: Pictures at a time.
        keep: A folder in which what is done is kept, so that a run that was cut goes on; files are known by their
            names, sizes and times.
        on_progress: Told after each batch.
    Raises:
        InputError: a file cannot be read, or there are none.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise InputError("there are no pictures to take the distance of; name a folder that has some")
    see = features or Features()

    def make(start: int) -> Moments:
        return Moments.of(_seen(see, files[start:start + PIECE], batch, _after(on_progress, start, len(files))))

    return joined([("" if keep is None else _files_key(files[start:start + PIECE]), partial(make, start))
                   for start in range(0, len(files), PIECE)], keep)


def _files_key(paths: Sequence[Path]) -> str:
    try:
        found = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    except OSError as error:
        raise InputError(f"{error.filename}: not readable ({error.strerror}); check the name") from error
    return f"{VERSION}: {len(paths)} files {sha256(json.dumps(found).encode()).hexdigest()}"


def _seen(features: Features, paths: Sequence[Path], batch: int, tell: Callable[[int], None]) -> Iterator[Tensor]:
    for start in range(0, len(paths), batch):
        squares = [read_square(path) for path in paths[start:start + batch]]
        for _, same in groupby(squares, key=lambda square: square.shape):
            yield features(torch.stack(list(same)))
        tell(min(start + batch, len(paths)))


def generator_moments(generator: Generator, count: int = COUNT, seed: int = 0, batch: int = BATCH,
                      features: Features | None = None, *, truncation: float = 1.0, keep: Path | None = None,
                      on_progress: OnProgress | None = None) -> Moments:
    """The moments of a generator's samples, rounded to uint8 as files are.

    Args:
        generator: Whose.
        count, seed: The samples of seeds [seed, seed + count).
        batch: Pictures at a time.
        features: None: where the generator is.
        truncation: psi of the mapping network; 1: as varied as the generator can.
        keep: A folder in which what is done is kept, so that a run that was cut goes on.
        on_progress: Told after each batch.
    Raises:
        InputError: count is below 1, or the generator draws something that is not finite.
    """
    if count < 1:
        raise InputError(f"count must be 1 or more, not {count}")
    see = features or Features(generator.device)

    def make(start: int) -> Moments:
        seeds = range(seed + start, seed + min(start + PIECE, count))
        return Moments.of(see(pictures) for pictures in
                          _samples(generator, seeds, batch, truncation, _after(on_progress, start, count)))

    # The hash is of float32 weights; others would have to be told apart by more.
    key = f"{VERSION}: generator {generator.hash if keep else ''} {generator.dtype}, truncation {truncation:g}"
    return joined([(f"{key}, seeds {seed + start} to {seed + min(start + PIECE, count)}", partial(make, start))
                   for start in range(0, count, PIECE)], keep)


@torch.no_grad()
def _samples(generator: Generator, seeds: range, batch: int, truncation: float,
             tell: Callable[[int], None]) -> Iterator[Tensor]:
    for start in range(0, len(seeds), batch):
        pictures = generator.render(generator.sample(seeds[start:start + batch], truncation=truncation))
        if not pictures.isfinite().all():  # Rounded to pixels, it would look like black ones.
            raise InputError(f"this generator draws no finite picture of seed {seeds[start]} or one after it; load it "
                             "in float32, or take an earlier one")
        yield to_bytes(pictures)
        tell(min(start + batch, len(seeds)))


def _after(on_progress: OnProgress | None, before: int, total: int) -> Callable[[int], None]:
    """Tells of how many are done in all, from how many are done in a piece."""
    return lambda done: on_progress(before + done, total) if on_progress is not None else None


def halves(paths: Sequence[Path], seed: int = 0) -> tuple[list[Path], list[Path]]:
    """Two halves of the files by a seeded shuffle, as folders are often sorted by what they show."""
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed)).tolist()
    middle = len(paths) // 2
    return [paths[index] for index in order[:middle]], [paths[index] for index in order[middle:2 * middle]]


def measure(generator: Generator, paths: Sequence[Path], features: Features, *, count: int = COUNT, seed: int = 0,
            batch: int = BATCH, truncation: float = 1.0, floor: bool = False, keep: Path | None = None,
            on_progress: OnProgress | None = None) -> dict[str, float | int | str]:
    """The distance of a generator's samples from picture files, and with what it was taken, as JSON can hold it.

    With `floor`, also that of two halves of the files from each other: what chance alone makes of it, between sets of
    half the size. Other arguments as for `generator_moments`.
    """
    real = folder_moments(paths, features, batch=batch, keep=keep, on_progress=on_progress)
    drawn = generator_moments(generator, count, seed, batch, features, truncation=truncation, keep=keep,
                              on_progress=on_progress)
    result: dict[str, float | int | str] = {
        NAME: frechet_distance(drawn, real), "generator": generator.hash, "resolution": generator.resolution,
        "samples": count, "seed": seed, "truncation": truncation, "pictures": len(paths)}
    if floor:
        a, b = (folder_moments(half, features, batch=batch, keep=keep, on_progress=on_progress)
                for half in halves(paths))
        result["two halves of the pictures"] = frechet_distance(a, b)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weights.training.frechet", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", help='"bundled", a name from the manifest, or a file')
    parser.add_argument("folder", type=Path, help="pictures to compare with")
    parser.add_argument("--count", type=int, default=COUNT, help="samples of the generator (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first sample")
    parser.add_argument("--truncation", type=float, default=1.0, help="psi; 1: as varied as the generator can")
    parser.add_argument("--floor", action="store_true", help="also two halves of the folder against each other")
    parser.add_argument("--keep", type=Path, help="folder for what is done, so that a run that was cut goes on")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures at a time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    try:
        device = choose_device(given.device)
        paths, generator = pictures_in(given.folder), load(given.generator, device=device)
        with tqdm(unit="picture") as bar:
            def show(done: int, total: int) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            result = measure(generator, paths, Features(device), count=given.count, seed=given.seed, batch=given.batch,
                             truncation=given.truncation, floor=given.floor, keep=given.keep, on_progress=show)
        if given.out is not None:
            with replacing(given.out) as temporary:
                temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in result.items():
        print(f"{name}: {value:.5g}" if isinstance(value, float) else f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
