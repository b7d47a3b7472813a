"""Finding a basis of directions in a convolution's weight: the perceptual Hessian's eigenvectors, or its SVD."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from directions.navigan.basis import (
    BasisSettings,
    NotFiniteError,
    WeightBasis,
    as_found,
    load_basis,
    save_basis,
)
from directions.navigan.eigenvectors import Lanczos, Power, Solver
from directions.navigan.hessian import PerceptualHessian
from directions.navigan.lengths import measure_lengths
from directions.navigan.network import Network, weight_of
from generators import Generator
from inversion.perceptual import PerceptualDistance
from weights.errors import InputError
from weights.fingerprint import fingerprint
from weights.store import made_in_cache
from weights.tensors import read_tensors, write_tensors

CHECKPOINT = "gradctrl-weight-directions-checkpoint-1"
MEASURED, MEASURED_SIDE, MEASURED_TRUNCATION = 4, 64, 0.7  # Samples by which lengths are measured.
CHECKPOINT_SECONDS = 10.0  # From one to the next, at least, and 20 times what the last one took.

OnProduct = Callable[[int, int], None]


def find_basis(network: Network, settings: BasisSettings, inputs: Tensor | None = None, *, batch: int = 8,
               checkpoint: Path | None = None, on_product: OnProduct = lambda done, most: None) -> WeightBasis:
    """Find a basis of directions in the weight of a convolution.

    Args:
        network: Frozen.
        settings: How.
        inputs: What the network draws [N, ...], for "hessian"; `inputs_of` makes them for a generator.
        batch: Pictures that are drawn at once.
        checkpoint: A file in which the search is kept, also when it has ended, for what is made of it afterwards.
        on_product: Called with the products made, and those after which it ends at the latest.
    Raises:
        InputError: no such convolution, fewer directions than are wanted, or a checkpoint of another search.
        NotFiniteError: something was not finite; its `basis` is what was found until then.
    """
    weight = weight_of(network, settings.layer)
    if settings.basis == "svd":
        return singular_directions(network, settings)
    if inputs is None:
        raise ValueError("the Hessian is of pictures: inputs are needed")
    if settings.count > weight.numel():
        raise InputError(settings.layer, f"its weight has {weight.numel()} numbers, and {settings.count} directions "
                         "are wanted", "ask for fewer")
    distance = PerceptualDistance(settings.backbone, device=weight.device, dtype=weight.dtype, max_side=settings.side)
    hessian = PerceptualHessian(network, settings.layer, inputs, distance, batch=batch, step=settings.step)
    solver = make_solver(settings, hessian.width)
    try:
        run(solver, hessian, _belonging(network, settings), checkpoint, on_product)
    except NotFiniteError as error:
        error.basis = _basis(network, settings, solver) if solver.products else None
        raise
    return _basis(network, settings, solver)


def make_solver(settings: BasisSettings, width: int) -> Solver:
    """What the settings ask for."""
    if settings.solver == "power":
        return Power(width, settings.count, rounds=settings.rounds, seed=settings.seed)
    return Lanczos(width, settings.count, tolerance=settings.tolerance, most=settings.rounds * settings.count,
                   seed=settings.seed)


def inputs_of(generator: Generator, settings: BasisSettings) -> Tensor:
    """The w [N, w_dim] of the samples over which the distance is averaged."""
    return generator.sample(range(settings.seed, settings.seed + settings.samples), truncation=settings.truncation)


def singular_directions(network: Network, settings: BasisSettings) -> WeightBasis:
    """The SVD basis: directions u_i v_i^T of the weight, as the matrix [k k C, O] has them.

    Raises:
        InputError: the matrix has fewer.
    """
    weight = weight_of(network, settings.layer).float().cpu()
    outputs, inputs, height, width = weight.shape
    u, values, v = torch.linalg.svd(weight.permute(2, 3, 1, 0).reshape(-1, outputs), full_matrices=False)
    if settings.count > len(values):
        raise InputError(settings.layer, f"its weight has {len(values)} singular directions, and {settings.count} are "
                         "wanted", "ask for fewer")
    rows = torch.einsum("ai,io->iao", u[:, :settings.count], v[:settings.count])
    directions = rows.reshape(-1, height, width, inputs, outputs).permute(0, 4, 3, 1, 2)
    return WeightBasis(directions=_signed(directions), values=values[:settings.count], layer=settings.layer,
                       weights=network.hash, found=as_found(settings))


def run(solver: Solver, hessian: PerceptualHessian, belonging: str, checkpoint: Path | None = None,
        on_product: OnProduct = lambda done, most: None) -> None:
    """Make products until a solver is done; what it is in the middle of is kept whatever happens.

    Raises:
        InputError: a checkpoint of another search.
        NotFiniteError: of the Hessian's; the checkpoint has what came before.
    """
    if checkpoint is not None and checkpoint.is_file():
        _resume(solver, checkpoint, belonging)
    due, kept = monotonic() + CHECKPOINT_SECONDS, solver.products

    def keep() -> None:
        nonlocal due, kept
        if checkpoint is not None and solver.products != kept:
            began = monotonic()
            write_tensors(checkpoint, solver.state, {"format": CHECKPOINT, "search": belonging})
            due, kept = monotonic() + max(CHECKPOINT_SECONDS, 20 * (monotonic() - began)), solver.products

    try:
        while not solver.done:
            solver.tell(hessian(solver.vector))
            on_product(solver.products, solver.most)
            if monotonic() >= due:
                keep()
    finally:  # Ctrl-C among what ends it: nothing of it is lost.
        keep()


def _resume(solver: Solver, checkpoint: Path, belonging: str) -> None:
    remedy = "remove it, or give the settings that it was begun with"
    state, metadata = read_tensors(checkpoint, format=CHECKPOINT, what="a checkpoint of directions of weights",
                                   remedy=remedy)
    if metadata.get("search") != belonging or {name: (each.shape, each.dtype) for name, each in state.items()} != {
            name: (each.shape, each.dtype) for name, each in solver.state.items()}:
        raise InputError(checkpoint, "is the checkpoint of another search", remedy)
    solver.state = state


def cached_basis(generator: Generator, settings: BasisSettings, *, inputs: Tensor | None = None, batch: int = 8,
                 on_product: OnProduct = lambda done, most: None,
                 on_length: OnProduct = lambda done, total: None) -> tuple[WeightBasis, Path]:
    """Find a basis for a generator, or read one that was found before with the same settings, and keep it.

    Args:
        generator: The generator.
        settings: How.
        inputs: What it draws, of one that draws no samples: label maps. None: its samples.
        batch: Pictures that are drawn at once.
        on_product: As of `find_basis`.
        on_length: Called with the directions whose recommended length was measured, and all.
    Returns:
        The basis with recommended lengths, and its file, in the folder `weight-directions` of `gradctrl weights path`.

    Raises:
        InputError: as of `find_basis`.
        NotFiniteError: what was found until then is in the file that it names.
    """
    folder = made_in_cache("weight-directions")
    of = _belonging(generator, settings) + ("" if inputs is None else fingerprint({"inputs": inputs}))
    key = sha256(of.encode()).hexdigest()[:16]
    path = folder / f"{settings.layer}-{settings.basis}-{key}.safetensors"
    with suppress(InputError):  # A damaged one is made again.
        return load_basis(path), path
    weight_of(generator, settings.layer)
    checkpoint = path.with_suffix(".checkpoint")
    drawn = inputs_of(generator, settings) if inputs is None and settings.basis == "hessian" else inputs
    try:
        basis = find_basis(generator, settings, drawn, batch=batch, checkpoint=checkpoint, on_product=on_product)
    except NotFiniteError as error:
        if error.basis is None:
            raise
        partly = path.with_name(f"{path.stem}-partly.safetensors")
        save_basis(partly, error.basis)
        raise NotFiniteError(error.subject, f"{error.problem}; what was found until then is in {partly}",
                             error.remedy) from error
    basis = with_lengths(generator, basis, inputs=inputs, on_length=on_length)
    save_basis(path, basis)
    checkpoint.unlink(missing_ok=True)
    return basis, path


def with_lengths(generator: Generator, basis: WeightBasis, *, inputs: Tensor | None = None,
                 on_length: OnProduct = lambda done, total: None) -> WeightBasis:
    """A basis with its recommended lengths, measured on a few samples (`measure_lengths`), or on inputs."""
    distance = PerceptualDistance(device=generator.device, dtype=generator.dtype, max_side=MEASURED_SIDE)
    if inputs is None:
        inputs = generator.sample(range(MEASURED), truncation=MEASURED_TRUNCATION)
    lengths = measure_lengths(generator, basis, inputs[:MEASURED], distance, on_direction=on_length)
    return replace(basis, lengths=lengths)


def _belonging(network: Network, settings: BasisSettings) -> str:
    """What a search is of."""
    return json.dumps([network.hash, asdict(settings)], sort_keys=True)


def _basis(network: Network, settings: BasisSettings, solver: Solver) -> WeightBasis:
    values, rows = solver.result()
    shape = weight_of(network, settings.layer).shape
    order = values.argsort(descending=True)
    return WeightBasis(directions=_signed(rows[order].reshape(-1, *shape)), values=values[order],
                       layer=settings.layer, weights=network.hash,
                       found=as_found(settings) | {"products": solver.products})


def _signed(directions: Tensor) -> Tensor:
    """Directions [K, O, C, k, k] whose largest entries are positive."""
    flat = directions.flatten(1)
    signs = flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)).sign()
    return (flat * signs).reshape(directions.shape)
