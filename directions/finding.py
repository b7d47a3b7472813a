"""Finding components of a generator: in W, and in the activations of any of its layers.

Härkönen, Hertzmann, Lehtinen and Paris, "GANSpace: Discovering Interpretable GAN Controls" (NeurIPS 2020); and SeFa,
which samples nothing: Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs" (CVPR 2021).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from time import monotonic

import torch
import torch.nn.functional as F
from torch import Tensor

from directions.components import (
    Components,
    ComponentSettings,
    W,
    load_components,
    random_rows,
    save_components,
)
from directions.estimators import MAKERS, Estimator, Fitted, run
from generators import ALL_LAYERS, Generator, LatentStatistics, Space
from weights.errors import InputError
from weights.store import made_in_cache
from weights.tensors import read_tensors, write_tensors

BLOCK = 10_000          # Latents that are drawn by one seed.
W_CHUNK = 2000          # Rows of W at once, which a processor's cache holds,
LAYER_CHUNK = 512 << 20  # and bytes of a layer's activations.
REGRESSION = 10_000     # Samples, at most, by which directions of latents are fitted to the components of a layer.
REGRESSION_CHUNK = 500  # Of them at once: how far it is is told after each, and that is when it can be stopped.
SPREAD = 10_000         # Latents along which the spread of "sefa" and "random" is measured.
CHECKPOINT = "gradctrl-components-checkpoint-1"
CHECKPOINT_SECONDS = 10.0  # From one to the next, at least, and 20 times what the last one took.
GENERATORS_SHARE = 1 << 30  # Bytes that are left to the generator itself.

OnStep = Callable[[int, int], None]


def find_components(generator: Generator, settings: ComponentSettings, *, checkpoint: Path | None = None,
                    on_step: OnStep = lambda done, total: None) -> Components:
    """Find components of W or of the activations of a layer.

    In W itself the components are the directions. Elsewhere the latents are regressed on the normalised coordinates of
    fresh samples (least squares, no intercept), and the directions are the rows of that at unit length.

    Args:
        generator: The generator. What its network does not share with others of its W is not looked at, in W.
        settings: Where and how.
        checkpoint: A file in which a search that is stopped is kept; it is gone at the end.
        on_step: Called with the samples seen and in all.
    Raises:
        InputError: there is no such layer, there are fewer samples than components, memory does not suffice, or a
            checkpoint is of another search.
    """
    source = Activations(generator, settings)
    if source.plain and settings.analysis in MAKERS:
        fitted = _fit(source, settings, checkpoint, on_step)
        return _components(generator, settings, fitted.components, fitted.deviations, fitted.mean, fitted.shares)
    spread = source.latents(range(SPREAD))
    if settings.analysis == "sefa":
        return _spread(generator, settings, closed_form(generator, settings.count, settings.layers), spread)
    if settings.analysis == "random":
        return _spread(generator, settings, random_rows(settings.count, spread.shape[1], settings.seed), spread)
    fitted = _fit(source, settings, checkpoint, on_step)
    return _spread(generator, settings, _regress(source, fitted, spread.mean(dim=0), on_step), spread, fitted.shares)


def cached_components(generator: Generator, settings: ComponentSettings, *,
                      on_step: OnStep = lambda done, total: None) -> tuple[Components, Path]:
    """Find components, or read those that were found before with the same settings, and keep them.

    Returns:
        The components and their file, in the folder `components` of `gradctrl weights path`.
    """
    folder = made_in_cache("components")
    key = sha256(json.dumps([_whose(generator, settings), asdict(settings)], sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{settings.layer}-{settings.analysis}-{key}.safetensors"
    with suppress(InputError):  # A damaged one is made again.
        return load_components(path), path
    components = find_components(generator, settings, checkpoint=path.with_suffix(".checkpoint"), on_step=on_step)
    save_components(path, components)
    return components, path


def components_of(latents: Tensor, space: Space, count: int) -> Components:
    """Principal components of latents w [N, w_dim] that are at hand, as of a bank."""
    statistics = LatentStatistics.of(latents.float(), share=1.0)
    settings = ComponentSettings(samples=len(latents), count=min(count, len(latents) - 1))
    variance = statistics.deviations.square()
    return Components(directions=statistics.components[:count], deviations=statistics.deviations[:count],
                      shares=(variance / variance.sum())[:count], mean=statistics.mean, space=space, settings=settings)


class Activations:
    """Activations of a layer at fresh latents, always the same ones for the same seed, as rows [n, A]."""

    def __init__(self, generator: Generator, settings: ComponentSettings) -> None:
        names = [layer.name for layer in generator.layers]
        if settings.layer not in (W, *names):
            raise InputError(settings.layer, "there is no such layer", f"name one of {', '.join((W, *names))}")
        self.generator, self.settings = generator, settings
        self.plain = settings.layer == W and settings.latent == "w"  # What is analysed is what the directions move.
        self._drawn: tuple[int, Tensor] | None = None

    @cached_property
    @torch.no_grad()
    def width(self) -> int:
        """A, numbers a row."""
        return self._of(self.z(range(1))).shape[1]

    @torch.no_grad()
    def latents(self, samples: range) -> Tensor:
        """What the directions move, z or w [n, D], of some samples."""
        z = self.z(samples)
        return (z if self.settings.latent == "z" else self.generator.mapping(z)).float().cpu()

    @torch.no_grad()
    def __call__(self, samples: range) -> Tensor:
        """The rows [n, A] of some samples, float32 on the CPU."""
        if self.settings.layer == W:
            return self._of(self.z(samples)).float().cpu()
        rows = torch.empty(len(samples), self.width)  # Filled part by part: a list of parts would take as much again.
        for start in range(0, len(samples), self.settings.batch):
            part = samples[start:start + self.settings.batch]
            rows[start:start + len(part)] = self._of(self.z(part))
        return rows

    def _of(self, z: Tensor) -> Tensor:
        w = self.generator.mapping(z)
        return w if self.settings.layer == W else self.generator.activations(w, self.settings.layer).flatten(1)

    def z(self, samples: range) -> Tensor:
        """z [n, z_dim] of some samples; the same whatever the batch."""
        parts = []
        for block in range(samples.start // BLOCK, (samples.stop - 1) // BLOCK + 1):
            if self._drawn is None or self._drawn[0] != block:
                rng = torch.Generator().manual_seed(self.settings.seed * 2 ** 24 + block)
                self._drawn = block, torch.randn(BLOCK, self.generator.z_dim, generator=rng)
            first = block * BLOCK
            parts.append(self._drawn[1][max(samples.start - first, 0):samples.stop - first])
        z = parts[0] if len(parts) == 1 else torch.cat(parts)
        return z.to(self.generator.device, self.generator.dtype)


def closed_form(generator: Generator, count: int, layers: tuple[float, float] = ALL_LAYERS) -> Tensor:
    """SeFa: the directions [K, w_dim] of w that change the styles of some layers most, the strongest first.

    They are the eigenvectors of A A^T, A [w_dim, S] being what turns w into these styles, with columns of unit length
    as the authors' code has them. The styles are affine in w, so that A is read off them.

    Raises:
        InputError: no layer lies in the range.
    """
    start, stop = generator.rows(layers)
    origin = torch.zeros(1, generator.w_dim, device=generator.device, dtype=generator.dtype)
    steps = torch.eye(generator.w_dim, device=generator.device, dtype=generator.dtype)
    with torch.no_grad():
        affine = generator.styles(steps) - generator.styles(origin)  # [w_dim, S]
    columns = torch.cat([affine[:, layer.start:layer.stop] for layer in generator.layers if start <= layer.row < stop],
                        dim=1)
    unit = F.normalize(columns.double().cpu(), dim=0)
    vectors = torch.linalg.eigh(unit @ unit.T)[1].flip(1).T[:count].float()
    return vectors * vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True)).sign()


def _fit(source: Activations, settings: ComponentSettings, checkpoint: Path | None, on_step: OnStep) -> Fitted:
    """The components of the activations themselves."""
    width = source.width
    maker = MAKERS[settings.analysis]
    chunk = chunk_of(settings, width)
    check_memory(settings, width)
    estimator = maker(width, settings.count, settings.seed)
    start = _resume(checkpoint, estimator, settings, source)
    total = settings.samples * estimator.passes + (0 if source.plain else REGRESSION)
    due = monotonic() + CHECKPOINT_SECONDS

    def on_chunk(done: int) -> None:
        nonlocal due
        on_step(done, total)
        if checkpoint is not None and monotonic() >= due:
            began = monotonic()
            write_tensors(checkpoint, estimator.state, _checkpoint_of(settings, source) | {"done": str(done)})
            due = monotonic() + max(CHECKPOINT_SECONDS, 20 * (monotonic() - began))

    fitted = run(estimator, lambda first, stop: source(range(first, stop)), samples=settings.samples, chunk=chunk,
                 start=start, on_chunk=on_chunk)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return fitted


def _whose(generator: Generator, settings: ComponentSettings) -> str:
    """What components belong to: the space, of which each class has its own; for a layer the weights too."""
    return generator.space.to_text() + ("" if settings.layer == W else f" {generator.hash}")


def _checkpoint_of(settings: ComponentSettings, source: Activations) -> dict[str, str]:
    """What a checkpoint belongs to."""
    return {"format": CHECKPOINT, "settings": json.dumps(asdict(settings), sort_keys=True),
            "generator": _whose(source.generator, settings)}


def _resume(checkpoint: Path | None, estimator: Estimator, settings: ComponentSettings, source: Activations) -> int:
    """Give an estimator the state of a checkpoint, if there is one; how many samples it has seen."""
    if checkpoint is None or not checkpoint.is_file():
        return 0
    remedy = "remove it, or give the settings that it was begun with"
    state, metadata = read_tensors(checkpoint, format=CHECKPOINT, what="a checkpoint of components", remedy=remedy)
    if not metadata.get("done", "").isdigit() or any(
            metadata.get(name) != value for name, value in _checkpoint_of(settings, source).items()):
        raise InputError(checkpoint, "is the checkpoint of another search", remedy)
    estimator.state = state
    return int(metadata["done"])


def _regress(source: Activations, fitted: Fitted, mean: Tensor, on_step: OnStep) -> Tensor:
    """Directions [K, D] of the latents: their regression on the normalised coordinates along the components."""
    settings = source.settings
    chunk = min(chunk_of(settings, len(fitted.mean)), REGRESSION_CHUNK)
    seen = settings.samples * MAKERS[settings.analysis].passes
    count, first = len(fitted.components), (settings.samples // BLOCK + 1) * BLOCK  # Fresh ones.
    squares, products = torch.zeros(count, count).double(), torch.zeros(count, len(mean)).double()
    offset = fitted.components @ fitted.mean
    for start in range(first, first + REGRESSION, chunk):
        samples = range(start, min(start + chunk, first + REGRESSION))
        along = ((source(samples) @ fitted.components.T - offset) / fitted.deviations.clamp_min(1e-12)).double()
        squares += along.T @ along
        products += along.T @ (source.latents(samples) - mean).double()
        on_step(seen + samples.stop - first, seen + REGRESSION)
    return F.normalize(torch.linalg.lstsq(squares, products).solution.float(), dim=1)


def _spread(generator: Generator, settings: ComponentSettings, rows: Tensor, latents: Tensor,
            shares: Tensor | None = None) -> Components:
    """Components whose spread is that of some latents [N, D]."""
    mean = latents.mean(dim=0)
    return _components(generator, settings, rows, ((latents - mean) @ rows.T).std(dim=0), mean, shares)


def _components(generator: Generator, settings: ComponentSettings, rows: Tensor, deviations: Tensor, mean: Tensor,
                shares: Tensor | None = None) -> Components:
    return Components(directions=rows, deviations=deviations, mean=mean, space=generator.space, settings=settings,
                      shares=torch.zeros(len(rows)) if shares is None else shares,
                      weights="" if settings.layer == W else generator.hash)


def chunk_of(settings: ComponentSettings, width: int) -> int:
    """How many samples of so many numbers each are looked at at once."""
    return W_CHUNK if settings.layer == W else max(min(LAYER_CHUNK // (4 * width), settings.samples), 1)


def memory_of(settings: ComponentSettings, width: int) -> int:
    """Bytes that a search takes at most, for a layer of so many numbers a sample."""
    return GENERATORS_SHARE + MAKERS[settings.analysis].memory(width, settings.count, chunk_of(settings, width),
                                                               settings.samples)


def check_memory(settings: ComponentSettings, width: int) -> None:
    """Refuse a search for which the free memory does not suffice.

    Raises:
        InputError: it says how much is needed, and what would do with less.
    """
    needed, free = memory_of(settings, width), free_memory()
    if free is None or needed <= free:
        return
    least = replace(settings, analysis="incremental")
    remedy = f"take fewer components (of incremental PCA 10 need {_gb(memory_of(replace(least, count=10), width))})"
    if memory_of(least, width) < needed:
        remedy = f"take incremental PCA (--analysis incremental), which needs {_gb(memory_of(least, width))}"
    raise InputError(settings.layer, f"{settings.analysis} components of {width:,} numbers a sample need "
                     f"{_gb(needed)} of memory, and {_gb(free)} are free", remedy)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def free_memory() -> int | None:
    """Bytes of memory that can be had; None where the system does not tell."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
