"""Two generators of one W, as NVIDIA's FFHQ file and its student are: each takes what was made for the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import directions
from directions import GradCtrlControl
from editing import Editor
from generators import Generator, LatentStatistics, MobileStyleGAN, Space, StyleGAN2, StyleGAN2Config, load
from gradctrl import Classifier
from inversion import Projector, ProjectorSettings, load_inversion, save_inversion
from inversion.encoder import Encoder, load_encoder, save_encoder
from tests.generators.made_generators import CHANNELS, make_student
from weights.errors import InputError
from weights.manifest import BUNDLED

FORMER = ("w 512 MLSdPR03xj+mtQSn9qINuAY3IUNiNhIrJz4FtkMxMbdZs+I60j1kQWO1aDdxMDq1lTzLQZujoK2EPUSoaztRsYu0Bz3NPuNAjbjC"
          "N6SjuLUFQABD5KCrsWI9yrMaPJm0UrTVPr08O0G8tTmrlDYQtmU6+kKGM4QoZz0jtUAyqbY=")  # The space of 128 pixels.


@pytest.fixture(scope="module")
def student() -> MobileStyleGAN:
    return make_student(64)


@pytest.fixture(scope="module")
def teacher(student: MobileStyleGAN) -> StyleGAN2:
    """Random but for the student's mapping network."""
    torch.manual_seed(3)
    config = StyleGAN2Config(img_resolution=64, channels=CHANNELS[:5], z_dim=32, w_dim=20, mapping_layers=2,
                             mapping_lr_multiplier=1.0)
    teacher = StyleGAN2(config)
    teacher.mapping.load_state_dict(student.mapping.state_dict())
    return teacher.requires_grad_(False).eval()


@pytest.fixture(params=["to the teacher", "to the student"])
def pair(request: pytest.FixtureRequest, student: MobileStyleGAN, teacher: StyleGAN2) -> tuple[Generator, Generator]:
    """The one that something is made with, and the one that takes it."""
    return (student, teacher) if request.param == "to the teacher" else (teacher, student)


def test_the_space_is_one_and_the_generators_are_two(pair: tuple[Generator, Generator]) -> None:
    one, other = pair
    assert one.space.matches(other.space)
    assert one.hash != other.hash
    assert torch.equal(one.sample([1, 2]), other.sample([1, 2]))


def test_controls(pair: tuple[Generator, Generator], tmp_path: Path) -> None:
    one, other = pair
    classifier = Classifier(hidden_weight=torch.randn(4, 20), hidden_bias=torch.randn(4), out_weight=torch.randn(1, 4),
                            out_bias=torch.randn(1))
    smile = GradCtrlControl(name="smile", classes=("no", "yes"), classifier=classifier)
    directions.save(tmp_path / "c.safetensors", [smile], spaces=one.spaces)
    editor = Editor(other, directions.load(tmp_path / "c.safetensors"))
    editor.set_latent(other.sample([5])[0])
    assert not np.array_equal(editor.edit({"smile": 1.0}), editor.edit({}))


@pytest.mark.parametrize("space", ["w", "w+"])
def test_latents(pair: tuple[Generator, Generator], space: str, tmp_path: Path) -> None:
    """Rows of the student's at the end are several of the teacher's: they follow its last one."""
    one, other = pair
    settings = ProjectorSettings(steps=2, start="mean", space=space, spread_from=0.0)  # type: ignore[arg-type]
    record = Projector(one, settings).invert(np.zeros([64, 64, 3], np.uint8))
    save_inversion(tmp_path / "l.safetensors", record)
    taken = load_inversion(tmp_path / "l.safetensors", generator=other)
    taken.check(other)
    if space == "w":
        assert torch.equal(taken.latent, record.latent)
        return
    rows = min(one.num_ws, other.num_ws)
    assert torch.equal(taken.latent[:rows], record.latent[:rows])
    assert all(torch.equal(row, taken.latent[rows - 1]) for row in taken.latent[rows:])


def test_encoders_and_components(pair: tuple[Generator, Generator], tmp_path: Path) -> None:
    one, other = pair
    encoder = Encoder(20, 5, 3, hidden=8)
    save_encoder(tmp_path / "e.safetensors", encoder, space=one.space, notes={})
    assert load_encoder(tmp_path / "e.safetensors", generator=other).hash
    assert torch.equal(LatentStatistics.of_generator(one).axes, LatentStatistics.of_generator(other).axes)


def test_the_bundled_controls_fit_a_random_network_with_the_students_mapping() -> None:
    """Of NVIDIA's sizes but for the channels: 1024 pixels, 18 rows."""
    student = load(BUNDLED / "generator.safetensors")
    teacher = StyleGAN2(StyleGAN2Config(img_resolution=1024, channels=(4,) * 9, mapping_lr_multiplier=1.0))
    teacher.mapping.load_state_dict(student.mapping.state_dict())
    for name in ("authors", "controls"):
        controls = directions.load(BUNDLED / f"{name}.safetensors")
        assert {"gender", "smile", "eyeglasses", "age", "pose"} <= set(controls)
        for generator in (student, teacher.requires_grad_(False).eval()):
            controls.check(generator)
    rows = {name: generator.rows(controls[name].layers) for name in ("gender", "smile", "eyeglasses", "age")}
    assert rows == {"gender": (2, 8), "smile": (2, 10), "eyeglasses": (0, 7), "age": (4, 10)}


def test_what_the_former_bundled_generator_made_is_refused_with_its_name(student: MobileStyleGAN) -> None:
    record = Projector(student, ProjectorSettings(steps=1, start="mean")).invert(np.zeros([64, 64, 3], np.uint8))
    with pytest.raises(InputError, match="the 128-pixel generator that former versions had bundled") as caught:
        replace(record, space=Space.from_text(FORMER)).check(student)
    assert "invert the photo again" in str(caught.value)
