"""The tone of the skin: what has it already comes back as it is; tinted skin gets it back; all else stays."""

from __future__ import annotations

import numpy as np
import pytest

from inversion import Monochrome, keep_tone, skin_tone

LIGHT, DARK = (226, 184, 162), (96, 62, 46)
WALL = (60, 90, 160)


def head(skin: tuple[int, int, int], *, side: int = 256, teeth: bool = False) -> np.ndarray:
    """A flat face before a wall, where an aligned crop has it."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = WALL
    picture[((x - 0.5) / 0.27) ** 2 + ((y - 0.55) / 0.36) ** 2 < 1] = skin
    if teeth:
        picture[(abs(x - 0.5) < 0.1) & (abs(y - 0.74) < 0.03)] = 240
    return picture


@pytest.mark.parametrize("skin", [LIGHT, DARK])
def test_a_picture_of_this_tone_comes_back_bit_for_bit(skin: tuple[int, int, int]) -> None:
    picture = head(skin)
    assert skin_tone(picture) == pytest.approx(skin, abs=0.5)
    assert np.array_equal(keep_tone(picture, skin_tone(picture)), picture)
    # Teeth, which a smile shows, are no change of tone.
    smiling = head(skin, teeth=True)
    assert np.array_equal(keep_tone(smiling, skin_tone(picture)), smiling)


@pytest.mark.parametrize("skin", [LIGHT, DARK])
@pytest.mark.parametrize("tint", [(1.1, 0.95, 0.92), (0.85, 0.85, 0.85), (1.0, 1.0, 0.8)])
def test_tinted_skin_gets_its_tone_back_and_the_wall_stays(skin: tuple[int, int, int],
                                                           tint: tuple[float, float, float]) -> None:
    unedited = head(skin)
    red, green, blue = (min(round(value * part), 255) for value, part in zip(skin, tint, strict=True))
    edited = head((red, green, blue))
    toned = keep_tone(edited, skin_tone(unedited))
    assert np.abs(skin_tone(toned) - skin_tone(unedited)).max() < 0.15 * np.abs(skin_tone(edited) - skin).max() + 1
    corner = np.s_[:40, :40]
    assert np.abs(toned[corner].astype(int) - edited[corner]).max() <= 1


def test_black_pictures_are_no_division_by_zero() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    assert np.array_equal(keep_tone(black, skin_tone(black)), black)
    assert keep_tone(black, np.array(LIGHT, np.float32)).max() == 0


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """A photograph with a face in it, in colours."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:256, 100:356])


def tinted(picture: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """The picture in one colour, as old prints are."""
    light = picture @ np.array((0.299, 0.587, 0.114))
    return np.rint(light[..., None] * colour).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [(1, 1, 1), (1.0, 0.85, 0.65), (0.7, 0.9, 1.0)])
def test_what_is_drawn_in_colours_gets_those_of_a_photo_of_one_colour(portrait: np.ndarray,
                                                                      colour: tuple[float, float, float]) -> None:
    photo = tinted(portrait, colour)
    monochrome = Monochrome.of(photo)
    assert monochrome is not None
    assert np.abs(monochrome(photo).astype(int) - photo).max() <= 4
    # What a generator draws has the photo's colours then, as light as it is.
    drawn = tinted(portrait, colour)
    light = np.array((0.299, 0.587, 0.114))
    assert np.abs(monochrome(drawn) @ light - drawn @ light).mean() < 2
    if colour == (1, 1, 1):
        assert np.ptp(monochrome(portrait).astype(int), axis=2).max() <= 1


def test_photos_of_several_colours_and_flat_ones_have_none(portrait: np.ndarray) -> None:
    assert Monochrome.of(portrait) is None
    assert Monochrome.of(head(LIGHT)) is None
    assert Monochrome.of(np.full((64, 64, 3), 90, np.uint8)) is None
