"""Finding bases: against the exact Hessian, on networks with and without a latent, stopped, and what is not finite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from directions.navigan.basis import (
    BasisSettings,
    NotFiniteError,
    WeightBasis,
    load_basis,
    save_basis,
)
from directions.navigan.eigenvectors import Lanczos, Power
from directions.navigan.finding import cached_basis, find_basis, inputs_of, run, singular_directions
from directions.navigan.hessian import PerceptualHessian
from directions.navigan.lengths import at_farthest, measure_lengths
from directions.navigan.network import weight_of
from inversion.perceptual import PerceptualDistance
from tests.directions.navigan.made_networks import Translator, exact_hessian, maps, smooth
from tests.generators.made_generators import make_generator, make_student
from weights.errors import InputError


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("batch", [3, 8])
def test_eigenvalues_are_those_of_the_exact_hessian(layer: str, batch: int) -> None:
    """Within 1%, of a network that has no latent; whatever the batch."""
    network, inputs = Translator(), maps(8)
    hessian = PerceptualHessian(network, layer, inputs, smooth(), batch=batch, step=1e-3)
    exact, turn = torch.linalg.eigh(exact_hessian(network, layer, inputs))
    for solver in (Lanczos(hessian.width, 6, tolerance=1e-3), Power(hessian.width, 6, rounds=80)):
        run(solver, hessian, "")
        values, vectors = solver.result()
        torch.testing.assert_close(values.double(), exact.flip(0)[:6], rtol=0.01, atol=0)
        assert float((vectors[0].double() @ turn.T[-1]).abs()) > 0.999


def test_products_are_those_of_the_perceptual_hessian() -> None:
    """Of LPIPS itself and a generator's convolution: symmetric, linear for small steps, none negative."""
    generator = make_student()
    distance = PerceptualDistance(max_side=32)
    hessian = PerceptualHessian(generator, "layers.0.conv2", generator.sample(range(4)), distance, batch=3, step=0.05)
    a, b = torch.nn.functional.normalize(torch.randn(2, hessian.width, generator=torch.Generator().manual_seed(1)))
    ha, hb = hessian(a), hessian(b)
    assert float(b @ ha) == pytest.approx(float(a @ hb), rel=0.1, abs=0.02 * float(ha.norm()))
    assert min(float(a @ ha), float(b @ hb)) > 0


@pytest.mark.parametrize(("made", "layer"), [(make_generator(), "b16.conv0"), (make_student(), "layers.1.conv1")])
def test_bases_of_generators(made: object, layer: str, tmp_path: Path) -> None:
    generator = made
    for basis in ("hessian", "svd"):
        settings = BasisSettings(layer=layer, basis=basis, count=3, samples=3, side=32)  # type: ignore[arg-type]
        inputs = inputs_of(generator, settings)  # type: ignore[arg-type]
        found = find_basis(generator, settings, inputs)  # type: ignore[arg-type]
        rows = found.directions.flatten(1)
        assert len(rows) == 3
        torch.testing.assert_close(rows @ rows.T, torch.eye(3), atol=1e-4, rtol=0)
        assert bool((rows.gather(1, rows.abs().argmax(dim=1, keepdim=True)) > 0).all())
        assert found.values.tolist() == sorted(found.values.tolist(), reverse=True)
        for dtype in (torch.float32, torch.float16):
            save_basis(tmp_path / "b.safetensors", found, dtype=dtype)
            again = load_basis(tmp_path / "b.safetensors")
            torch.testing.assert_close(again.directions, found.directions, atol=1e-3, rtol=0)
            assert (again.layer, again.weights, again.found) == (layer, generator.hash, found.found)  # type: ignore[attr-defined]


def test_singular_directions_rebuild_the_weight() -> None:
    generator = make_generator()
    weight = weight_of(generator, "b8.conv0")
    count = min(weight.shape[0], weight[0].numel())
    found = singular_directions(generator, BasisSettings(layer="b8.conv0", basis="svd", count=count))
    amounts = torch.einsum("kocij,ocij->k", found.directions, weight)
    torch.testing.assert_close(amounts.abs(), found.values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.einsum("k,kocij->ocij", amounts, found.directions), weight, atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="ask for fewer"):
        singular_directions(generator, BasisSettings(layer="b8.conv0", basis="svd", count=count + 1))


class Stopping:
    """A Hessian that stops after some products, as a user does, or gives what is no number."""

    def __init__(self, of: PerceptualHessian, after: int, error: BaseException) -> None:
        self.of, self.after, self.error, self.width = of, after, error, of.width

    def __call__(self, vector: Tensor) -> Tensor:
        self.after -= 1
        if self.after < 0:
            raise self.error
        return self.of(vector)


@pytest.mark.parametrize("after", [1, 4])
def test_a_search_that_is_stopped_goes_on_after_its_last_product(tmp_path: Path, after: int) -> None:
    network = Translator()
    hessian = PerceptualHessian(network, "first", maps(4), smooth(), step=1e-3)
    whole, stopped, again = (Lanczos(hessian.width, 3) for _ in range(3))
    run(whole, hessian, "mine")
    checkpoint = tmp_path / "c.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run(stopped, Stopping(hessian, after, KeyboardInterrupt()), "mine", checkpoint)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another search"):
        run(Lanczos(hessian.width, 3), hessian, "another", checkpoint)
    made: list[int] = []
    run(again, hessian, "mine", checkpoint, lambda done, most: made.append(done))
    assert made[0] == after + 1
    assert torch.equal(again.result()[1], whole.result()[1])
    run(Lanczos(hessian.width, 3), Stopping(hessian, 0, AssertionError()), "mine", checkpoint)  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", ["with_lengths", "save_basis"])
def test_what_is_stopped_after_the_search_makes_no_product_again(broken: str, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path))
    generator, settings = make_generator(), BasisSettings(layer="b8.conv1", count=2, samples=2, side=32)
    made: list[int] = []

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"directions.navigan.finding.{broken}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached_basis(generator, settings, on_product=lambda done, most: made.append(done))
    count = len(made)
    _, path = cached_basis(generator, settings, on_product=lambda done, most: made.append(done))
    assert len(made) == count > 0
    assert list(path.parent.iterdir()) == [path]


def test_what_is_not_finite_stops_and_what_was_found_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network, settings = Translator(), BasisSettings(layer="first", count=4, side=32)
    monkeypatch.setattr("directions.navigan.finding.PerceptualDistance", lambda *_, **__: smooth())
    gradient = PerceptualHessian.gradient
    calls = 0

    def broken(self: PerceptualHessian, shift: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return gradient(self, shift) * (float("nan") if calls > 12 else 1.0)

    monkeypatch.setattr(PerceptualHessian, "gradient", broken)
    with pytest.raises(NotFiniteError, match="product with the Hessian is not finite") as caught:
        find_basis(network, settings, maps(4), checkpoint=tmp_path / "c")
    kept = caught.value.basis
    assert isinstance(kept, WeightBasis)
    assert len(kept) == 4
    assert kept.found["products"] == 6
    monkeypatch.setattr(PerceptualHessian, "gradient", gradient)
    made: list[int] = []
    find_basis(network, settings, maps(4), checkpoint=tmp_path / "c", on_product=lambda done, most: made.append(done))
    assert made[0] == 7


def test_pictures_that_are_not_finite_are_refused() -> None:
    network = Translator()
    network.second.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="pictures are not finite"):
        PerceptualHessian(network, "first", maps(2), smooth())


def test_found_bases_are_kept_by_weights_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path))
    generator, settings = make_generator(), BasisSettings(layer="b8.conv1", count=2, samples=2, side=32)
    first, path = cached_basis(generator, settings)
    written = path.stat().st_mtime_ns
    again, same = cached_basis(generator, settings)
    assert (same, path.stat().st_mtime_ns) == (path, written)
    assert torch.equal(first.directions, again.directions)
    _, other = cached_basis(make_generator(seed=1), settings)
    assert other != path
    path.write_bytes(b"damaged")
    assert torch.equal(cached_basis(generator, settings)[0].directions, first.directions)


def test_lengths_change_pictures_as_far_as_they_say() -> None:
    generator, distance = make_student(), PerceptualDistance(max_side=32)
    basis = singular_directions(generator, BasisSettings(layer="layers.1.conv2", basis="svd", count=3))
    inputs = generator.sample(range(4))
    lengths = measure_lengths(generator, basis, inputs, distance, change=0.005)
    side = generator.side_showing("layers.1.conv2")
    for direction, length in zip(basis.directions, lengths, strict=True):
        far = []
        for sign in (-1, 1):
            moved = generator.with_weights({generator.convolutions()["layers.1.conv2"]: sign * length * direction})
            far.append(distance(moved.render(inputs, side), generator.render(inputs, side)).mean())
        assert float(torch.stack(far).mean()) == pytest.approx(0.005, rel=0.3)
    assert at_farthest(generator, replace(basis, lengths=lengths)) == 0
    never = measure_lengths(generator, basis, inputs, distance, change=100.0)
    assert at_farthest(generator, replace(basis, lengths=never)) == 3


def test_what_cannot_be_found_is_refused(tmp_path: Path) -> None:
    generator = make_student()
    with pytest.raises(InputError, match=r"no such convolution; name one of conv1, layers\.0\.conv1"):
        find_basis(generator, BasisSettings(layer="b8.conv0", basis="svd"))
    with pytest.raises(InputError, match="145 directions are wanted; ask for fewer"):
        find_basis(generator, BasisSettings(layer="layers.1.conv2", count=145, side=32), generator.sample(range(2)))
    with pytest.raises(InputError, match="compare them at 32"):
        BasisSettings(layer="conv1", side=16)
    with pytest.raises(ValueError, match="must be above 0"):
        BasisSettings(layer="conv1", count=0)
    (tmp_path / "b.safetensors").write_bytes(b"no basis")
    with pytest.raises(InputError, match=r"b\.safetensors: not readable"):
        load_basis(tmp_path / "b.safetensors")
    basis = singular_directions(generator, BasisSettings(layer="layers.0.conv1", basis="svd", count=2))
    with pytest.raises(InputError, match="of the weights"):
        basis.check(make_student(seed=1))
