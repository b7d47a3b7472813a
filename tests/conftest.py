"""What all tests share: one thread, small models in place of the bundled ones, and one real photograph.

The photograph is NASA's portrait of Eileen Collins (public domain).
"""

# ruff: noqa: E402 (the number of threads is read when torch and numpy are first imported)
from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # As the page does it; see app.py.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    # Tests run in several processes at once, and results must not depend on how many threads a thread has.
    os.environ.setdefault(_variable, "1")
os.environ["GRADCTRL_INVERSIONS"] = "off"  # No test may use or fill the inversions that the user keeps.

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from inversion import Face, find_faces
from inversion.alignment import align
from inversion.photo import Photo, open_photo
from tests.small_models import write_small_models
from weights import manifest, store


@pytest.fixture(scope="session", autouse=True)
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the bundled files, with small models for the bundled generator, of which a picture takes long."""
    folder = tmp_path_factory.mktemp("bundled")
    write_small_models(folder)
    for file in manifest.BUNDLED.iterdir():
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "BUNDLED", folder)
        yield folder


@pytest.fixture
def bundled_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled models themselves, for one test."""
    monkeypatch.setattr(store, "BUNDLED", manifest.BUNDLED)


@pytest.fixture(scope="session")
def astronaut_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photograph, 512 x 512, as a JPEG file."""
    from PIL import Image
    from skimage import data

    path = tmp_path_factory.mktemp("photos") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path, quality=95)
    return path


@pytest.fixture(scope="session")
def astronaut(astronaut_file: Path) -> Photo:
    return open_photo(astronaut_file)


@pytest.fixture(scope="session")
def astronaut_faces(astronaut: Photo) -> list[Face]:
    return find_faces(astronaut)


@pytest.fixture(scope="session")
def astronaut_crop(astronaut: Photo, astronaut_faces: list[Face]) -> npt.NDArray[np.uint8]:
    """The aligned face, uint8 [128, 128, 3]; copy it before changing it."""
    return align(astronaut, astronaut_faces[0], 128)


@pytest.fixture(scope="session")
def face_at() -> Callable[..., Face]:
    """Makes a face with a given quad: its middle, side (photo pixels) and clockwise turn (degrees)."""

    def make(middle: tuple[float, float], side: float, turn: float = 0.0) -> Face:
        angle = np.radians(turn)
        x = np.array([np.cos(angle), np.sin(angle)]) * side / 2
        y = np.array([-x[1], x[0]])
        quad = np.stack([-x - y, -x + y, x + y, x - y]) + middle
        return Face((0, 0, 0, 0), 1.0, np.zeros((68, 2)), quad)

    return make
