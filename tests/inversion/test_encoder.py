"""The encoder: training it for any generator, its file, where it is found, and inversions that begin with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generators import Generator, StyleGAN2, StyleGAN2Config, from_pixels, load, to_pixels
from inversion import PerceptualDistance, Projector, ProjectorSettings
from inversion.encoder import Encoder, encode, find_encoder, load_encoder, own_path, save_encoder
from inversion.encoder_training import EncoderSettings, Report, change, fit_encoder
from inversion.search import measure_w
from weights.errors import InputError

QUICK = EncoderSettings(count=1000, held_out=32, pool=512, passes=6, drawn_steps=30)


@pytest.fixture(scope="module")
def small() -> Generator:
    """A generator with random weights, 32 x 32."""
    torch.manual_seed(0)
    generator = StyleGAN2(StyleGAN2Config(img_resolution=32, channels=(16, 16, 12, 8), z_dim=8, w_dim=8,
                                          mapping_layers=1))
    return generator.requires_grad_(False).eval()


@pytest.fixture(scope="module")
def distance() -> PerceptualDistance:
    return PerceptualDistance()


@pytest.fixture(scope="module")
def trained(small: Generator, distance: PerceptualDistance) -> tuple[Encoder, Report, list[tuple[int, int, float]]]:
    told: list[tuple[int, int, float]] = []
    encoder, report = fit_encoder(small, distance=distance, settings=QUICK,
                                    on_step=lambda *numbers: told.append(numbers))
    return encoder, report, told


def test_it_learns_from_samples_alone(small: Generator,
                                      trained: tuple[Encoder, Report, list[tuple[int, int, float]]]) -> None:
    encoder, report, told = trained
    assert report.lpips < 0.7 * report.lpips_mean
    total = QUICK.steps + QUICK.drawn_steps
    assert [numbers[:2] for numbers in told] == [(step, total) for step in range(1, total + 1)]
    losses = [loss for *_, loss in told]
    assert np.mean(losses[QUICK.steps - 5:QUICK.steps]) < 0.8 * np.mean(losses[:3])
    assert float(encoder.rows.weight.detach().abs().max()) > 0  # Rows leave w,
    scores, rows = encoder(torch.randn(4, 832, 15, 15), torch.rand(4, 3, 16, 16))
    assert encoder.latents(scores, rows).shape == (4, small.num_ws, small.w_dim)
    assert rows.square().mean() < scores.square().mean()  # but not far.


def test_a_training_that_was_stopped_ends_as_one_in_one_go(small: Generator, distance: PerceptualDistance,
                                                           tmp_path: Path) -> None:
    """Both among the steps on known latents, with samples that have left the pool, and among the others."""
    settings = EncoderSettings(count=1000, held_out=32, pool=128, passes=1, drawn_steps=5)
    faces = torch.randint(0, 256, [6, 3, 40, 40], dtype=torch.uint8)
    whole, _ = fit_encoder(small, distance=distance, settings=settings, faces=faces)

    class Stopped(Exception):
        pass

    def stop_at(last: int) -> Callable[[int, int, float], None]:
        def on_step(done: int, total: int, loss: float) -> None:
            if done == last:
                raise Stopped
        return on_step

    kept = tmp_path / "kept.checkpoint"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inversion.encoder_training.KEEP_EVERY", 1)
        for last in (20, settings.steps + 2):
            with pytest.raises(Stopped):
                fit_encoder(small, distance=distance, settings=settings, faces=faces, checkpoint=kept,
                            on_step=stop_at(last))
        again, _ = fit_encoder(small, distance=distance, settings=settings, faces=faces, checkpoint=kept)
    assert again.hash == whole.hash
    with pytest.raises(InputError, match=r"kept\.checkpoint: a checkpoint of another training \(generator .*remove it"):
        fit_encoder(small, distance=distance, settings=replace(settings, count=1200), checkpoint=kept)
    for content in (b"", kept.read_bytes()[:1000], b"nothing"):
        kept.write_bytes(content)
        with pytest.raises(InputError, match=r"kept\.checkpoint: not a checkpoint"):
            fit_encoder(small, distance=distance, settings=settings, checkpoint=kept)


def test_training_is_repeatable_and_leaves_the_random_state(small: Generator, distance: PerceptualDistance,
                                                            trained: tuple[Encoder, Report, list]) -> None:
    state = torch.get_rng_state()
    again, _ = fit_encoder(small, distance=distance, settings=QUICK)
    assert again.hash == trained[0].hash
    assert torch.equal(torch.get_rng_state(), state)


def test_the_file_comes_back_and_names_its_generator(small: Generator, trained: tuple[Encoder, Report, list],
                                                     tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, trained[0], space=small.space, notes={"samples": "1000"})
    first, second = load_encoder(path, generator=small), load_encoder(path, generator=small)
    assert first.hash == second.hash
    maps, colours = torch.randn(2, 832, 15, 15), torch.rand(2, 3, 16, 16)
    for read, written in zip(first(maps, colours), trained[0](maps, colours), strict=True):
        assert torch.allclose(read, written, atol=0.05)
    with pytest.raises(InputError, match=r"encoder\.safetensors.*of another space"):
        load_encoder(path, generator=load("bundled"))
    whole = path.read_bytes()
    for content in (b"", whole[:len(whole) // 2], b"nothing"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"encoder\.safetensors.*gradctrl encoder"):
            load_encoder(path, generator=small)


def test_one_of_its_space_that_was_trained_here_is_found(small: Generator, trained: tuple[Encoder, Report, list],
                                                         tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCTRL_CACHE", str(tmp_path))
    assert find_encoder(small) is None
    own_path(small).parent.mkdir(parents=True)
    save_encoder(own_path(small), trained[0], space=small.space, notes={})
    found = find_encoder(small)
    assert found is not None
    own_path(small).rename(own_path(small).with_name("others.safetensors"))
    own_path(small).with_name("damaged.safetensors").write_bytes(b"nothing")
    same = find_encoder(small)  # Of another generator of this space.
    assert same is not None
    assert same.hash == found.hash
    assert find_encoder(load()) is None
    projector = Projector(small)
    assert projector.resolve(ProjectorSettings()).start == f"encoder {found.hash[:12]}"
    with pytest.raises(InputError, match="use the encoder"):
        projector.resolve(ProjectorSettings(start="encoder 000000000000"))


def test_changed_samples_stay_pictures(small: Generator) -> None:
    pictures = small.render(small.sample(range(8))).clamp(-1, 1)
    wanted, seen = change(pictures, torch.Generator().manual_seed(1))
    for changed, before in ((wanted, pictures), (seen, wanted)):
        assert changed.shape == pictures.shape
        assert changed.abs().max() <= 1
        assert (changed - before).abs().mean() > 0.01
    assert torch.equal(seen, change(pictures, torch.Generator().manual_seed(1))[1])


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1000"):
        EncoderSettings(count=999)


def test_numbers_that_are_none_become_the_mean(small: Generator, distance: PerceptualDistance,
                                               trained: tuple[Encoder, Report, list]) -> None:
    pictures = small.render(small.sample(range(2))).clamp(-1, 1)
    features = distance.features(pictures)
    for layer in features[:2]:
        layer[1] = torch.nan
    for said in encode(trained[0], pictures, features, measure_w(small), small.num_ws):
        assert said[0].abs().sum() > 0
        assert torch.equal(said[1], torch.zeros_like(said[1]))


def test_a_search_begins_with_what_the_encoder_says(small: Generator, distance: PerceptualDistance,
                                                   trained: tuple[Encoder, Report, list]) -> None:
    projector = Projector(small, distance=distance, encoder=trained[0])
    crop = to_pixels(small.render(small.sample([7])))[0]
    pictures = from_pixels(crop)
    scores, rows = encode(trained[0], pictures, distance.features(pictures), projector.statistics, small.num_ws)
    first = {space: projector.invert(crop, settings=ProjectorSettings(steps=1, space=space)).latent
             for space in ("w", "w+")}
    assert torch.allclose(first["w"], projector.statistics.restore(scores)[0], atol=1e-4)
    assert torch.allclose(first["w+"], projector.statistics.restore(scores[:, None] + rows)[0], atol=1e-4)


def test_rows_beyond_the_encoder_s_are_as_its_last(small: Generator, distance: PerceptualDistance,
                                                   trained: tuple[Encoder, Report, list]) -> None:
    pictures = small.render(small.sample([3]))
    _, rows = encode(trained[0], pictures, distance.features(pictures), measure_w(small), small.num_ws + 2)
    assert torch.equal(rows[0, -1], rows[0, small.num_ws - 1])


def test_an_inversion_names_the_encoder_it_began_with(small: Generator, distance: PerceptualDistance,
                                                      trained: tuple[Encoder, Report, list]) -> None:
    projector = Projector(small, distance=distance, encoder=trained[0])
    crop = to_pixels(small.render(small.sample([7])))[0]
    record = projector.invert(crop, settings=ProjectorSettings(steps=2))
    assert record.settings.start == f"encoder {trained[0].hash[:12]}"
    again = projector.invert(crop, settings=record.settings)
    assert torch.equal(again.latent, record.latent)
