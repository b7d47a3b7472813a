"""What may be tried on a face: pictures at the ends of its sliders, looks to choose by one click, and surprises."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from directions import Controls, Direction
from editing import Edit
from inversion import SAME_PERSON, made_smaller
from page.jobs.editing import preview_picture
from page.jobs.executors import give_way_to_edits, measurements
from page.jobs.measuring import Effect, effect_of
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor

SIDE = 96             # Of the small pictures, in pixels.
WAY = 5.0             # Seconds that one of them waits for edits at most.
REST = 1.5            # Seconds without a move of the visitor after which the next one is made.
LOOK = 0.2            # Seconds between two looks at that.
SHARES = (0.75, 0.5)  # Of a slider's safe range, that are tried where the whole is too much for a face.
TOO_MUCH = 0.5        # By how much the classifier may see another attribute change, of 1.
NEW_PERSON = frozenset({"gender", "age"})  # With these dlib sees another person, and is right.
LOOKS: Mapping[str, Mapping[str, float]] = {
    "Big smile": {"smile": 1.25}, "Older": {"age": 0.75}, "Younger": {"age": -0.75},
    "Reading glasses": {"eyeglasses:eyeglasses": 1.0}, "Blond": {"hair:blond": 1.0}, "Black hair": {"hair:black": 1.0},
    "Red hair": {"hair:red": 1.0}, "Fringe": {"bangs": 1.0}, "Hat": {"hat": 1.0},
    "Sunglasses": {"eyeglasses:sunglasses": 1.0},
}
"""Edits that are offered by name, where the controls have what they change."""
TASTEFUL: Mapping[str, tuple[tuple[float, float], ...]] = {
    "smile": ((0.5, 1.25),), "age": ((-0.6, -0.25), (0.3, 0.75)), "hair:blond": ((0.6, 1.0),),
    "hair:black": ((0.6, 1.0),), "hair:red": ((0.6, 1.0),), "eyeglasses:eyeglasses": ((0.9, 1.0),),
    "bangs": ((0.6, 1.0),), "pose": ((-0.75, -0.4), (0.4, 0.75)), "mouth": ((0.4, 0.9),),
}
"""From which strengths a surprise is drawn."""


@dataclass(frozen=True)
class End:
    """What a slider leads to."""

    limit: float         # The strength at this end; nearer to 0 than the control's own where this face bears no more.
    picture: np.ndarray  # uint8 [SIDE, SIDE, 3]


@dataclass
class Suggestions:
    """What was made for one subject so far."""

    ends: dict[str, dict[bool, End]] = field(default_factory=dict)  # By control, and whether it is the upper end.
    looks: dict[str, np.ndarray] = field(default_factory=dict)      # uint8 [SIDE, SIDE, 3] by name.


def known_looks(controls: Controls) -> dict[str, Edit]:
    """The looks that controls can make, by name."""
    return {name: Edit(strengths=dict(strengths)) for name, strengths in LOOKS.items()
            if all(_known(controls, key) for key in strengths)}


def surprise(controls: Controls, rng: random.Random | None = None) -> Edit:
    """Two or three changes that suit most faces, as chance will have it."""
    rng = rng or random.Random()  # noqa: S311 (a look, not a secret)
    by_control: dict[str, list[str]] = {}
    for key in TASTEFUL:
        if _known(controls, key):
            by_control.setdefault(key.partition(":")[0], []).append(key)
    chosen = rng.sample(sorted(by_control), min(rng.choice((2, 3)), len(by_control)))
    strengths = {}
    for name in chosen:
        key = rng.choice(by_control[name])
        strengths[key] = round(rng.uniform(*rng.choice(TASTEFUL[key])), 2)
    return Edit(strengths=strengths)


def suggestions(visitor: Visitor, models: EditingModels, subject: EditSubject) -> Iterator[Suggestions]:
    """Make the looks, then the ends of the sliders, one after the other as long as nothing else is to be drawn.

    Ends when the visitor goes on to another subject. What is yielded is one object, which grows: first it has all
    looks, then the ends of one slider after the other. Of all visitors' pictures one is made at a time.
    """
    made = Suggestions()
    for name, edit in known_looks(models.controls).items():
        if not _rests(visitor, subject):
            return
        picture = measurements().submit(preview_picture, models, subject, edit).result()
        made.looks[name] = made_smaller(picture, SIDE)
    yield made
    for control in [control for control in models.controls.values() if control.binary]:
        for upper in (False, True):
            if not _rests(visitor, subject):
                return
            end = measurements().submit(end_of, models, subject, control, upper=upper).result()
            made.ends.setdefault(control.name, {})[upper] = end
        yield made


def end_of(models: EditingModels, subject: EditSubject, control: Direction, *, upper: bool) -> End:
    """The picture at one end of a slider: of the farthest strength that this face bears.

    A face bears less where what it becomes is, to dlib, another person, or where the classifier sees another attribute
    change; it is asked at most twice more, nearer to what the face is.
    """
    limit = control.limits[int(upper)]
    picture, effect = _tried(models, subject, control.name, limit)
    for share in SHARES:
        if bears(effect):
            break
        limit = round(share * control.limits[int(upper)], 2)
        picture, effect = _tried(models, subject, control.name, limit)
    return End(limit, made_smaller(picture, SIDE))


def bears(effect: Effect) -> bool:
    """Whether an edit of one attribute left the person and everything else as they were."""
    asked = {measure.attribute for measure in effect.measures if measure.asked}
    same = effect.identity < SAME_PERSON or bool(asked & NEW_PERSON)
    return same and all(measure.largest < TOO_MUCH for measure in effect.measures
                        if not measure.asked and not asked & NEW_PERSON)


def _rests(visitor: Visitor, subject: EditSubject) -> bool:
    """Wait until a visitor rests and no edit is made; False: they went on to another subject.

    One that took its place on the way to a better one is none: it has the same limits.
    """
    def goes_on() -> bool:
        return visitor.subject is not None and visitor.subject.limits is subject.limits

    while goes_on() and time.monotonic() - visitor.seen < REST:
        time.sleep(LOOK)
    give_way_to_edits(WAY)
    return goes_on()


def _tried(models: EditingModels, subject: EditSubject, name: str, strength: float) -> tuple[np.ndarray, Effect]:
    edit = Edit(strengths={name: strength})
    picture = preview_picture(models, subject, edit)
    return picture, effect_of(models, subject, edit, picture)


def _known(controls: Controls, key: str) -> bool:
    name = key.partition(":")[0]
    return name in controls and key in controls[name].keys
