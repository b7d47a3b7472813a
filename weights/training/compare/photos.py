"""The same photos inverted by both generators: side by side, with how near each comes to the crop and the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from inversion import (
    FaceTooSmallError,
    Inversion,
    NoFaceError,
    PerceptualDistance,
    Projector,
    ProjectorSettings,
    align,
    describe_crop,
    find_faces,
    identity_distance,
    load_inversion,
    open_photo,
    preset,
    save_inversion,
    save_picture,
)
from stylegan2 import Generator, from_pixels
from weights.errors import InputError
from weights.training.compare.record import OnProgress, Pair, Result
from weights.training.compare.sheets import SHOWN, Group, brought, sheet

A_SHEET, COLUMNS = 10, 2   # Photos on a sheet, and in a row of it.


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """So many of the files, spread evenly; all if there are no more."""
    count = min(count, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


class PhotoComparison:
    """Inverts photos by both generators; each inversion is kept, so that one that was cut goes on.

    Args:
        pair: The generators.
        folder: Where sheets and inversions go.
        settings: How crops are inverted.
        on_progress: Told after each photo.
    """

    def __init__(self, pair: Pair, folder: Path, settings: ProjectorSettings, on_progress: OnProgress) -> None:
        self.pair, self.folder, self.settings, self.on_progress = pair, folder, settings, on_progress
        self.distance = PerceptualDistance(device=pair.new.device)
        self.projectors = {which: Projector(generator, distance=self.distance) for which, generator in pair}

    def run(self, paths: Sequence[Path]) -> Result:
        """Invert the largest face of each photo, measure, and write `photos-1.png` ... into the folder.

        Returns:
            A row for each photo, means, and the names of the sheets. Distances are measured at the larger resolution
            of the two, from the crop at that size: what a smaller picture lacks counts.
        Raises:
            InputError: none of the photos has a face that is large enough, or one cannot be read.
        """
        try:
            (self.folder / "inversions").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror}); choose another --out") from error
        rows: list[Result] = []
        groups: list[Group] = []
        left_out: dict[str, str] = {}
        for index, path in enumerate(paths):
            try:
                row, group = self._photo(index, path)
            except (NoFaceError, FaceTooSmallError) as error:
                left_out[path.name] = str(error)
            else:
                rows.append(row)
                groups.append(group)
            self.on_progress("photos", index + 1, len(paths))
        if not rows:
            raise InputError(f"{paths[0].parent}: no photo in it has a face that can be inverted; name another folder")
        return {"photos": rows, "left out": left_out, "means": means(rows), "sheets": self._sheets(groups)}

    def _photo(self, index: int, path: Path) -> tuple[Result, Group]:
        photo = open_photo(path)
        face = find_faces(photo)[0]
        whole = align(photo, face, self.pair.side)
        row: Result = {"photo": path.stem}
        pictures, captions = [whole], [path.stem]
        for which, generator in self.pair:
            crop = align(photo, face, generator.resolution)
            kept = self.folder / "inversions" / f"{index:02}-{path.stem}-{which}.safetensors"
            inversion = self._inversion(kept, which, generator, crop)
            picture = brought(inversion.picture, self.pair.side)
            found = {**self._measure(whole, picture), "seconds": inversion.seconds}
            row[which] = {name: round(value, 4) for name, value in found.items()}
            pictures.append(picture)
            captions.append(f"{which}, LPIPS {found['lpips']:.3f}, identity {found['identity']:.2f}")
        return row, Group([brought(picture, max(self.pair.side, SHOWN)) for picture in pictures], captions)

    def _inversion(self, kept: Path, which: str, generator: Generator, crop: np.ndarray) -> Inversion:
        if kept.is_file():
            found = load_inversion(kept, generator=generator)
            if np.array_equal(found.crop, crop):  # Else the file of this name is another photo than it was.
                return found
        made = self.projectors[which].invert(crop, settings=self.settings)
        save_inversion(kept, made)
        return made

    @torch.no_grad()
    def _measure(self, crop: np.ndarray, picture: np.ndarray) -> dict[str, float]:
        a, b = (from_pixels(each, device=self.pair.new.device) for each in (crop, picture))
        return {"lpips": float(self.distance(a, b)),
                "identity": identity_distance(describe_crop(crop), describe_crop(picture))}

    def _sheets(self, groups: Sequence[Group]) -> list[str]:
        names = []
        for number, start in enumerate(range(0, len(groups), A_SHEET), 1):
            names.append(f"photos-{number}.png")
            save_picture(self.folder / names[-1], sheet(groups[start:start + A_SHEET], COLUMNS))
        return names


def means(rows: Sequence[Result]) -> Result:
    """The means of both, and in how many photos the new one is nearer."""
    result: Result = {which: {name: round(mean(row[which][name] for row in rows), 4) for name in rows[0][which]}
                      for which in ("old", "new")}
    result["new is nearer"] = {name: sum(row["new"][name] < row["old"][name] for row in rows)
                               for name in ("lpips", "identity")}
    return result


def projector_settings(name: str, start: str) -> ProjectorSettings:
    """Those of a preset, begun from `start`: what a new generator has no encoder for would favour the old one."""
    return replace(preset(name), start=start)
