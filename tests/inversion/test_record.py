"""Inversion files: they come back as they were written, and belong to one generator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from generators import Space
from inversion import Inversion, ProjectorSettings, load_inversion, save_inversion
from weights.errors import InputError

SPACE = Space.of("w", torch.randn(4, 512, generator=torch.Generator().manual_seed(0)))


def generator(*, hash: str = "a" * 64, space: Space = SPACE, num_ws: int = 12) -> Any:
    return SimpleNamespace(hash=hash, space=space, num_ws=num_ws)


@pytest.fixture
def record() -> Inversion:
    rng = np.random.default_rng(0)
    return Inversion(latent=torch.randn(12, 512), space=SPACE, steps=9, lpips=0.1, mse=0.02, identity=0.4,
                     crop=rng.integers(0, 256, [32, 32, 3], np.uint8), seconds=1.5,
                     picture=rng.integers(0, 256, [32, 32, 3], np.uint8),
                     settings=ProjectorSettings(space="w+", steps=9)).of_photo("b" * 64, np.arange(8.0).reshape(4, 2))


def test_a_record_comes_back_as_it_was(record: Inversion, tmp_path: Path) -> None:
    save_inversion(tmp_path / "x.safetensors", record)
    back = load_inversion(tmp_path / "x.safetensors")
    assert torch.equal(back.latent, record.latent)
    assert np.array_equal(back.crop, record.crop)
    assert np.array_equal(back.picture, record.picture)
    assert back.space.to_text() == record.space.to_text()
    for name in ("generator_hash", "lpips", "mse", "identity", "seconds", "steps", "settings", "photo_hash", "quad"):
        assert getattr(back, name) == getattr(record, name), name


def test_it_fits_every_generator_of_its_space(record: Inversion, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_inversion(path, record)
    near = Space.of("w", SPACE.probes.repeat_interleave(32, dim=1) * 1.001)
    for same in (generator(), generator(hash="c" * 64), generator(space=near)):
        load_inversion(path, generator=same)
    far = Space.of("w", torch.randn(4, 512, generator=torch.Generator().manual_seed(1)))
    words = rf"another space \({SPACE.short}\).*\({far.short}\)"
    with pytest.raises(InputError, match=rf"x\.safetensors: this latent.*{words}.*invert the photo again"):
        load_inversion(path, generator=generator(space=far))


def test_rows_follow_the_generator_but_of_a_tuned_one(record: Inversion, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_inversion(path, record)
    for rows in (10, 12, 18):
        latent = load_inversion(path, generator=generator(num_ws=rows)).latent
        assert torch.equal(latent[:12], record.latent[:rows])
        assert all(torch.equal(row, record.latent[-1]) for row in latent[12:])
    with pytest.raises(InputError, match="has 12 rows, and the loaded generator takes 18"):
        record.check(generator(num_ws=18))


def test_a_tuned_one_fits_its_weights_alone(record: Inversion, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_inversion(path, replace(record, tuning={"weight": torch.ones(2)}, generator_hash="a" * 64))
    load_inversion(path, generator=generator())
    with pytest.raises(InputError, match=r"x\.safetensors: this inversion is tuned to generator aaaaaaa.*ccccccc"):
        load_inversion(path, generator=generator(hash="c" * 64))


def test_damaged_and_foreign_files_are_refused(record: Inversion, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_inversion(path, record)
    whole = path.read_bytes()
    for content in (b"", whole[:len(whole) // 2], b"<html></html>"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.safetensors"):
            load_inversion(path)
    written, space = b"gradctrl-inversion-3", SPACE.to_text().encode()
    for old, new, words in ((written, b"gradctrl-inversion-2", "made by a former version.*; invert the photo again"),
                            (written, b"gradctrl-inversion-9", "made by a later version"),
                            (written, b"gradctrl-controls-10", "not an inversion"),
                            (space, space[:8] + b"?" + space[9:], "damaged inversion")):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(InputError, match=words):
            load_inversion(path)
    with pytest.raises(InputError, match="no such file"):
        load_inversion(tmp_path / "none.safetensors")
