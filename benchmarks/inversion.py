"""How faithful and how fast inversions are, and whether they can be edited, beside the usual projector.

    python -m benchmarks.inversion FOLDER --out RESULTS [--presets fast,balanced,faithful] [--usual N] [--every N]

FOLDER holds photos, of which the largest faces are taken. Every N-th photo with --every; the usual projector (see
`benchmarks.usual_projector`) runs on N of them, spread evenly, and beside it the presets and a search in W like it. In
RESULTS: inversion.csv (a row for each photo and preset), curves.csv (LPIPS over time), inversion.png (both as plots),
worst-PRESET.png (the ten photos that came out worst), and report.md. A run that was cut goes on.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.inversion_report import CURVES, EDITED, ROWS, Row, write_report
from benchmarks.machine import describe, peak_memory
from benchmarks.similarity import face_colour, ms_ssim
from benchmarks.usual_projector import project
from directions import load as load_controls
from editing import Editor
from generators import Generator, choose_device, from_pixels, load, to_pixels
from inversion import (
    PRESETS,
    Inversion,
    PerceptualDistance,
    Progress,
    Projector,
    ProjectorSettings,
    align,
    describe_crop,
    find_faces,
    fine_detail,
    identity_distance,
    open_photo,
    save_inversion,
)
from learning.scorers import ImageScorer, load_scorer

USUAL = "usual projector"
SAME_SPACE = {"W, whole crop": ProjectorSettings(steps=400, focus=1.0, prior=0.001)}  # As the usual projector searches.
SIDE = 256  # Of the pictures that the usual projector compares, in pixels.
LOOKS = (1, 2, 5, 10, 20, 30, 40, 50, 75, *range(100, 1001, 50))  # Steps at which the usual projector is measured.


@dataclass(frozen=True)
class Tools:
    """All that measuring needs, built once."""

    generator: Generator
    projector: Projector
    editor: Editor
    scorer: ImageScorer
    alex: PerceptualDistance


def photos_in(folder: Path, every: int) -> list[Path]:
    """Every so many-th photo of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    return paths[::every]


def measure(tools: Tools, name: str, preset: str, inversion: Inversion) -> Row:
    """A row of the table."""
    crop, picture = from_pixels(inversion.crop), from_pixels(inversion.picture)
    with torch.no_grad():
        alex = float(tools.alex(picture, crop))
    row: Row = {"photo": name, "preset": preset, "lpips_alex": alex, "mse": float((picture - crop).square().mean()),
                "ms_ssim": ms_ssim(picture, crop), "identity": inversion.identity or 0.0,
                "fine": fine_detail(inversion.picture) / fine_detail(inversion.crop),
                "seconds": inversion.seconds, "steps": inversion.steps}
    return {**row, **_edited(tools, inversion)}


def _edited(tools: Tools, inversion: Inversion) -> Row:
    """What the image classifier says of edits of 1 away from the face's own class, and how near the person stays."""
    row: Row = {}
    before = _labels(tools, inversion.picture)
    tools.editor.set_latent(inversion)
    own = describe_crop(inversion.crop)
    colour = face_colour(inversion.picture)
    for name in EDITED:
        control = tools.editor.controls.control(name)
        output, sign = control.heading(1 if before[name] == 0 else 0)
        edited = tools.editor.edit({control.keys[output]: float(sign)})
        after = _labels(tools, edited)
        others = [other for other in EDITED if other != name]
        row[f"{name}_flipped"] = int(after[name] != before[name])
        row[f"{name}_held"] = sum(after[other] == before[other] for other in others) / len(others)
        row[f"{name}_identity"] = identity_distance(own, describe_crop(edited))
        row[f"{name}_tone"] = float(np.linalg.norm(face_colour(edited) - colour))
    return row


def _labels(tools: Tools, picture: np.ndarray) -> dict[str, int]:
    return {name: int(scores.argmax()) for name, scores in tools.scorer(from_pixels(picture)).items()}


def run_presets(tools: Tools, paths: Sequence[Path], presets: Sequence[str], out: Path) -> None:
    """Invert each photo by each preset; what was done before is not done again."""
    done = {(row["photo"], row["preset"]) for row in _read(out / ROWS)}
    (out / "inversions").mkdir(exist_ok=True)
    for path in paths:
        if all((path.stem, preset) in done for preset in presets):
            continue
        photo = open_photo(path)
        crop = align(photo, find_faces(photo)[0], tools.generator.img_resolution)
        for preset in presets:
            if (path.stem, preset) not in done:
                inversion = tools.projector.invert(crop, settings=PRESETS[preset])
                save_inversion(out / "inversions" / f"{path.stem}-{preset}.safetensors", inversion)
                row = measure(tools, path.stem, preset, inversion)
                _append(out / ROWS, row)
                print(f"{path.stem} {preset}: LPIPS {row['lpips_alex']:.3f}, identity {row['identity']:.2f}, "
                      f"{row['seconds']:.1f} s", flush=True)


def run_curves(tools: Tools, paths: Sequence[Path], presets: Sequence[str], out: Path) -> None:
    """LPIPS over time of the usual projector, of searches in the same space, and of the presets."""
    done = {(row["photo"], row["method"]) for row in _read(out / CURVES)}
    settings = {**{preset: PRESETS[preset] for preset in presets}, **SAME_SPACE}
    for path in paths:
        photo = open_photo(path)
        crop = align(photo, find_faces(photo)[0], tools.generator.img_resolution)
        for method in (USUAL, *settings):
            if (path.stem, method) in done:
                continue
            if method == USUAL:
                rows = _usual_curve(tools, path.stem, crop)
            else:
                rows = _own_curve(tools, path.stem, method, settings[method], crop)
            for row in rows:
                _append(out / CURVES, row)
            print(f"{path.stem}: {method}", flush=True)


def _usual_curve(tools: Tools, name: str, crop: np.ndarray) -> list[Row]:
    target, rows = _target(tools, crop), []

    def look(step: int, seconds: float, picture: torch.Tensor) -> None:
        if step in LOOKS:
            rows.append(_point(tools, name, USUAL, step, seconds, to_pixels(picture)[0], target))

    project(tools.generator, tools.alex, target, on_step=look)
    return rows


def _target(tools: Tools, crop: np.ndarray) -> torch.Tensor:
    """A crop as the usual projector compares it: [1, 3, s, s]."""
    side = tools.generator.side_for(SIDE)
    return F.adaptive_avg_pool2d(from_pixels(crop, device=tools.generator.device), side)


def _own_curve(tools: Tools, name: str, method: str, settings: ProjectorSettings, crop: np.ndarray) -> list[Row]:
    target = _target(tools, crop)
    seen: list[Progress] = []
    tools.projector.invert(crop, settings=settings, every=5, on_step=seen.append)
    return [_point(tools, name, method, progress.step, progress.seconds, progress.pictures[0], target)
            for progress in seen]


@torch.no_grad()
def _point(tools: Tools, name: str, method: str, step: int, seconds: float, picture: np.ndarray,
           target: torch.Tensor) -> Row:
    shown = F.interpolate(from_pixels(picture, device=target.device), size=target.shape[2:], mode="area")
    return {"photo": name, "method": method, "step": step, "seconds": seconds,
            "lpips_alex": float(tools.alex(shown, target)),
            "mse": float((shown - target).square().mean())}


def peak_of(preset: str, photo: Path, arguments: argparse.Namespace) -> float:
    """The most memory in GB that one inversion holds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.inversion", str(photo), "--peak", preset, "--generator",
               arguments.generator, "--device", arguments.device, "--threads", str(arguments.threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1])


def _print_peak(photo_file: Path, preset: str, generator: Generator) -> None:
    photo = open_photo(photo_file)
    crop = align(photo, find_faces(photo)[0], generator.img_resolution)
    Projector(generator).invert(crop, settings=PRESETS[preset])
    print(torch.cuda.max_memory_allocated() / 1e9 if generator.device.type == "cuda" else peak_memory())


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _append(path: Path, row: Row) -> None:
    new = not path.is_file()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.5g}" if isinstance(value, float) else value for key, value in row.items()})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("inversion-benchmark"))
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--usual", type=int, default=5, help="photos that the usual projector runs on")
    parser.add_argument("--generator", default="bundled")
    parser.add_argument("--controls", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    generator = load(arguments.generator, device=device)
    if arguments.peak:
        _print_peak(arguments.folder, arguments.peak, generator)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    presets = arguments.presets.split(",")
    alex = PerceptualDistance("alex", device=device)
    tools = Tools(generator, Projector(generator, distance=alex), Editor(generator, load_controls(arguments.controls)),
                  load_scorer("bundled"), alex)
    _ = tools.projector.statistics, tools.projector.encoder  # Built before anything is timed.
    paths = photos_in(arguments.folder, arguments.every)
    spread = np.linspace(0, len(paths) - 1, min(arguments.usual, len(paths))).round().astype(int)
    run_curves(tools, [paths[index] for index in spread], presets, arguments.out)
    run_presets(tools, paths, presets, arguments.out)
    peaks = {preset: peak_of(preset, paths[0], arguments) for preset in presets}
    write_report(arguments.out, describe(device), peaks)


if __name__ == "__main__":
    main()
