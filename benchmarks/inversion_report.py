"""Table, plots and contact sheets of `benchmarks.inversion`, from the files that it has written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from editing import join
from inversion import load_inversion, save_picture

Row = dict[str, Any]
ROWS, CURVES = "inversion.csv", "curves.csv"
WORST = 10
EDITED = ("smile", "gender", "age", "eyeglasses")
NUMBERS = {"lpips_alex": ("LPIPS, AlexNet", ".3f"), "mse": ("MSE", ".4f"), "ms_ssim": ("MS-SSIM", ".3f"),
           "identity": ("identity distance", ".2f"), "fine": ("fine detail of the face, over the crop's", ".2f"),
           "seconds": ("seconds", ".1f"),
           **{f"{name}_{what}": (f"{name} 1: {words}", form) for name in EDITED
              for what, words, form in (("identity", "identity distance", ".2f"), ("tone", "colour of face", ".1f"))}}
SHARES = {f"{name}_{what}": f"{name} 1: {words}" for name in EDITED
          for what, words in (("flipped", "flips"), ("held", "others hold"))}
GRID = 60  # Times at which curves are averaged.


def write_report(out: Path, machine: Mapping[str, str], peaks: Mapping[str, float]) -> None:
    """Write report.md, inversion.png and the sheets of the worst photos."""
    rows, curves = _read(out / ROWS), _read(out / CURVES)
    presets = [preset for preset in peaks if any(row["preset"] == preset for row in rows)]
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", *_table(rows, presets, peaks)]
    if curves:
        lines += ["", *_curve_lines(curves)]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _plot(rows, curves, presets, out / "inversion.png")
    for preset in presets:
        _sheet(rows, preset, out)


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: value if key in ("photo", "preset", "method") else float(value) if value else None
                 for key, value in row.items()} for row in csv.DictReader(file)]


def _table(rows: Sequence[Row], presets: Sequence[str], peaks: Mapping[str, float]) -> Iterable[str]:
    """Median, and mean of the worst ten, of each number; shares of the edits that did what they should."""
    yield f"Over {len({row['photo'] for row in rows})} photos: median (mean of the worst {WORST})."
    yield ""
    yield f"| | {' | '.join(presets)} |"
    yield f"|---|{'---|' * len(presets)}"
    for key, (title, form) in NUMBERS.items():
        cells = []
        for preset in presets:
            values = sorted((row[key] for row in rows if row["preset"] == preset), reverse=key != "ms_ssim")
            cells.append(f"{median(values):{form}} ({mean(values[:WORST]):{form}})")
        yield f"| {title} | {' | '.join(cells)} |"
    for key, title in SHARES.items():
        shares = [mean(row[key] for row in rows if row["preset"] == preset and row[key] is not None)
                  for preset in presets]
        yield f"| {title} | {' | '.join(f'{100 * share:.0f}%' for share in shares)} |"
    yield f"| peak memory of the process, GB | {' | '.join(f'{peaks[preset]:.2f}' for preset in presets)} |"


def _curve_lines(curves: Sequence[Row]) -> Iterable[str]:
    """When each method reaches the usual projector's final distance, and what it has at the usual one's time."""
    yield "| photo by photo, median | " + " | ".join(("final LPIPS, AlexNet", "seconds",
                                                      "time to the usual one's final LPIPS")) + " |"
    yield "|---|---|---|---|"
    photos = sorted({row["photo"] for row in curves})
    usual = {photo: _of(curves, photo, "usual projector")[-1] for photo in photos}
    for method in dict.fromkeys(row["method"] for row in curves):
        ends = [_of(curves, photo, method)[-1] for photo in photos]
        cells = [f"{median(end[key] for end in ends):{form}}" for key, form in
                 (("lpips_alex", ".3f"), ("seconds", ".1f"))]
        ratios = [_reached(_of(curves, photo, method), usual[photo]["lpips_alex"], usual[photo]["seconds"])
                  for photo in photos]
        found = [ratio for ratio in ratios if ratio is not None]
        cells.append(f"1/{1 / median(found):.0f} of its time, {len(found)} of {len(photos)} photos" if found
                     else "never")
        yield f"| {method} | {' | '.join(cells)} |"


def _of(curves: Sequence[Row], photo: str, method: str) -> list[Row]:
    return [row for row in curves if row["photo"] == photo and row["method"] == method]


def _reached(curve: Sequence[Row], value: float, seconds: float) -> float | None:
    """The part of `seconds` after which a curve is at `value` or below; None: never."""
    return next((row["seconds"] / seconds for row in curve if row["lpips_alex"] <= value), None)


def _plot(rows: Sequence[Row], curves: Sequence[Row], presets: Sequence[str], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for method in dict.fromkeys(row["method"] for row in curves):
        times, values = _mean_curve(curves, method)
        left.plot(times, values, "k--" if method == "usual projector" else "-", label=method)
    left.set(xscale="log", xlabel="seconds", ylabel="LPIPS (AlexNet), mean over photos", ylim=0)
    left.legend()
    for preset in presets:
        own = [row for row in rows if row["preset"] == preset]
        right.scatter([row["lpips_alex"] for row in own], [row["identity"] for row in own], 12, label=preset)
    right.set(xlabel="LPIPS (AlexNet)", ylabel="identity distance", xlim=0, ylim=0)
    right.legend()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _mean_curve(curves: Sequence[Row], method: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the photos of the best so far, from when all have begun to when the first has ended."""
    photos = sorted({row["photo"] for row in curves})
    each = [_of(curves, photo, method) for photo in photos]
    times = np.geomspace(max(rows[0]["seconds"] for rows in each), min(rows[-1]["seconds"] for rows in each), GRID)
    values = [np.interp(np.log(times), np.log([row["seconds"] for row in rows]), [row["lpips_alex"] for row in rows])
              for rows in each]
    return times, np.mean(values, axis=0)


def _sheet(rows: Sequence[Row], preset: str, out: Path) -> None:
    """The photos with the highest LPIPS: crops above, inversions below."""
    own = sorted((row for row in rows if row["preset"] == preset), key=lambda row: -row["lpips_alex"])[:WORST]
    records = [load_inversion(out / "inversions" / f"{row['photo']}-{preset}.safetensors") for row in own]
    save_picture(out / f"worst-{preset}.png", join(np.stack([[record.crop for record in records],
                                                             [record.picture for record in records]])))
