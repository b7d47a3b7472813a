"""Scores of the samples of a bank by any image classifier, and how they change with w."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from generators import Generator, from_pixels, in_quickest_precision
from generators.memory import keep_freed_memory
from gradctrl.scores import Scores
from learning.bank import SampleBank
from learning.scorers.protocol import ImageScorer
from weights.errors import InputError


def load_scorer(source: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> ImageScorer:
    """Load an image classifier.

    "bundled"; "paper", the same of the paper's four attributes in two classes each; "controls", the same in the classes
    of the bundled controls, two of each attribute but hair; or the JSON description of one's own (docs/scorers.md).

    Args:
        source: Which.
        device: Where it computes; ONNX always on the CPU.

    Raises:
        InputError: no such file, not a description, or its model cannot be loaded.
    """
    keep_freed_memory()
    if os.fspath(source) in {"bundled", "paper", "controls"}:
        from learning.scorers.bundled import CONTROLLED, PAPER, load_bundled_scorer

        return load_bundled_scorer({"paper": PAPER, "controls": CONTROLLED}.get(os.fspath(source)), device=device)
    path = Path(source)
    if path.suffix.lower() != ".json":
        raise InputError(path, "not a scorer",
                         "name bundled, paper, controls, or a JSON file that describes a classifier (docs/scorers.md)")
    from learning.scorers.files import load_file_scorer

    return load_file_scorer(path, device=device)


def score_bank(bank: SampleBank, scorer: ImageScorer, *, batch: int = 32,
               on_progress: Callable[[int, int], None] | None = None) -> list[Scores]:
    """Score all samples of a bank; nothing is written (`SampleBank.save_scores` does that).

    Args:
        bank: Whose pictures.
        scorer: What looks at them.
        batch: Pictures that are scored at once.
        on_progress: Called with how many are done, and how many there are, after each batch.

    Returns:
        Scores for each attribute of the scorer.

    Raises:
        InputError: a picture is missing or damaged, or the scorer gives NaN; the message names the file.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in scorer.attributes}
    for start in range(0, bank.count, batch):
        logits = scorer(from_pixels(bank.pictures(start, start + batch)))
        for name, classes in scorer.attributes.items():
            if logits[name].ndim != 2 or logits[name].shape[1] != len(classes):
                raise ValueError(f"{scorer.name}: {name} must be [N, {len(classes)}], not {list(logits[name].shape)}")
            parts[name].append(logits[name].float().cpu())
        if on_progress is not None:
            on_progress(min(start + batch, bank.count), bank.count)
    return [Scores(attribute=name, classes=classes, values=torch.cat(parts[name]), scorer=scorer.name,
                   ordered=name in scorer.ordered) for name, classes in scorer.attributes.items()]


def measure_gradients(bank: SampleBank, generator: Generator, scorer: ImageScorer, *, count: int,
                      names: Sequence[str] | None = None, batch: int = 16,
                      on_progress: Callable[[int, int], None] | None = None) -> None:
    """Measure how the scores of a bank's first samples change with w, and keep that in the bank.

    Through the image classifier and the generator, as pictures of a bank are drawn. Kept after every few samples: one
    that was interrupted goes on where it was, and one of fewer samples grows.

    Args:
        bank: Whose scores, by the same image classifier.
        generator: The bank's.
        scorer: The image classifier.
        count: Of how many samples.
        names: Of which attributes; None: all that the classifier has scored.
        batch: Samples at once.
        on_progress: Called with how many samples are done, of how many, after each batch.
    Raises:
        InputError: the bank has no such scores, of another generator, or the classifier cannot be differentiated.
    """
    scores = bank.scores()
    scored = [name for name, classes in scorer.attributes.items()
              if name in scores and scores[name].scorer == scorer.name and scores[name].classes == classes]
    names = scored if names is None else names
    lacking = [name for name in names if name not in scored]
    if lacking or not names:
        raise InputError(bank.folder, f"has no scores of {lacking[0] if lacking else 'anything'} by {scorer.name}",
                         "score it with that classifier first")
    if bank.generator_hash != generator.identity:
        raise InputError(bank.folder, f"holds samples of generator {bank.generator_hash[:12]}, not of the loaded one "
                         f"({generator.identity[:12]})", "load that generator")
    made = {name: values for name, values in bank.gradients().items() if name in names}
    count, latents, quickest = min(count, bank.count), bank.latents(), in_quickest_precision(generator)
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        missing = [name for name in names if name not in made or len(made[name]) < stop]
        if missing:
            w = latents[start:stop].to(generator.device)
            for name, values in _gradients(quickest, scorer, w, missing, bank.resolution).items():
                made[name] = torch.cat([made[name][:start], values]) if start else values
            bank.save_gradients({name: made[name] for name in missing})
        if on_progress is not None:
            on_progress(stop, count)


@torch.enable_grad()
def _gradients(generator: Generator, scorer: ImageScorer, w: Tensor, names: Sequence[str],
               side: int) -> dict[str, Tensor]:
    """Gradients [N, C, w_dim] by attribute of the scores of the pictures of w [N, w_dim]."""
    w = w.detach().requires_grad_()
    logits = scorer(generator.render(w.to(generator.dtype), side).clamp(-1, 1))
    if not all(logits[name].requires_grad for name in names):
        raise InputError(scorer.name, "cannot be differentiated", "export the model as TorchScript, not as ONNX")
    gradients = {}
    for name in names:
        columns = [torch.autograd.grad(column.sum(), w, retain_graph=True)[0].float().cpu()
                   for column in logits[name].unbind(dim=1)[1 if logits[name].shape[1] == 2 else 0:]]
        gradients[name] = torch.stack([torch.zeros_like(columns[0]), *columns] if len(columns) == 1 else columns, dim=1)
    return gradients
