"""Reading a folder of pictures, and the order in which they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylegan2 import from_bytes
from weights.errors import InputError
from weights.training.gan.chance import Order, generator
from weights.training.gan.pictures import find_pictures, pixels_hash, read_picture, read_pictures

RNG = np.random.default_rng(0)


def save(path: Path, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, [size[1], size[0], 3], np.uint8)).convert(mode).save(path)
    return path


def test_all_formats_sizes_and_subfolders_are_found_and_read(tmp_path: Path) -> None:
    wanted = [save(tmp_path / "a.png"), save(tmp_path / "b.jpg", (90, 40)), save(tmp_path / "c/d.webp", (10, 12)),
              save(tmp_path / "e.gif", mode="P"), save(tmp_path / "f.bmp", mode="L"),
              save(tmp_path / "g.png", mode="RGBA"), save(tmp_path / "h.tiff", mode="CMYK")]
    for name in ("labels.csv", "README.md", ".DS_Store", ".hidden/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no picture")
    assert find_pictures(tmp_path) == wanted
    told: list[tuple[int, int]] = []
    pixels = read_pictures(wanted, 32, workers=2, on_picture=lambda done, total: told.append((done, total)))
    assert pixels.shape == (7, 3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert told == [(index, 7) for index in range(1, 8)]


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", (32, 32))
    with Image.open(path) as image:
        assert np.array_equal(read_picture(path, 32), np.asarray(image))


def test_the_middle_of_an_oblong_picture_is_taken(tmp_path: Path) -> None:
    pixels = np.zeros([32, 96, 3], np.uint8)
    pixels[:, 32:64] = 200
    for turned, name in ((pixels, "wide.png"), (pixels.swapaxes(0, 1), "tall.png")):
        Image.fromarray(turned).save(tmp_path / name)
        assert np.array_equal(read_picture(tmp_path / name, 32), np.full([32, 32, 3], 200, np.uint8))


def test_a_camera_s_turn_is_applied_and_what_is_transparent_is_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), "black")
    image.paste("red", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=exif)
    assert tuple(read_picture(tmp_path / "turned.png", 32)[31, 0]) == (255, 0, 0)
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png", 32).min() == 255


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = save(tmp_path / "a.png")
    bad = tmp_path / "broken.png"
    bad.write_bytes(good.read_bytes()[:200])
    with pytest.raises(InputError, match=r"broken\.png: not readable"):
        read_pictures(find_pictures(tmp_path), 32)
    bad.write_text("hello")
    with pytest.raises(InputError, match=r"broken\.png: not readable"):
        read_pictures(find_pictures(tmp_path), 32)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_pictures(tmp_path / "none")
    (tmp_path / "labels.csv").touch()
    with pytest.raises(InputError, match="no pictures"):
        find_pictures(tmp_path)


def test_the_hash_tells_pictures_apart() -> None:
    pixels = torch.arange(48, dtype=torch.uint8).reshape(4, 3, 2, 2)
    assert pixels_hash(pixels) == pixels_hash(pixels.clone())
    assert pixels_hash(pixels) != pixels_hash(pixels.flip(0))
    assert pixels_hash(pixels) != pixels_hash(pixels.reshape(2, 6, 2, 2))
    assert (float(from_bytes(pixels).min()), float(from_bytes(torch.full([], 255)))) == (-1, 1)


def test_every_pass_shows_every_picture_once_in_a_new_order() -> None:
    order = Order(10, seed=3)
    drawn = torch.cat([order.next(4) for _ in range(5)])
    first, second = drawn[:10], drawn[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()
    assert order.drawn == 20


def test_an_order_goes_on_from_where_it_was() -> None:
    whole, part = Order(7, seed=1), Order(7, seed=1)
    expected = whole.next(40)
    begun = part.next(17)
    rest = Order(7, seed=1, drawn=part.drawn).next(23)
    assert torch.equal(torch.cat([begun, rest]), expected)
    assert not torch.equal(Order(7, seed=2).next(40), expected)
    assert len(whole.next(0)) == 0


def test_chance_depends_on_every_name() -> None:
    draws = [torch.rand(3, generator=generator("cpu", *names)).tolist()
             for names in (("a", 0, 1), ("a", 0, 2), ("b", 0, 1), ("a", 1, 1))]
    assert len({tuple(draw) for draw in draws}) == 4
    assert torch.rand(3, generator=generator("cpu", "a", 0, 1)).tolist() == draws[0]
