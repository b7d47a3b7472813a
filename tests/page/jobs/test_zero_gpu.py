"""Inversions on Hugging Face's ZeroGPU, with a stand-in for the package `spaces`: asked for once, and stopped."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import app
from inversion import PRESETS, Inversion, Projector, ProjectorSettings
from page.jobs import inverting, zero_gpu
from page.jobs.services import Services
from tests.page.handling import LONG, QUICK
from tests.page.serving import served

REAL = list(PRESETS.values())  # Other tests of the page see shorter ones.
ROOT = Path(app.__file__).parent


class Spaces(ModuleType):
    """What `spaces` does that matters here: it runs the function where only copies of what it is given arrive."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.decorated: list[Callable[..., Any]] = []
        self.seconds: list[float] = []

    def GPU(self, duration: Callable[..., float]) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self.decorated.append(function)

            def lent(*args: Any) -> Iterator[Any]:
                self.seconds.append(duration(*args))
                for item in function(*pickle.loads(pickle.dumps(args))):
                    yield pickle.loads(pickle.dumps(item))

            return lent

        return decorate


@pytest.fixture(scope="module", autouse=True)
def _quick_statistics() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("generators.statistics.SAMPLES", 600)
        yield


@pytest.fixture(scope="module")
def projector(services: Services) -> Projector:
    return Projector(services.models.generator)


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spaces]:
    """A Space with ZeroGPU."""
    module = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr(zero_gpu, "LENT_DEVICE", "cpu")
    zero_gpu.lender.cache_clear()
    yield module
    zero_gpu.lender.cache_clear()


def run(projector: Projector, crop: np.ndarray, settings: ProjectorSettings, *, after: int | None = None) -> list[Any]:
    """All that an inversion reports; stopped after some reports."""
    steps: list[Any] = []
    inversion = inverting.make(projector, crop, settings, lambda: len(steps) == after, steps.append)
    return [*steps, inversion]


@pytest.mark.slow
def test_a_lent_gpu_gives_what_this_machine_gives(spaces: Spaces, projector: Projector, astronaut_crop: np.ndarray,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    lent = run(projector, astronaut_crop, QUICK)
    monkeypatch.delenv("SPACES_ZERO_GPU")
    here = run(projector, astronaut_crop, QUICK)
    assert isinstance(lent[-1], Inversion)
    assert len(lent) > 1
    assert torch.equal(lent[-1].latent, here[-1].latent)
    assert np.array_equal(lent[-1].picture, here[-1].picture)
    assert lent[-1].latent.device.type == "cpu"  # What is on the lent GPU cannot leave its process.
    assert all(tensor.device.type == "cpu" for tensor in lent[-1].tuning.values())
    assert projector.generator.device.type == "cpu"


def test_it_is_asked_for_once_before_the_page_starts(spaces: Spaces, services: Services, projector: Projector,
                                                     astronaut_crop: np.ndarray) -> None:
    with served(services):
        assert spaces.decorated == [zero_gpu.on_lent_gpu]
        for _ in range(2):
            run(projector, astronaut_crop, ProjectorSettings(steps=1, start="mean"))
    assert len(spaces.decorated) == 1


def test_longer_inversions_ask_for_longer(spaces: Spaces, projector: Projector, astronaut_crop: np.ndarray) -> None:
    for steps in (1, 30):
        run(projector, astronaut_crop, ProjectorSettings(steps=steps, start="mean", plateau=0.0), after=1)
    assert spaces.seconds[0] < spaces.seconds[1]
    fast, balanced, faithful = (zero_gpu.seconds_lent("", astronaut_crop, settings, "", "cuda") for settings in REAL)
    assert fast < balanced < faithful <= 60  # What ZeroGPU gives when it is not asked for a time.


def test_stop_reaches_the_process_with_the_gpu(spaces: Spaces, projector: Projector,
                                               astronaut_crop: np.ndarray) -> None:
    found = run(projector, astronaut_crop, LONG, after=2)
    assert found[-1].stopped
    assert found[-1].steps < LONG.steps


def test_elsewhere_nothing_of_it_is_imported(projector: Projector, astronaut_crop: np.ndarray,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)  # Importing it would raise ImportError.
    for value in (None, "", "false", "0"):
        monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
        if value is not None:
            monkeypatch.setenv("SPACES_ZERO_GPU", value)
        assert not zero_gpu.zero_gpu()
        zero_gpu.declare()
    assert isinstance(run(projector, astronaut_crop, ProjectorSettings(steps=1, start="mean"))[-1], Inversion)


FORKING = '''
"""As ZeroGPU does it: the function runs in a fork of this process."""
import multiprocessing

def GPU(duration):
    def decorate(function):
        def lent(*args):
            forked = multiprocessing.get_context("fork")
            there, here = forked.Pipe()

            def work():
                for item in function(*args):
                    there.send(item)
                there.send(None)
                there.recv()  # It waits for more work, and so long what it has sent can be fetched.

            process = forked.Process(target=work, daemon=True)
            process.start()
            while (item := here.recv()) is not None:
                yield item
            here.send(None)
            process.join()
        return lent
    return decorate
'''
IN_A_FORK = '''
import sys

import generators
from inversion import Projector, ProjectorSettings
from page.jobs import inverting, zero_gpu
from generators import statistics, to_pixels

statistics.SAMPLES = 600
zero_gpu.LENT_DEVICE = "cpu"
zero_gpu.declare()
generator = generators.load(sys.argv[1])
projector = Projector(generator)
crop = to_pixels(generator.render(generator.sample([3])))[0]
settings = ProjectorSettings(steps=6, plateau=0.0)
here = projector.invert(crop, settings=settings)  # The threads of torch are there from now on, which a fork has not.
found = inverting.make(projector, crop, settings, lambda: False, lambda progress: None)
print(found.steps, abs(found.lpips - here.lpips) < 1e-3)
'''


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork, and no ZeroGPU either")
def test_it_runs_in_a_fork_of_a_process_that_has_worked_already(small_models: Path, tmp_path: Path) -> None:
    (tmp_path / "spaces.py").write_text(FORKING)
    result = subprocess.run([sys.executable, "-c", IN_A_FORK, str(small_models / "generator.safetensors")],
                            capture_output=True, text=True, cwd=ROOT, timeout=90, check=False,
                            env={**os.environ, "SPACES_ZERO_GPU": "true", "OMP_NUM_THREADS": "2",
                                 "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["6", "True"]
