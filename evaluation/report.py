"""What an evaluation writes: report.md, CSV files, plots, strips of successes and failures, and measured controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from directions import save
from editing.editor import Editor
from editing.strips import join
from evaluation.evaluation import Evaluation, Results
from evaluation.plots import AXES, plot_ablation, plot_dependency, plot_scatter
from evaluation.tables import (
    Row,
    ablation_rows,
    accuracy_rows,
    dependency_rows,
    markdown,
    scatter_rows,
    write_csv,
)
from inversion import save_picture
from learning.contenders import TITLES
from weights.files import replacing

SHOWN = 6              # Edits of each attribute in a strip.
SIDE = 128             # Of their pictures, in pixels, where the generator draws such.
SCATTER = ("smile", "gender")


def write_report(evaluation: Evaluation, results: Results) -> list[Path]:
    """Write everything into the evaluation's folder and return the paths; the first is report.md."""
    folder = evaluation.folder.path
    pair = SCATTER if all(name in results.trials.attributes for name in SCATTER) else results.trials.attributes[:2]
    tables = {"accuracy": accuracy_rows(results), "dependency": dependency_rows(results),
              "ablations": ablation_rows(results)}
    if len(pair) == 2:
        tables["scatter"] = scatter_rows(results, *pair)
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
    pictures = _plots(results, folder, pair) + _strips(evaluation, results, folder)
    for method, controls in results.controls.items():
        (folder / "measured").mkdir(exist_ok=True)
        save(folder / "measured" / f"{method}.safetensors", controls.values(), spaces=controls.spaces)
    report = folder / "report.md"
    with replacing(report) as temporary:
        temporary.write_text(_text(evaluation, results, pictures), encoding="utf-8")
    measured = [folder / "measured" / f"{method}.safetensors" for method in results.controls]
    return [report, *(folder / f"{name}.csv" for name in tables), *pictures, *measured]


def _plots(results: Results, folder: Path, pair: tuple[str, ...]) -> list[Path]:
    paths = [folder / "dependency.png"]
    plot_dependency(results, paths[0])
    if len(pair) == 2:
        paths.append(folder / "scatter.png")
        plot_scatter(results, pair[0], pair[1], paths[-1])
    for figure in AXES:
        if any(point.figure == figure and point.verdict for point in results.ablations):
            paths.append(folder / f"{figure}.png")
            plot_ablation(results, figure, paths[-1])
    return paths


def _strips(evaluation: Evaluation, results: Results, folder: Path) -> list[Path]:
    """For each method two pictures: edits that were right and that were wrong, a row an attribute, before and after."""
    paths = []
    for method, verdict in results.verdicts.items():
        for name, chosen in (("successes", verdict.correct), ("failures", ~verdict.correct)):
            picture = _strip(evaluation, results, method, chosen)
            if picture is not None:
                paths.append(folder / f"{method}-{name}.png")
                save_picture(paths[-1], picture)
    return paths


def _strip(evaluation: Evaluation, results: Results, method: str, chosen: Tensor) -> np.ndarray | None:
    own = results.trials_of(method)
    index = [members[chosen[members]][:SHOWN] for members in map(own.of, own.attributes)]
    if not sum(map(len, index)):
        return None
    trials = own.part(torch.cat(index))
    edited, _ = evaluation.edited(results.controls[method], trials)
    editor = Editor(evaluation.generator, results.controls[method])
    editor.set_latents(evaluation.latents[trials.sample])
    side = evaluation.generator.side_for(SIDE)
    pairs = np.stack([editor.render(each, side) for each in (editor.latent, edited)], axis=1)  # [T, 2, R, R, 3]
    sheet = np.full((len(index), SHOWN * 2, *pairs.shape[2:]), 255, np.uint8)
    start = 0
    for row, members in enumerate(index):
        part = pairs[start:start + len(members)]
        sheet[row, :len(members) * 2] = part.reshape(-1, *pairs.shape[2:])
        start += len(members)
    return join(sheet)


def _text(evaluation: Evaluation, results: Results, pictures: list[Path]) -> str:
    bank, settings = evaluation.bank, evaluation.settings
    short = [[row[0], *_by_attribute(results, str(row[0]))] for row in accuracy_rows(results)[1:] if row[1] == "all"]
    left_out = "".join(f" {name} is not judged: {why}." for name, why in results.left_out.items())
    lines = [
        "# Evaluation of controls", "",
        f"Generator {evaluation.generator.hash[:12]}; {bank.count} samples (seeds {bank.seed} to "
        f"{bank.seed + bank.count - 1}, truncation {bank.truncation:g}), the last {settings.test_share:.0%} of them "
        f"never trained or tuned on; judged by: {evaluation.scorer.name}.{left_out}", "",
        "## Manipulation accuracy", "",
        f"{len(results.trials)} samples near the decision boundaries; the attribute of each drawn uniformly; edited "
        "until the control's own score of the latent crosses (with the margin that was tuned). Right is an edit after "
        "which, by the image classifier, the target's label has changed and no other label has.", "",
        markdown([["method", *results.trials.attributes, "all"], *short]), "",
        "The same with its parts:", "", markdown(accuracy_rows(results)), "",
        "## Attribute dependency", "",
        f"{len(results.edits)} random samples at four strengths each: mean change of the other attributes' log-odds, "
        "in deviations, by the change of the target's.", "", markdown(_dependency_table(results)), "",
        "## Ablations", "", markdown(ablation_rows(results)), "",
        "## Settings that were tuned", "", markdown(_settings_rows(results)), "",
        "## Pictures", "",
        "Strips show an attribute a row, before and after in pairs: " + ", ".join(results.trials.attributes) + ".", "",
        *(f"![{path.stem}]({path.name})\n" for path in pictures)]
    return "\n".join(lines)


def _by_attribute(results: Results, method: str) -> list[object]:
    found = {row[1]: row[3] for row in accuracy_rows(results)[1:] if row[0] == method}
    return [found.get(name, float("nan")) for name in (*results.trials.attributes, "all")]


def _dependency_table(results: Results) -> list[Row]:
    rows = dependency_rows(results)[1:]
    middles = sorted({float(row[1]) for row in rows})  # type: ignore[arg-type]
    return [["method", *(f"about {middle:g}" for middle in middles)],
            *([method, *(f"{row[2]:.3f} ({row[3]})" if row[3] else "none" for row in rows if row[0] == method)]
              for method in results.dependencies)]


def _settings_rows(results: Results) -> list[Row]:
    rows: list[Row] = [["method", "attribute", "layers", "keeps", "margins", "unit", "safe range"]]
    for method, controls in results.controls.items():
        for control in map(controls.control, controls):
            margins, units = (", ".join(f"{value:.3g}" for value in values) for values in (control.margins,
                                                                                           control.units))
            rows.append([TITLES.get(method, method), control.name, "{}:{}".format(*control.layers), control.kept,
                         margins, units, "{:g} to {:g}".format(*control.limits)])
    return rows
