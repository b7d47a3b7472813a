"""Photos: what is decoded, how, and what is refused with which words."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from inversion.formats import size_of
from inversion.photo import open_photo, photo_from_array, read_picture_metadata, save_picture
from weights.errors import InputError

# How an upright picture is stored under each EXIF orientation (the stored one, turned back, is the upright one).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
FORMATS = {"PNG": {}, "WEBP": {"lossless": True, "exact": True}, "JPEG": {"quality": 100, "subsampling": 0}}


@pytest.fixture
def picture() -> np.ndarray:
    """A smooth, wholly asymmetric picture, so that JPEG keeps it and no turn looks like another."""
    ys, xs = np.mgrid[:40, :56]
    return np.stack([xs * 4, ys * 6, (xs + 2 * ys) * 1.5], -1).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> io.BytesIO:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **{**FORMATS[kind], **options})
    file.seek(0)
    return file


# ---- what is decoded


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_applied_exactly_once(picture: np.ndarray, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = open_photo(encoded(np.ascontiguousarray(STORED[orientation](picture)), kind, exif=exif))
    assert photo.pixels.shape == picture.shape
    assert np.abs(photo.pixels.astype(int) - picture).max() <= (4 if kind == "JPEG" else 0)


def test_a_photo_saved_again_is_not_turned_again(picture: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    first = open_photo(encoded(np.ascontiguousarray(STORED[6](picture)), exif=exif))
    save_picture(tmp_path / "again.png", first.pixels)
    assert np.array_equal(open_photo(tmp_path / "again.png").pixels, picture)


def test_a_picture_in_memory_is_turned_and_left_as_it_is(picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(STORED[6](picture))
    image = Image.open(encoded(stored, exif=exif))
    assert np.array_equal(photo_from_array(image).pixels, picture)
    assert np.array_equal(np.asarray(image), stored)
    assert image.getexif()[0x0112] == 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_orientation_counts_where_other_entries_are_damaged(picture: np.ndarray) -> None:
    """Orientation 6, and an EXIF block that lies beyond the end."""
    exif = (b"Exif\0\0MM\0*\0\0\0\x08\0\x02" b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
            b"\x87\x69\0\x04\0\0\0\x01\xff\xff\xff\0" b"\0\0\0\0")
    photo = open_photo(encoded(np.ascontiguousarray(STORED[6](picture)), "PNG", exif=exif))
    assert np.array_equal(photo.pixels, picture)


def test_photo_is_read_only_and_knows_its_file(astronaut_file: Path) -> None:
    photo = open_photo(astronaut_file)
    assert photo.name == "astronaut.jpg"
    assert photo.sha256 == hashlib.sha256(astronaut_file.read_bytes()).hexdigest()
    assert (photo.width, photo.height) == (512, 512)
    assert photo.pixels.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0] = 0


def test_path_string_and_file_object_give_the_same(astronaut_file: Path) -> None:
    with open(astronaut_file, "rb") as file:
        photos = [open_photo(astronaut_file), open_photo(str(astronaut_file)), open_photo(file)]
    assert {photo.sha256 for photo in photos} == {photos[0].sha256}
    assert {photo.name for photo in photos} == {"astronaut.jpg"}
    assert all(np.array_equal(photo.pixels, photos[0].pixels) for photo in photos)


def test_the_ending_decides_nothing(picture: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "photo.gif").write_bytes(encoded(picture).getvalue())
    assert np.array_equal(open_photo(tmp_path / "photo.gif").pixels, picture)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_laid_over_white(picture: np.ndarray, kind: str) -> None:
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    pixels = open_photo(encoded(np.dstack([picture, alpha]), kind)).pixels.astype(int)
    assert (pixels[:, :10] == 255).all()
    half = (picture[:, 10:20] * 128.0 + 255.0 * 127) / 255
    assert np.abs(pixels[:, 10:20] - half).max() <= 1
    assert np.array_equal(pixels[:, 20:], picture[:, 20:])


def test_grey_palette_and_bilevel(picture: np.ndarray) -> None:
    grey = picture[..., 0]
    assert np.array_equal(open_photo(encoded(grey)).pixels, np.repeat(grey[..., None], 3, -1))
    grey_alpha = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (56, 40), 0)])
    assert (open_photo(encoded(grey_alpha)).pixels == 255).all()
    palette = Image.fromarray(picture).quantize(64)
    assert np.array_equal(open_photo(encoded(palette)).pixels, np.asarray(palette.convert("RGB")))
    clear = palette.copy()
    clear.info["transparency"] = bytes(64)
    assert (open_photo(encoded(clear, transparency=bytes(64))).pixels == 255).all()
    bilevel = Image.fromarray(grey > 100)
    assert np.array_equal(open_photo(encoded(bilevel)).pixels[..., 1], np.where(grey > 100, 255, 0))


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    deep = np.linspace(0, 65535, 56 * 40).reshape(40, 56).astype(np.uint16)
    pixels = open_photo(encoded(deep)).pixels
    assert np.array_equal(pixels[..., 0], np.rint(deep / 257.0))


def test_sixteen_bit_colour() -> None:
    import cv2

    deep = (np.random.default_rng(0).random((12, 9, 3)) * 65535).astype(np.uint16)
    pixels = open_photo(io.BytesIO(cv2.imencode(".png", deep[..., ::-1])[1].tobytes())).pixels
    assert np.abs(pixels - deep / 257.0).max() <= 1


def test_cmyk(picture: np.ndarray) -> None:
    cmyk = Image.fromarray(picture).convert("CMYK")
    pixels = open_photo(encoded(cmyk, "JPEG")).pixels
    assert np.abs(pixels.astype(int) - picture).max() <= 8


def profile_with_red_and_green_swapped() -> bytes:
    """An ICC profile under which (r, g, b) looks as (g, r, b) does in sRGB."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = {bytes(profile[at:at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = entries[b"rXYZ"] + 4, entries[b"gXYZ"] + 4
    profile[red:red + 8], profile[green:green + 8] = profile[green:green + 8], profile[red:red + 8]
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))


@pytest.mark.parametrize("kind", FORMATS)
def test_profile_is_converted_to_srgb(picture: np.ndarray, kind: str) -> None:
    pixels = open_photo(encoded(picture, kind, icc_profile=profile_with_red_and_green_swapped())).pixels
    assert np.abs(pixels.astype(int) - picture[..., [1, 0, 2]]).max() <= 6


def test_an_edited_photo_keeps_its_profile_and_where_nothing_changed_its_own_pixels(picture: np.ndarray,
                                                                                    tmp_path: Path) -> None:
    profile = profile_with_red_and_green_swapped()
    photo = open_photo(encoded(picture, "PNG", icc_profile=profile))
    edited = photo.pixels.copy()
    edited[2:6, 3:9] = 255 - edited[2:6, 3:9]
    for name, pixels in (("same.png", photo.pixels), ("edited.png", edited)):
        save_picture(tmp_path / name, pixels, like=photo)
        with Image.open(tmp_path / name) as image:
            assert image.info["icc_profile"] == profile
            stored = np.asarray(image)
        changed = (pixels != photo.pixels).any(axis=2)
        assert np.array_equal(stored[~changed], picture[~changed])
        assert np.abs(open_photo(tmp_path / name).pixels.astype(int) - pixels).max() <= 2
    # A picture of another size, as a crop is, and one that is like no photo, are sRGB.
    save_picture(tmp_path / "crop.png", edited[:4, :4], like=photo)
    save_picture(tmp_path / "plain.png", edited)
    for name in ("crop.png", "plain.png"):
        with Image.open(tmp_path / name) as image:
            assert "icc_profile" not in image.info
    assert open_photo(encoded(picture, "PNG")).stored is None


def test_an_edited_photo_keeps_its_transparency(picture: np.ndarray, tmp_path: Path) -> None:
    alpha = np.full(picture.shape[:2], 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    photo = open_photo(encoded(np.dstack([picture, alpha])))
    edited = photo.pixels.copy()
    edited[2:9, 5:30] = (edited[2:9, 5:30] * 0.5 + 100).astype(np.uint8)
    for name in ("edited.png", "edited.webp"):
        save_picture(tmp_path / name, edited, like=photo)
        with Image.open(tmp_path / name) as image:
            stored = np.asarray(image)
        assert np.array_equal(stored[..., 3], alpha)
        again = open_photo(tmp_path / name).pixels.astype(int)
        assert np.abs(again - edited)[:, 20:].max() <= (0 if name.endswith("png") else 24)
    with Image.open(tmp_path / "edited.png") as image:
        stored = np.asarray(image)
    changed = (edited != photo.pixels).any(axis=2)
    assert np.array_equal(stored[~changed][:, :3], picture[~changed])
    shown = open_photo(tmp_path / "edited.png").pixels.astype(int)
    assert np.abs(shown - edited)[alpha == 255].max() == 0
    # What is half transparent cannot be darker than the white that shines through.
    assert np.abs(shown - np.maximum(edited, 127))[alpha == 128].max() <= 1
    save_picture(tmp_path / "edited.jpg", edited, like=photo)  # Has no transparency: it stays over white.
    assert np.abs(open_photo(tmp_path / "edited.jpg").pixels.astype(int) - edited).max() <= 40


def test_an_edited_grey_photo_stays_grey_unless_it_was_coloured(picture: np.ndarray, tmp_path: Path) -> None:
    photo = open_photo(encoded(picture[..., 0]))
    edited = photo.pixels.copy()
    edited[2:9, 5:30] //= 2
    for name, mode in (("edited.png", "L"), ("edited.jpg", "L"), ("edited.webp", "RGB")):
        save_picture(tmp_path / name, edited, like=photo)
        with Image.open(tmp_path / name) as image:
            assert image.mode == mode
        assert np.abs(open_photo(tmp_path / name).pixels.astype(int) - edited).max() <= (
            0 if mode == "L" and name.endswith("png") else 24)
    edited[3, 6] = 200, 10, 10
    save_picture(tmp_path / "coloured.png", edited, like=photo)
    assert np.array_equal(open_photo(tmp_path / "coloured.png").pixels, edited)


def test_a_turned_photo_is_turned_with_all_that_its_file_has(picture: np.ndarray, tmp_path: Path) -> None:
    rgba = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    rgba[:, :10, 3] = 0
    photo = open_photo(encoded(rgba))
    turned = photo.turned(90)
    assert np.array_equal(turned.pixels, np.rot90(photo.pixels, -1))
    assert (turned.sha256, turned.name) == (photo.sha256, photo.name)
    save_picture(tmp_path / "turned.png", turned.pixels, like=turned)
    with Image.open(tmp_path / "turned.png") as image:
        assert np.array_equal(np.asarray(image), np.rot90(rgba, -1))
    for first, second in ((90, 270), (180, 180), (0, 0)):
        assert np.array_equal(photo.turned(first).turned(second).pixels, photo.pixels)


def test_srgb_profile_changes_nothing_and_broken_profile_is_ignored(picture: np.ndarray) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"not a profile", srgb[:200]):
        assert np.array_equal(open_photo(encoded(picture, icc_profile=profile)).pixels, picture)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_ignored(picture: np.ndarray) -> None:
    assert np.array_equal(open_photo(encoded(picture, exif=b"Exif\0\0MM\0*\0\0\xff\xff")).pixels, picture)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_first_frame_of_an_animation(picture: np.ndarray, kind: str) -> None:
    frames = [Image.fromarray(picture), Image.new("RGB", (56, 40), "red")]
    file = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.array_equal(open_photo(file).pixels, picture)


def test_photo_from_array(picture: np.ndarray) -> None:
    photo = photo_from_array(picture, name="memory")
    assert np.array_equal(photo.pixels, picture)
    picture_before = photo.pixels.copy()
    picture[:] = 0
    assert np.array_equal(photo.pixels, picture_before)  # it is a copy
    assert photo.sha256 == photo_from_array(Image.fromarray(picture_before)).sha256
    assert photo.sha256 != photo_from_array(np.ascontiguousarray(picture_before[:, ::-1])).sha256
    with pytest.raises(TypeError, match="uint8"):
        photo_from_array(picture.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="height, width, 3"):
        photo_from_array(picture[..., 0])


# ---- what is refused


def test_what_is_no_photo_is_refused_by_name_whatever_its_ending(tmp_path: Path) -> None:
    """Formats of every kind are in the corpus."""
    (tmp_path / "photo.jpg").write_bytes(b"%PDF-1.7")
    with pytest.raises(InputError, match=r"^photo\.jpg: is a PDF; save the photo as JPEG, PNG or WebP and try again"):
        open_photo(tmp_path / "photo.jpg")


def huge(kind: str) -> bytes:
    """The header of a 30,000 x 10,000 picture."""
    if kind == "PNG":
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5B", 13, b"IHDR", 30_000, 10_000, 8, 2, 0, 0, 0) + bytes(40)
    if kind == "JPEG":
        return b"\xff\xd8\xff\xfe\0\4hi\xff\xc0" + struct.pack(">HBHHB", 17, 8, 10_000, 30_000, 3) + bytes(40)
    size = (29_999).to_bytes(3, "little"), (9_999).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size[0] + size[1]
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize("kind", FORMATS)
def test_too_many_pixels_are_refused_from_the_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the decoder was asked")

    monkeypatch.setattr(Image, "open", never)
    file = io.BytesIO(huge(kind))
    file.name = "huge.bin"
    with pytest.raises(InputError, match=r"^huge\.bin: 30000 x 10000 pixels are more than \d+ megapixels; make"):
        open_photo(file)


def test_a_large_photo_is_made_smaller_and_says_so() -> None:
    photo = open_photo(encoded(Image.new("L", (8000, 5000), 7)))
    assert (photo.width, photo.height, photo.warnings) == (8000, 5000, ())
    larger = Image.new("L", (9000, 6000), 7)
    larger.paste(200, (0, 0, 4500, 6000))
    for kind in ("PNG", "JPEG"):
        photo = open_photo(encoded(larger, kind))
        assert photo.width * photo.height <= 40_000_000 < 1.001 * photo.width * photo.height
        assert (photo.pixels[3000, 1000] == 200).all()
        assert (photo.pixels[3000, -1000] == 7).all()
        [warning] = photo.warnings
        assert f"has 54 megapixels and was made smaller, to {photo.width} x {photo.height} pixels" in warning


def test_a_very_large_jpeg_is_decoded_at_half_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inversion.decoding._HALVED", 5000)
    monkeypatch.setattr("inversion.decoding.MAX_PIXELS", 4000)
    left = np.zeros((81, 99, 3), np.uint8)
    left[:, :50] = 200
    photo = open_photo(encoded(left, "JPEG"))
    assert photo.pixels.shape == (41, 50, 3)
    assert (photo.pixels[20, 5] > 190).all()
    assert "made smaller, to 50 x 41 pixels" in photo.warnings[0]
    data = encoded(left, "JPEG").getvalue()[:-3]
    assert len(open_photo(io.BytesIO(data)).warnings) == 2  # It is cut short as well.


def test_a_large_photo_of_another_format_is_advised_to_become_a_jpeg() -> None:
    head = struct.pack(">I4sII5B", 13, b"IHDR", 15_000, 10_000, 8, 2, 0, 0, 0)
    with pytest.raises(InputError, match=r"15000 x 10000 pixels are more than 100 megapixels; save it as JPEG"):
        open_photo(io.BytesIO(b"\x89PNG\r\n\x1a\n" + head + bytes(40)), name="x")


def test_too_little_memory_is_told(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", none_left)
    with pytest.raises(InputError, match="me: 56 x 40 pixels do not fit into memory; make the photo smaller"):
        open_photo(encoded(picture), name="me")


@pytest.mark.parametrize("kind", FORMATS)
def test_header_size_agrees_with_the_decoder(kind: str) -> None:
    for options in ({}, {"lossless": False}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}, {"progressive": True}):
        data = encoded(Image.new("RGB", (37, 91)), kind, **options).getvalue()
        assert size_of(data, kind, "x") == (37, 91)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_bytes_never_raise_anything_else(picture: np.ndarray, kind: str) -> None:
    data = encoded(picture, kind, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0").getvalue()
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        for at in random.integers(0, len(data), 8):
            broken[at] = random.integers(256)
        try:
            open_photo(io.BytesIO(bytes(broken)))
        except InputError:
            refused += 1
    assert refused > 10


def test_missing_empty_folder_and_unreadable(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for path, words in (
        (tmp_path / "none.jpg", r"none\.jpg: no such file; check the path"),
        (tmp_path / "empty.jpg", r"^empty\.jpg: the file is empty \(0 bytes\); copy or download it again"),
        (tmp_path, "is a folder, not a photo; name a file in it"),
        (tmp_path / ("x" * 300), "cannot be read"),
        (Path("a\0b.jpg"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            open_photo(path)
        assert "\n" not in str(caught.value)


def test_a_denied_file_is_refused(astronaut_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)  # file modes do not stop a superuser who runs the tests
    with pytest.raises(InputError, match=r"astronaut\.jpg: cannot be read \(Permission denied\); check its perm"):
        open_photo(astronaut_file)


# ---- what is saved


TEXTS = {"recipe": '{"smile": 2.0, "note": "Grüße, 世界 \\" \\\\"}', "program": "face editor"}


@pytest.mark.parametrize("ending", [".png", ".jpg", ".JPEG", ".webp"])
def test_metadata_comes_back(picture: np.ndarray, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out{ending}"
    save_picture(path, picture, metadata=TEXTS)
    assert read_picture_metadata(path) == TEXTS
    assert np.abs(open_photo(path).pixels.astype(int) - picture).max() <= (0 if ending == ".png" else 16)
    save_picture(path, picture)
    assert read_picture_metadata(path) == {}
    save_picture(path, picture, metadata=TEXTS, mark=True)
    assert read_picture_metadata(path) == TEXTS


def test_other_programs_metadata_is_no_error(picture: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a holiday"
    (tmp_path / "camera.jpg").write_bytes(encoded(picture, "JPEG", exif=exif).getvalue())
    assert read_picture_metadata(tmp_path / "camera.jpg") == {}
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "another")
    (tmp_path / "other.png").write_bytes(encoded(picture, pnginfo=info).getvalue())
    assert read_picture_metadata(tmp_path / "other.png") == {"Software": "another"}
    (tmp_path / "x.gif").write_bytes(b"GIF89a" + bytes(40))
    assert read_picture_metadata(tmp_path / "x.gif") == {}
    (tmp_path / "x.png").write_bytes(b"%PDF")
    with pytest.raises(InputError, match="is a PDF"):
        read_picture_metadata(tmp_path / "x.png")


def test_saving_refuses_and_keeps_what_was_there(picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "kept.jpg"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"kept\.jpg: the recipe is too long for a JPEG; save as \.png or \.webp"):
        save_picture(path, picture, metadata={"recipe": "x" * 70_000})
    assert path.read_bytes() == b"mine"
    with pytest.raises(InputError, match=r"choose one of these endings"):
        save_picture(tmp_path / "out.bmp", picture)
    with pytest.raises(InputError, match="choose another output folder"):
        save_picture(tmp_path / "absent" / "out.png", picture)
    with pytest.raises(InputError, match="WEBP holds at most 16383"):
        save_picture(tmp_path / "wide.webp", np.zeros((1, 16_384, 3), np.uint8))
    with pytest.raises(InputError, match="cannot name a text"):
        save_picture(tmp_path / "out.png", picture, metadata={"": "x"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.jpg"]
    save_picture(tmp_path / "long.png", picture, metadata={"recipe": "x" * 70_000})
    assert len(read_picture_metadata(tmp_path / "long.png")["recipe"]) == 70_000


def test_a_full_disk_loses_nothing(picture: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.png"
    path.write_bytes(b"mine")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match=r"kept\.png: could not be written \(No space left on device\)"):
        save_picture(path, picture)
    assert path.read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.png"]
