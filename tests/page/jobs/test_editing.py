"""Previews of edits: exact where nothing changes, and else near the whole picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from editing import Edit
from generators import Generator
from inversion import made_smaller
from page.jobs.editing import edited_picture, editor_of, preview_picture
from page.jobs.opening import draw_sample
from page.jobs.services import Services
from page.state.models import EditingModels, LazyGenerator
from page.state.visitor import EditSubject, Visitor

SIDE = 64
SMILE = Edit(strengths={"smile": 1.0})
ALMOST_NOTHING = Edit(strengths={"smile": 1e-6})


@pytest.fixture
def models(services: Services) -> EditingModels:
    """Of which previews have half the side of whole pictures."""
    models = EditingModels(LazyGenerator(services.models.generator), services.models.controls)
    models.timing.preview_side = SIDE
    return models


def sample_of(generator: Generator, seed: int = 5) -> EditSubject:
    visitor = Visitor()
    draw_sample(visitor, generator, seed, 0.7)
    return visitor.present_subject


@pytest.fixture(params=["sample", "tuned"])
def subject(request: pytest.FixtureRequest, models: EditingModels) -> EditSubject:
    """A sample, and an inversion with a generator that was fitted to it."""
    if request.param == "sample":
        return sample_of(models.generator)
    inverted: Visitor = request.getfixturevalue("inverted")
    found = replace(inverted.present_subject)
    assert found.inversion is not None
    assert found.inversion.tuning
    return found


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


def test_without_a_change_it_is_the_unedited_picture_made_smaller(models: EditingModels, subject: EditSubject) -> None:
    for side in (SIDE, SIDE // 2):  # Another one when the machine was timed.
        models.timing.preview_side = side
        expected = made_smaller(subject.picture, side)
        for edit in (Edit(), Edit(strengths={"smile": 0.0}), Edit(strengths={"smile": 0.0}, keep=("age",))):
            assert np.array_equal(preview_picture(models, subject, edit), expected)
        assert difference(preview_picture(models, subject, ALMOST_NOTHING), expected) < 0.01


def test_it_shows_the_edit(models: EditingModels, subject: EditSubject) -> None:
    still = preview_picture(models, subject, Edit())
    for edit in (SMILE, Edit(strengths={"age": -1.0}), Edit(strengths={"smile": 1.0, "hair:blond": 1.0})):
        preview = preview_picture(models, subject, edit)
        whole = made_smaller(edited_picture(models, subject, edit), SIDE)
        assert (preview.shape, preview.dtype) == (whole.shape, whole.dtype)
        assert difference(preview, whole) < difference(still, whole)
        assert np.array_equal(preview, preview_picture(models, subject, edit))


def test_of_a_generator_of_one_side_it_is_the_edited_picture(models: EditingModels, subject: EditSubject) -> None:
    models.timing.preview_side = models.generator.img_resolution
    for edit in (Edit(), SMILE):
        assert np.array_equal(preview_picture(models, subject, edit), edited_picture(models, subject, edit))


def test_before_the_machine_was_timed_they_are_as_small_as_previews_can_be(models: EditingModels) -> None:
    models.timing.preview_side = 0
    assert models.preview_side == models.generator.side_for(128)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "part"), [(128, 0.6), (256, 0.4)])
def test_of_a_real_face_it_is_near(bundled_models: None, side: int, part: float) -> None:
    """And of a small edit nearer than the generator's small picture alone."""
    models = Services(device="cpu").models
    models.timing.preview_side = side
    subject = sample_of(models.generator)
    still = preview_picture(models, subject, Edit())
    for name in ("smile", "age"):
        small, large = (Edit(strengths={name: strength}) for strength in (0.2, 1.0))
        whole = made_smaller(edited_picture(models, subject, large), side)
        assert difference(preview_picture(models, subject, large), whole) < part * difference(still, whole)
        whole = made_smaller(edited_picture(models, subject, small), side)
        alone = editor_of(models, subject).edit(small, side=side)
        assert difference(preview_picture(models, subject, small), whole) < 0.7 * difference(alone, whole)
