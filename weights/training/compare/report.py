"""What a comparison found, as one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import torch

from weights.files import replacing
from weights.training.compare.record import Record, Result
from weights.training.frechet import NAME

HALVES = "two halves of the pictures"


def verdicts(results: Mapping[str, Result]) -> dict[str, bool]:
    """Whether the new generator passes, by part; of the parts that were compared and that numbers can decide."""
    found = {}
    if "frechet" in results:
        found["frechet"] = results["frechet"]["new"][NAME] < results["frechet"]["old"][NAME]
    if "photos" in results:
        means = results["photos"]["means"]
        found["photos"] = all(means["new"][name] < means["old"][name] for name in ("lpips", "identity"))
    if "controls" in results:
        old, new = (results["controls"][which]["attributes"] for which in ("old", "new"))
        found["controls"] = all(name in new and new[name]["accuracy"] >= old[name]["accuracy"] for name in old)
    return found


def write_report(record: Record) -> None:
    """Write `report.md` beside `compare.json`, of the parts that are there.

    Raises:
        InputError: it cannot be written.
    """
    results = record.results
    parts = {"frechet": _frechet, "seeds": _seeds, "photos": _photos, "controls": _controls}
    lines = ["# Two generators compared", "", *_generators(record), *_verdict(results)]
    for name, write in parts.items():
        if name in results:
            lines += ["", *write(results[name], record.settings[name])]
    with replacing(record.folder / "report.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; the first row is the head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _generators(record: Record) -> list[str]:
    rows = [["", "old", "new"], *([name, *(record.generators[which][name] for which in ("old", "new"))]
                                  for name in ("hash", "resolution", "numbers"))]
    return [f"{date.today().isoformat()}, PyTorch {torch.__version__}.", "", *table(rows)]


def _verdict(results: Mapping[str, Result]) -> list[str]:
    passed = verdicts(results)
    rows: list[list[object]] = [["question", "answer"]]
    questions = {"frechet": f"Is the {NAME} lower?", "photos": "Are inverted photos nearer, by both means?",
                 "controls": "Do controls reach the accuracy of the old ones, attribute by attribute?"}
    rows += [[question, {True: "yes", False: "**no**"}.get(passed[name], "") if name in passed else "not compared"]
             for name, question in questions.items()]
    rows.append(["Is it plainly better on the sheets?", "for somebody to say who looks at them" if "sheets" in {
        key for name in ("seeds", "photos") for key in results.get(name, {})} else "not compared"])
    return ["", "## Verdict", "", *table(rows)]


def _frechet(result: Result, settings: Result) -> list[str]:
    rows = [["", "old", "new"], [NAME, *(f"{result[which][NAME]:.5f}" for which in ("old", "new"))]]
    return [f"## {NAME}", "", f"{result['new']['samples']} samples of each (seeds from {result['new']['seed']}, "
            f"truncation {result['new']['truncation']:g}) against {result['new']['pictures']} pictures of the folder "
            f"{settings['faces']}; two halves of those are {result['old'][HALVES]:.5f} apart.", "", *table(rows)]


def _seeds(result: Result, settings: Result) -> list[str]:
    last = settings["first"] + settings["count"] - 1
    return ["## The same seeds", "", f"Seeds {settings['first']} to {last}, truncation {settings['truncation']:g}; of "
            "each the old generator's picture on the left, the new one's on the right. A seed is another person in "
            "each: compare how real the faces are, and how they vary.", "", *_pictures(result["sheets"])]


def _photos(result: Result, settings: Result) -> list[str]:
    means, count = result["means"], len(result["photos"])
    rows: list[list[object]] = [["photo", "LPIPS, old", "LPIPS, new", "identity, old", "identity, new", "seconds, old",
                                 "seconds, new"]]
    rows += [[row["photo"], *_cells(row)] for row in result["photos"]]
    rows.append(["**mean**", *_cells(means)])
    nearer = means["new is nearer"]
    lines = ["## Inverted photos", "",
             f"{count} photos of the folder {settings['photos']} by the preset {settings['preset']}, begun from "
             f"{settings['start']}. LPIPS (AlexNet, which inversions minimise) and identity distance (below 0.6 the "
             "same person) are from the crop at the larger resolution. The new generator is nearer in "
             f"{nearer['lpips']} of {count} by LPIPS and in {nearer['identity']} by identity.", "", *table(rows), ""]
    if result["left out"]:
        lines += [*(f"- left out: {why}" for why in result["left out"].values()), ""]
    return [*lines, "From left to right: crop, old, new.", "", *_pictures(result["sheets"])]


def _cells(row: Result) -> list[str]:
    return [f"{row[which][name]:.{digits}f}" for name, digits in (("lpips", 3), ("identity", 2), ("seconds", 1))
            for which in ("old", "new")]


def _controls(result: Result, settings: Result) -> list[str]:
    old, new = (result[which]["attributes"] for which in ("old", "new"))
    rows: list[list[object]] = [["attribute", "held-out accuracy, old", "new", "edits that are right, old", "new",
                                 "edits that reach, old", "new"]]
    columns = (("held-out accuracy", False), ("accuracy", True), ("reached", False))
    rows += [[name, *(_share(part.get(name), key, error) for key, error in columns for part in (old, new))]
             for name in {**old, **new}]
    lines = ["## Controls", "",
             f"Made by the same recipe on {settings['count']} samples of each generator, and measured on the last "
             "third of them. Held-out accuracy is the balanced accuracy of labels; an edit is right if the target's "
             "label changed and no other did (docs/evaluation.md); with standard errors.", "", *table(rows), ""]
    for which in ("old", "new"):
        lines.append(f"- {which}: {result[which]['controls']}")
        lines += [f"- {which}: {name} is not judged: {why}" for name, why in result[which].get("left out", {}).items()]
    return lines


def _share(row: Result | None, key: str, error: bool) -> str:
    if row is None or row[key] is None:
        return "none"
    return f"{row[key]:.3f} ± {row['error']:.3f}" if error else f"{row[key]:.3f}"


def _pictures(names: Sequence[str]) -> list[str]:
    return [f"![{name.removesuffix('.png')}]({name})" for name in names]
