"""The AlexNet Frechet distance: of Gaussians whose distance is known, and of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stylegan2 import Generator, GeneratorConfig, to_pixels
from stylegan2.readers.own import write
from weights.errors import InputError
from weights.training import frechet
from weights.training.frechet import (
    NAME,
    Features,
    Moments,
    folder_moments,
    frechet_distance,
    generator_moments,
    halves,
    main,
    pictures_in,
    read_square,
)
from weights.training.moments import joined


def drawn(seed: int, count: int = 50, width: int = 8) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=rng) @ torch.randn(width, width, generator=rng)


def moments(x: Tensor) -> Moments:
    return Moments.of([x])


def textures(count: int, side: int = 64, seed: int = 0) -> Tensor:
    """Pictures with fine and coarse structure, uint8 [N, 3, side, side]."""
    rng = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, side, side)
    for size in (4, 16, side):
        part = torch.rand(count, 3, size, size, generator=rng)
        total += torch.nn.functional.interpolate(part, size=(side, side), mode="nearest") / 3
    return (total * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def features() -> Features:
    return Features()


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(img_resolution=32, channels=(8, 8, 8, 8), z_dim=16, w_dim=16, mapping_layers=2)
    return Generator(config).requires_grad_(False).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pictures"
    (path / "more").mkdir(parents=True)
    for index, picture in enumerate(textures(5, 48)):
        place = path / "more" if index == 4 else path
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(place / f"{index}.png")
    return path


# The distance of moments.

@pytest.mark.parametrize("count", [5, 50])  # Fewer than the 8 numbers of a feature, and more.
def test_a_set_is_at_no_distance_from_itself(count: int) -> None:
    a = moments(drawn(0, count))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12 * float(a.covariance.trace()))


def test_the_distance_is_the_same_both_ways_and_never_below_zero() -> None:
    a, b = moments(drawn(0)), moments(drawn(1))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert frechet_distance(a, b) > 0


def test_moving_a_set_adds_the_square_of_the_way() -> None:
    a, x, way = moments(drawn(0)), drawn(1).double(), torch.arange(8.0, dtype=torch.float64)
    x = x - x.mean(dim=0) + a.mean  # At the same place first.
    assert frechet_distance(a, moments(x + way)) == pytest.approx(
        frechet_distance(a, moments(x)) + float(way.square().sum()), rel=1e-9)


def test_scaling_both_sets_scales_by_the_square() -> None:
    a, b = drawn(0).double(), drawn(1).double()
    assert frechet_distance(moments(3 * a), moments(3 * b)) == pytest.approx(
        9 * frechet_distance(moments(a), moments(b)), rel=1e-9)


def test_the_known_distance_of_gaussians_along_the_axes() -> None:
    """|m_a - m_b|^2 + sum (s_a - s_b)^2."""
    a = Moments(9, torch.tensor([1.0, 2.0]).double(), torch.diag(torch.tensor([4.0, 9.0]).double()))
    b = Moments(9, torch.tensor([1.0, 5.0]).double(), torch.diag(torch.tensor([1.0, 25.0]).double()))
    assert frechet_distance(a, b) == pytest.approx(9 + 1 + 4, rel=1e-12)


def test_turned_gaussians_against_the_eigenvalues_of_the_product() -> None:
    """tr (C_a C_b)^(1/2) is the sum of the roots of the eigenvalues of C_a C_b, which is another way to it."""
    a, b = moments(drawn(0)), moments(drawn(1))
    roots = torch.linalg.eigvals(a.covariance @ b.covariance).real.clamp_min(0).sqrt()
    expected = (a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace() - 2 * roots.sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)


def test_features_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="8 and 4"):
        frechet_distance(moments(drawn(0)), moments(drawn(0, width=4)))


# Moments.

@pytest.mark.parametrize("batch", [1, 7, 50])
def test_moments_do_not_depend_on_the_batches(batch: int) -> None:
    x = drawn(0) + 100  # Far from 0, where sums of squares would lose digits.
    found = Moments.of(x.split(batch))
    np.testing.assert_allclose(found.mean, x.double().mean(dim=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(x.double().numpy().T), rtol=1e-9, atol=1e-12)
    assert found.count == 50
    assert found.mean.dtype == found.covariance.dtype == torch.float64


def test_no_features_are_refused() -> None:
    with pytest.raises(InputError, match="no pictures"):
        Moments.of([])


def test_kept_pieces_are_not_made_again(tmp_path: Path) -> None:
    made = []

    def piece(seed: int) -> Moments:
        made.append(seed)
        return moments(drawn(seed))

    pieces = [(f"piece {seed}", lambda seed=seed: piece(seed)) for seed in range(3)]
    whole = joined(pieces)
    joined(pieces[:2], tmp_path / "kept")  # As if cut after two.
    made.clear()
    found = joined(pieces, tmp_path / "kept")
    assert made == [2]
    assert torch.equal(found.covariance, whole.covariance)
    assert torch.equal(found.mean, whole.mean)
    assert found.count == whole.count == 150


def test_a_damaged_or_foreign_kept_piece_is_named(tmp_path: Path) -> None:
    pieces = [("a", lambda: moments(drawn(0)))]
    joined(pieces, tmp_path)
    kept = next(tmp_path.iterdir())
    joined([("b", lambda: moments(drawn(1)))], tmp_path)
    other = next(path for path in tmp_path.iterdir() if path != kept)
    kept.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match=rf"{kept.name}.*something else; delete it"):
        joined(pieces, tmp_path)
    kept.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=kept.name):
        joined(pieces, tmp_path)


# Features.

def test_features_of_one_picture_do_not_depend_on_its_batch(features: Features) -> None:
    pictures = textures(3)
    together = features(pictures)
    assert together.shape == (3, 64 + 192 + 384 + 256 + 256)
    assert together.dtype == torch.float32
    for index in range(3):
        torch.testing.assert_close(features(pictures[index:index + 1])[0], together[index], rtol=1e-4, atol=1e-6)


def test_features_are_the_means_of_those_of_lpips(features: Features) -> None:
    from inversion import PerceptualDistance

    pictures = textures(1, 256)
    layers = PerceptualDistance().features(pictures.float() / 127.5 - 1)
    expected = torch.cat([layer.flatten(2).mean(dim=2) for layer in layers], dim=1)
    torch.testing.assert_close(features(pictures), expected, rtol=1e-4, atol=1e-7)


def test_resolutions_compare(features: Features) -> None:
    """A smooth picture says nearly the same at 64 and at 256 pixels, beside what another picture says."""
    ramp = torch.linspace(0, 255, 256).expand(1, 3, 256, 256)
    small = torch.nn.functional.interpolate(ramp, size=(64, 64), mode="area")
    whole, other = features(ramp.to(torch.uint8)), features(textures(1, 256))
    assert (features(small.to(torch.uint8)) - whole).norm() < 0.1 * (other - whole).norm()


@pytest.mark.parametrize("pictures", [torch.zeros(1, 3, 64, 64), torch.zeros(3, 64, 64, dtype=torch.uint8),
                                      torch.zeros(1, 3, 64, 32, dtype=torch.uint8)])
def test_other_pictures_are_refused(features: Features, pictures: Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        features(pictures)


@pytest.mark.parametrize("harm", ["noise", "blur"])
def test_the_more_harm_the_farther(features: Features, harm: str) -> None:
    pictures = textures(6)
    distances = []
    for strength in (0, 1, 2):
        x = pictures.float()
        if harm == "noise":
            x = x + 20 * strength * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        else:
            x = torch.nn.functional.avg_pool2d(x, 2 * strength + 1, 1, strength, count_include_pad=False)
        distances.append(frechet_distance(moments(features(pictures)[:, ::8]),  # Fewer are faster.
                                          moments(features(x.round().clamp(0, 255).to(torch.uint8))[:, ::8])))
    assert distances[0] == pytest.approx(0, abs=1e-9)
    assert distances[0] < distances[1] < distances[2]


# Folders.

def test_a_folder_is_its_pictures(features: Features, folder: Path) -> None:
    (folder / ".hidden.png").write_bytes(b"no picture")
    (folder / "labels.csv").write_text("file\n")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "5.png").write_bytes(b"no picture")
    paths = pictures_in(folder)
    assert [path.name for path in paths] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    expected = moments(features(textures(5, 48)))
    found = folder_moments(paths, features, batch=2)
    assert found.count == 5
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-3, atol=1e-9)
    assert frechet_distance(found, expected) < 1e-6


def test_pictures_of_other_shapes_are_cut_to_their_middle_and_mixed(features: Features, tmp_path: Path) -> None:
    square = textures(1, 40)[0].permute(1, 2, 0).numpy()
    wide = np.concatenate([np.zeros([40, 10, 3], np.uint8), square, np.zeros([40, 10, 3], np.uint8)], axis=1)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(square[:, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(square).resize((60, 60)).save(tmp_path / "larger.png")
    assert torch.equal(read_square(tmp_path / "wide.png"), torch.tensor(square).permute(2, 0, 1))
    assert folder_moments(pictures_in(tmp_path), features).count == 3


def test_a_turned_photo_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    pixels = textures(1, 16)[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(read_square(tmp_path / "turned.png"), torch.tensor(pixels[::-1, ::-1].copy()).permute(2, 0, 1))


def test_what_cannot_be_read_is_named(features: Features, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        pictures_in(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no pictures"):
        pictures_in(tmp_path / "empty")
    (folder / "2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.png: not readable as a picture"):
        folder_moments(pictures_in(folder), features)
    with pytest.raises(InputError, match="no pictures"):
        folder_moments([], features)


def test_a_folder_that_was_cut_goes_on_bit_for_bit(features: Features, folder: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "PIECE", 2)
    paths, seen = pictures_in(folder), []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    whole = folder_moments(paths, features)
    with pytest.raises(KeyboardInterrupt):
        folder_moments(paths, features, keep=tmp_path / "kept", on_progress=interrupt)
    assert seen == [(2, 5), (4, 5)]
    seen.clear()
    found = folder_moments(paths, features, keep=tmp_path / "kept", on_progress=lambda *now: seen.append(now))
    assert seen == [(4, 5), (5, 5)]  # The first piece was kept.
    assert torch.equal(found.covariance, whole.covariance)
    Image.fromarray(np.zeros([48, 48, 3], np.uint8)).save(paths[0])  # Another picture is another file.
    changed = folder_moments(paths, features, keep=tmp_path / "kept")
    assert not torch.equal(changed.mean, whole.mean)


def test_halves_share_nothing_and_are_mixed() -> None:
    paths = [Path(str(index)) for index in range(21)]
    a, b = halves(paths)
    assert len(a) == len(b) == 10
    assert len({*a, *b}) == 20
    assert a not in (paths[:10], paths[10:20])


# Generators.

def test_a_generator_is_its_samples(features: Features, generator: Generator) -> None:
    pixels = to_pixels(generator.render(generator.sample(range(3, 9), truncation=0.5)))
    expected = moments(features(torch.tensor(pixels).permute(0, 3, 1, 2)))
    found = generator_moments(generator, 6, seed=3, batch=4, features=features, truncation=0.5)
    assert found.count == 6
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-3, atol=1e-5)
    assert frechet_distance(found, expected) < 1e-5


def test_samples_that_are_kept_are_not_drawn_again(features: Features, generator: Generator, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frechet, "PIECE", 2)
    whole = generator_moments(generator, 5, batch=2, features=features)
    generator_moments(generator, 4, batch=2, features=features, keep=tmp_path)
    seen: list[int] = []
    found = generator_moments(generator, 5, batch=2, features=features, keep=tmp_path,
                              on_progress=lambda done, total: seen.append(done))
    assert seen == [5]
    assert torch.equal(found.covariance, whole.covariance)
    other = generator_moments(generator, 4, batch=2, features=features, keep=tmp_path, truncation=0.5)
    assert not torch.equal(other.mean, generator_moments(generator, 4, features=features).mean)


def test_a_generator_that_draws_nothing_finite_is_refused(features: Features, generator: Generator) -> None:
    broken = generator.tuned({"synthesis.b4.const": torch.full_like(generator.synthesis.b4.const, torch.nan)})
    with pytest.raises(InputError, match="no finite picture"):
        generator_moments(broken, 2, features=features)
    with pytest.raises(InputError, match="count"):
        generator_moments(generator, 0, features=features)


# The command.

def test_the_command_says_and_writes_what_it_found(generator: Generator, folder: Path, tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "made.safetensors", generator.config, generator.state_dict())
    arguments = [str(tmp_path / "made.safetensors"), str(folder), "--count", "4", "--floor", "--device", "cpu",
                 "--threads", "1", "--out", str(tmp_path / "found.json")]
    assert main(arguments) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found[NAME] > found["two halves of the pictures"] > 0
    assert (found["samples"], found["pictures"], found["resolution"]) == (4, 5, 32)
    assert f"{NAME}: {found[NAME]:.5g}" in capsys.readouterr().out


def test_the_command_ends_with_one_line_where_it_cannot(folder: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.safetensors"), str(folder), "--threads", "1"]) == 1
    assert "nothing.safetensors" in capsys.readouterr().err
