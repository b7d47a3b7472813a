"""Banks: folders of synthetic people, thousands of latents with their pictures and what was said of them.

    bank.json                      what makes the samples: space, generator hash, first seed, count, truncation
    pictures/000123.png            sample 123, whose seed is the first seed + 123
    latents/00000.safetensors      "w", float32 [500, w_dim]: shards in the order of the samples
    scores.safetensors             semantic scores (see `learning.bank_scores`)
    gradients.safetensors          how those of the first samples change with w
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from generators import Generator, Space, in_quickest_precision, to_pixels
from gradctrl.scores import Scores
from inversion.photo import open_photo, save_picture
from learning.bank_scores import read_gradients, read_scores, write_gradients, write_scores
from weights.errors import InputError
from weights.files import replacing
from weights.tensors import read_tensors, write_tensors

FORMAT = "gradctrl-bank-2"
FORMER = "gradctrl-bank-1"
LATENTS_FORMAT = "gradctrl-bank-latents-1"
SHARD = 500  # Samples a file of latents, which is also how much work an interruption can undo.
PICTURES = 256  # Side of the pictures in pixels, where the generator draws such; classifiers see no more.
ENDINGS = ("png", "webp", "jpg")
_TYPES: dict[str, tuple[type, ...]] = {
    "space": (str,), "generator_hash": (str,), "truncation": (float, int), "seed": (int,), "count": (int,),
    "ending": (str,), "resolution": (int,), "w_dim": (int,),
}  # fmt: skip
_OPTIONS = {"generator_hash": "--generator and --class", "ending": "--format"}  # What the command line calls a setting.


@dataclass(frozen=True, kw_only=True)
class SampleBank:
    """Samples of one generator in a folder; `open_bank` opens one, `write_bank` makes one."""

    folder: Path
    space: str         # `Space.to_text` of the latents.
    generator_hash: str  # `Generator.identity` of what drew the pictures.
    truncation: float  # psi of the mapping network; 1: as varied as the generator can.
    seed: int          # Of sample 0; sample i has seed + i.
    count: int         # How many samples.
    ending: str        # Of the pictures: "png", "webp" or "jpg".
    resolution: int    # Side of the pictures in pixels.
    w_dim: int         # Length of w.

    @property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on, as JSON can hold it; two banks of equal settings have the same samples."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    @property
    def shards(self) -> list[range]:
        """The samples of each file of latents."""
        return [range(start, min(start + SHARD, self.count)) for start in range(0, self.count, SHARD)]

    def picture_path(self, index: int) -> Path:
        """The picture file of a sample.

        Raises:
            IndexError: there is no such sample.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"{self.folder}: samples are numbered 0 to {self.count - 1}, not {index}")
        return self.folder / "pictures" / f"{index:06}.{self.ending}"

    def latents_path(self, shard: range) -> Path:
        """The file of latents of one of `shards`."""
        return self.folder / "latents" / f"{shard.start // SHARD:05}.safetensors"

    def latents(self) -> Tensor:
        """All latents w, float32 [N, w_dim].

        Raises:
            InputError: a file is missing, damaged, or of another bank; the message names it.
        """
        return torch.cat([self._read_shard(shard) for shard in self.shards])

    def pictures(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Pictures of the samples [start, stop), uint8 [n, R, R, 3] RGB; stop may lie beyond the last one.

        Raises:
            InputError: a picture is missing, damaged or of another size; the message names it.
        """
        pictures = [self._read_picture(index) for index in range(start, min(stop, self.count))]
        return np.stack(pictures) if pictures else np.zeros([0, self.resolution, self.resolution, 3], np.uint8)

    def scores(self) -> dict[str, Scores]:
        """The scores that were saved, by attribute; none if there are none.

        Raises:
            InputError: their file is damaged, or belongs to another bank.
        """
        return read_scores(self._scores_path, self.settings)

    def save_scores(self, scores: Iterable[Scores]) -> None:
        """Save scores of all samples; they replace those of the same attributes, and others stay.

        Raises:
            InputError: scores of more or fewer samples than there are, or their file cannot be read or written.
        """
        scores = list(scores)
        for item in scores:
            if len(item.values) != self.count:
                raise InputError(self.folder,
                                 f"{item.attribute} by {item.scorer} has scores of {len(item.values)} samples, "
                                 f"and the bank has {self.count}", "score this bank")
        merged = {**self.scores(), **{item.attribute: item for item in scores}}
        write_scores(self._scores_path, merged.values(), self.settings)

    def gradients(self) -> dict[str, Tensor]:
        """Gradients by w of the scores of the first M samples [M, C, w_dim], by attribute; none if none were measured.

        Those of an attribute that has been scored otherwise since are left out.

        Raises:
            InputError: their file, or that of the scores, is damaged, or belongs to another bank.
        """
        return read_gradients(self._gradients_path, self.scores(), self.settings)

    def save_gradients(self, gradients: Mapping[str, Tensor]) -> None:
        """Save gradients of scores that the bank has; they replace those of the same attributes, and others stay.

        Raises:
            InputError: the files cannot be read or written.
        """
        write_gradients(self._gradients_path, {**self.gradients(), **gradients}, self.scores(), self.settings)

    @property
    def _gradients_path(self) -> Path:
        return self.folder / "gradients.safetensors"

    @property
    def _scores_path(self) -> Path:
        return self.folder / "scores.safetensors"

    def _read_shard(self, shard: range) -> Tensor:
        path = self.latents_path(shard)
        remedy = "delete it, and run `gradctrl sample --bank` again with the same settings"
        tensors, metadata = read_tensors(path, format=LATENTS_FORMAT, what="latents of a bank", remedy=remedy)
        if metadata.get("generator") != self.generator_hash:
            raise InputError(path, "its latents belong to another generator than the bank's", remedy)
        w = tensors.get("w", torch.empty(0))
        if w.shape != (len(shard), self.w_dim) or w.dtype != torch.float32 or not w.isfinite().all():
            raise InputError(path,
                             f"must hold finite latents w, float32 [{len(shard)}, {self.w_dim}], not {w.dtype} "
                             f"{list(w.shape)}", remedy)
        return w

    def _read_picture(self, index: int) -> npt.NDArray[np.uint8]:
        path = self.picture_path(index)
        remedy = "delete it, and run `gradctrl sample --bank` again with the same settings"
        if not path.is_file():
            raise InputError(path, "no such picture", "run `gradctrl sample --bank` again with the same settings")
        try:
            pixels = open_photo(path).pixels
        except InputError as error:
            raise InputError(path, f"not readable as a picture ({error})", remedy) from error
        if pixels.shape != (self.resolution, self.resolution, 3):
            raise InputError(path,
                             f"{pixels.shape[1]} x {pixels.shape[0]} pixels, and the bank's pictures have "
                             f"{self.resolution} x {self.resolution}", remedy)
        return pixels

    def _done(self) -> int:
        """How many samples have their latent and their picture."""
        names = _names(self.folder / "pictures")
        return sum(sum(self.picture_path(index).name in names for index in shard)
                   for shard in self.shards if self.latents_path(shard).is_file())


def open_bank(folder: str | os.PathLike[str], *, generator: Generator | None = None) -> SampleBank:
    """Open a bank that is whole.

    Args:
        folder: The bank's folder.
        generator: One that is going to be used with its latents: of the same space; None: any.

    Raises:
        InputError: not a bank, not whole (then the message tells how many samples there are), damaged, or of another
            generator.
    """
    bank = _read_settings(Path(folder))
    if generator is not None and not generator.space.matches(Space.from_text(bank.space)):
        raise InputError(bank.folder, f"its samples are of the space {Space.from_text(bank.space).short}, and this "
                         f"generator's is {generator.space.short}", "name a generator of that space with --generator, "
                         "or sample a new bank")
    done = bank._done()
    if done < bank.count:
        raise InputError(bank.folder, f"{done} of {bank.count} samples are there",
                         "run `gradctrl sample --bank` again with the same settings to make the others")
    bank.latents()
    return bank


def as_it_drew(folder: str | os.PathLike[str], generator: Generator) -> Generator:
    """The generator as it drew a bank: a class-conditional one of the class of the samples, any other as it is.

    Raises:
        InputError: not a bank.
    """
    drawn = re.fullmatch(rf"{generator.hash} class (\d+)", _read_settings(Path(folder)).generator_hash)
    return generator.of_class(int(drawn[1])) if drawn else generator


@torch.no_grad()
def write_bank(generator: Generator, folder: str | os.PathLike[str], *, count: int, seed: int = 0,
               truncation: float = 1.0, ending: str = "png", batch: int = 8,
               on_progress: Callable[[int, int], None] | None = None) -> SampleBank:
    """Draw samples from W (z ~ N(0, I)) into a folder, in memory bounded by one shard of latents and one batch.

    One that was interrupted goes on where it was when it is called again with the same settings, and pictures that
    are missing are made again; with a larger count it grows (its scores are then to be made again). The result is that
    of an uninterrupted run, bit for bit where device and batch are the same (others round differently). Pictures are
    drawn in bfloat16 where that is quicker, from which 0.2% of a classifier's labels turn (docs/evaluation.md).

    Args:
        generator: Whose samples.
        folder: New, empty, or a bank that these settings began; made if it is missing.
        count: How many samples.
        seed: Of the first; the others follow.
        truncation: psi: w is moved towards its mean by 1 - psi.
        ending: "png" (lossless), "webp" or "jpg".
        batch: Samples that are rendered at once.
        on_progress: Called with how many samples are there, and `count`, after each batch.

    Raises:
        InputError: the folder has other things in it, or a bank of other settings (the message names the setting), or
            cannot be written.
    """
    if count < 1 or batch < 1:
        raise InputError(None, f"count and batch must be 1 or more, not {count} and {batch}")
    if ending not in ENDINGS:
        raise InputError(None, f"pictures of a bank end in {', '.join(ENDINGS)}, not {ending!r}", "choose one of these")
    bank = SampleBank(folder=Path(folder), space=generator.space.to_text(), generator_hash=generator.identity,
                      truncation=float(truncation), seed=seed, count=count,
                      ending=ending, resolution=generator.side_for(PICTURES), w_dim=generator.w_dim)
    _begin(bank)
    quickest = in_quickest_precision(generator)
    for shard in bank.shards:
        _write_shard(quickest, bank, shard, batch, on_progress)
    return open_bank(bank.folder, generator=generator)


def _write_shard(generator: Generator, bank: SampleBank, shard: range, batch: int,
                 on_progress: Callable[[int, int], None] | None) -> None:
    """Make what is missing of one shard; batches begin with the shard, so that going on repeats them exactly."""
    path, parts = bank.latents_path(shard), []
    has_latents = path.is_file()
    for start in range(shard.start, shard.stop, batch):
        indices = range(start, min(start + batch, shard.stop))
        missing = [index for index in indices if not bank.picture_path(index).is_file()]
        if missing or not has_latents:
            latents = generator.sample([bank.seed + index for index in indices], truncation=bank.truncation)
            parts.append(latents.float().cpu())
            _save_pictures(generator, bank, indices, latents, missing)
        if on_progress is not None:
            on_progress(indices.stop, bank.count)
    if not has_latents:
        write_tensors(path, {"w": torch.cat(parts)}, {"format": LATENTS_FORMAT, "generator": bank.generator_hash})


def _save_pictures(generator: Generator, bank: SampleBank, indices: range, latents: Tensor,
                   missing: Sequence[int]) -> None:
    if missing:
        pictures = to_pixels(generator.render(latents, bank.resolution))
        for index in missing:
            save_picture(bank.picture_path(index), pictures[index - indices.start])


def _begin(bank: SampleBank) -> None:
    """Make the folder and write bank.json, or check that the bank that is there has the same settings."""
    path = bank.folder / "bank.json"
    if path.is_file():
        old = _read_settings(bank.folder)
        settings = old.settings
        for name, wanted in bank.settings.items():
            if name != "space" and settings[name] != wanted and not (name == "count" and wanted > settings[name]):
                option = _OPTIONS.get(name, f"--{name}")
                raise InputError(bank.folder, f"holds a bank with {name} {settings[name]}, not {wanted}",
                                 f"give {option} as it was to go on with it, or choose another folder")
        if bank.count > old.count:
            _grow(old, bank)
    else:
        if any(not name.startswith(".") for name in _names(bank.folder)):
            raise InputError(bank.folder, "has other files in it and no bank.json", "choose a new folder for the bank")
        _write_settings(bank)
    for part in ("pictures", "latents"):
        _make_folder(bank.folder / part)


def _grow(old: SampleBank, bank: SampleBank) -> None:
    """Make room for more samples: the last shard is made again if it was not full, as batches round together."""
    if old.shards[-1] not in bank.shards:
        for path in (old.latents_path(old.shards[-1]), *map(old.picture_path, old.shards[-1])):
            path.unlink(missing_ok=True)
    _write_settings(bank)


def _write_settings(bank: SampleBank) -> None:
    _make_folder(bank.folder)
    with replacing(bank.folder / "bank.json") as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **bank.settings}, indent=2) + "\n", encoding="utf-8")


def _read_settings(folder: Path) -> SampleBank:
    """What bank.json says."""
    path = folder / "bank.json"
    remedy = "sample a new bank into another folder"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(folder, "not a bank of samples (it has no bank.json)",
                         "make one with `gradctrl sample --bank FOLDER`") from error
    except (OSError, ValueError) as error:
        raise InputError(path, f"not readable as JSON ({error})", remedy) from error
    if isinstance(content, dict) and content.get("format") == FORMER:
        raise InputError(path, "a bank of a former version of this program, which does not name its space", remedy)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(path, f"not a bank of this program (its format must be {FORMAT!r})", remedy)
    for name, types in _TYPES.items():
        if not isinstance(content.get(name), types) or isinstance(content[name], bool):
            raise InputError(path,
                             f"{name} must be {' or '.join(t.__name__ for t in types)}, not {content.get(name)!r}",
                             remedy)
    if content["count"] < 1 or content["ending"] not in ENDINGS:
        raise InputError(path, f"{content['count']} samples as {content['ending']!r} cannot be", remedy)
    return SampleBank(folder=folder, **{name: content[name] for name in _TYPES})


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(folder, f"cannot be made ({error.strerror or error})", "choose another folder") from error


def _names(folder: Path) -> set[str]:
    """Names of what is in a folder; none if there is no such folder."""
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise InputError(folder, f"cannot be read ({error.strerror or error})", "choose another folder") from error
