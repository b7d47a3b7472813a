"""Inversion files: they come back as they were written, and belong to one generator."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inversion import Inversion, ProjectorSettings, load_inversion, save_inversion
from weights.errors import InputError


@pytest.fixture
def record() -> Inversion:
    rng = np.random.default_rng(0)
    return Inversion(latent=torch.randn(12, 512), generator_hash="a" * 64, steps=9, lpips=0.1, mse=0.02, identity=0.4,
                     crop=rng.integers(0, 256, [32, 32, 3], np.uint8), seconds=1.5,
                     picture=rng.integers(0, 256, [32, 32, 3], np.uint8),
                     settings=ProjectorSettings(space="w+", steps=9)).of_photo("b" * 64, np.arange(8.0).reshape(4, 2))


def test_a_record_comes_back_as_it_was(record: Inversion, tmp_path: Path) -> None:
    save_inversion(tmp_path / "x.safetensors", record)
    back = load_inversion(tmp_path / "x.safetensors")
    assert torch.equal(back.latent, record.latent)
    assert np.array_equal(back.crop, record.crop)
    assert np.array_equal(back.picture, record.picture)
    for name in ("generator_hash", "lpips", "mse", "identity", "seconds", "steps", "settings", "photo_hash", "quad"):
        assert getattr(back, name) == getattr(record, name), name


def test_another_generator_is_refused(record: Inversion, tmp_path: Path) -> None:
    save_inversion(tmp_path / "x.safetensors", record)
    same, other = SimpleNamespace(hash="a" * 64), SimpleNamespace(hash="c" * 64)
    load_inversion(tmp_path / "x.safetensors", generator=same)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"x\.safetensors.*belongs to generator aaaaaaaaaaaa.*cccccccccccc"):
        load_inversion(tmp_path / "x.safetensors", generator=other)  # type: ignore[arg-type]


def test_damaged_and_foreign_files_are_refused(record: Inversion, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_inversion(path, record)
    whole = path.read_bytes()
    for content in (b"", whole[:len(whole) // 2], b"<html></html>"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.safetensors"):
            load_inversion(path)
    path.write_bytes(whole.replace(b"gradctrl-inversion-2", b"gradctrl-inversion-9"))
    with pytest.raises(InputError, match="not an inversion"):
        load_inversion(path)
    with pytest.raises(InputError, match="no such file"):
        load_inversion(tmp_path / "none.safetensors")
