"""Draws onto photographed faces what the generator has hardly seen: glasses, a hat, a hand and a scarf.

Drawn, not photographed: photographs of covered faces that everybody may pass on are hard to find, and with a drawing
the same face is there uncovered too. `tools.limits` shows them; the thresholds of `inversion.limits` were found with
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from inversion import Face, Photo, photo_from_array

FINE = 2  # Drawn so many times larger, for smooth edges.
Points = Sequence[tuple[float, float]]
Colour = tuple[int, int, int]


class Sheet:
    """Layers over a photo. Places are in units of the crop: (0, 0) is its top left corner, (1, 1) its bottom right."""

    def __init__(self, photo: Photo, face: Face) -> None:
        self.image = Image.fromarray(photo.pixels)
        self.face = face
        self.name = photo.name

    def places(self, landmarks: slice) -> np.ndarray:
        """Landmarks [N, 2] in units of the crop."""
        x, y = self.face.quad[3] - self.face.quad[0], self.face.quad[1] - self.face.quad[0]
        return np.linalg.solve(np.stack([x, y], axis=1), (self.face.landmarks[landmarks] - self.face.quad[0]).T).T

    def lay(self, shape: Callable[[ImageDraw.ImageDraw, _Scale], None], colour: Colour | np.ndarray, *,
            opacity: float = 1.0, blur: float = 0.0) -> None:
        """Lay a colour, or a picture as large as the photo, over what `shape` draws in white.

        Args:
            shape: Is given a drawing and the scale that turns units of the crop into its pixels.
            colour: Red, green and blue, 0 to 255.
            opacity: 0 to 1.
            blur: Of the shape's edge, in units of the crop.
        """
        width, height = self.image.size
        mask = Image.new("L", (width * FINE, height * FINE))
        shape(ImageDraw.Draw(mask), _Scale(self.face))
        mask = mask.resize((width, height), Image.Resampling.BOX)
        mask = mask.filter(ImageFilter.GaussianBlur(max(blur, 0.002) * self.face.size))
        over = Image.new("RGB", (width, height), colour) if isinstance(colour, tuple) else Image.fromarray(colour)
        self.image.paste(over, (0, 0), mask.point(lambda value: value * opacity))

    def photo(self, what: str) -> Photo:
        """The photo with all that was laid over it."""
        return photo_from_array(np.asarray(self.image), name=f"{self.name} with {what}")


class _Scale:
    """From units of the crop to the pixels of a drawing."""

    def __init__(self, face: Face) -> None:
        self.origin = (face.quad[0] + 0.5) * FINE
        self.x, self.y = (face.quad[3] - face.quad[0]) * FINE, (face.quad[1] - face.quad[0]) * FINE
        self.side = face.size * FINE

    def points(self, places: Points) -> list[tuple[float, float]]:
        return [tuple((self.origin + u * self.x + v * self.y).tolist()) for u, v in places]

    def wide(self, part: float) -> int:
        return max(round(part * self.side), 1)


def ring(centre: tuple[float, float], radii: tuple[float, float], power: float = 2.0) -> Points:
    """The places around an ellipse; with a higher power it comes near to a rectangle."""
    turn = np.linspace(0, 2 * np.pi, 72)
    x, y = np.cos(turn), np.sin(turn)
    return [(float(u), float(v)) for u, v in zip(
        centre[0] + radii[0] * np.sign(x) * np.abs(x) ** (2 / power),
        centre[1] + radii[1] * np.sign(y) * np.abs(y) ** (2 / power), strict=True)]


def area(places: Points) -> Callable[[ImageDraw.ImageDraw, _Scale], None]:
    """A filled shape."""
    return lambda draw, scale: draw.polygon(scale.points(places), fill=255)


def stroke(places: Points, width: float) -> Callable[[ImageDraw.ImageDraw, _Scale], None]:
    """A line with round ends, its width in units of the crop."""
    def draw_it(draw: ImageDraw.ImageDraw, scale: _Scale) -> None:
        points, wide = scale.points(places), scale.wide(width)
        draw.line(points, fill=255, width=wide, joint="curve")
        for x, y in (points[0], points[-1]):
            draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), fill=255)
    return draw_it


def with_glasses(photo: Photo, face: Face) -> Photo:
    """Sunglasses: dark lenses with a reflection, a black frame, a bridge and two arms."""
    sheet = Sheet(photo, face)
    left, right = sheet.places(slice(36, 42)).mean(0), sheet.places(slice(42, 48)).mean(0)
    apart = float(np.hypot(*(right - left)))
    lenses = [ring((x, y + 0.02), (0.43 * apart, 0.31 * apart), 2.8) for x, y in (left, right)]
    for lens in lenses:
        sheet.lay(area([(u, v + 0.012) for u, v in lens]), (0, 0, 0), opacity=0.3, blur=0.012)  # Its shadow.
        sheet.lay(area(lens), (24, 20, 26), opacity=0.9)
        sheet.lay(area([(0.5 * u + 0.5 * lens[48][0] - 0.02, 0.35 * v + 0.65 * lens[54][1] + 0.01) for u, v in lens]),
                  (190, 205, 230), opacity=0.18, blur=0.02)
        sheet.lay(stroke(lens, 0.016), (12, 10, 12))
    middle = (left + right) / 2
    sheet.lay(stroke([(middle[0] - 0.09 * apart, middle[1]), (middle[0] + 0.09 * apart, middle[1])], 0.018),
              (12, 10, 12))
    for x, y, away in ((*left, -1), (*right, 1)):
        sheet.lay(stroke([(x + away * 0.43 * apart, y), (x + away * 0.75 * apart, y - 0.01)], 0.018), (12, 10, 12))
    return sheet.photo("drawn glasses")


def with_hat(photo: Photo, face: Face) -> Photo:
    """A knitted cap down to the brows, with a folded edge."""
    sheet = Sheet(photo, face)
    wool = _ribs(photo, face, (38, 62, 104), 0.022)
    fold = _ribs(photo, face, (58, 86, 132), 0.022)
    sheet.lay(area(ring((0.5, 0.36), (0.375, 0.05))), (0, 0, 0), opacity=0.35, blur=0.02)
    sheet.lay(area([*((0.5 - 0.37 * np.cos(t), 0.31 - 0.42 * np.sin(t)) for t in np.linspace(0, np.pi, 40))]), wool)
    sheet.lay(area([(0.12, 0.16), (0.3, 0.2), (0.5, 0.215), (0.7, 0.2), (0.88, 0.16),
                    (0.885, 0.32), (0.7, 0.355), (0.5, 0.365), (0.3, 0.355), (0.115, 0.32)]), fold)
    sheet.lay(stroke([(0.12, 0.165), (0.3, 0.205), (0.5, 0.22), (0.7, 0.205), (0.88, 0.165)], 0.012), (10, 20, 40),
              opacity=0.5, blur=0.006)
    return sheet.photo("a drawn hat")


def with_hand(photo: Photo, face: Face) -> Photo:
    """Four fingers over mouth and chin, in the colour of the face's own cheeks."""
    sheet = Sheet(photo, face)
    cheek = face.landmarks[[2, 14, 33]].mean(0).round().astype(int)
    skin = np.asarray(sheet.image)[cheek[1] - 3:cheek[1] + 4, cheek[0] - 3:cheek[0] + 4].reshape(-1, 3).mean(0)
    red, green, blue = (int(value) for value in np.clip(skin * (1.0, 0.92, 0.86), 30, 240))
    tone = (red, green, blue)
    x, y = sheet.places(slice(48, 60)).mean(0).tolist()
    fingers = [[(x + 0.42 - 0.02 * k, y + 0.14 + 0.05 * k), (x + 0.12, y - 0.05 + 0.075 * k),
                (x - 0.19 + 0.025 * abs(k - 1), y - 0.065 + 0.08 * k)] for k in range(4)]
    palm = [(x + 0.2, y - 0.06), (x + 0.62, y + 0.05), (x + 0.7, y + 0.5), (x + 0.2, y + 0.3)]
    sheet.lay(area([(u - 0.01, v + 0.02) for u, v in palm]), (0, 0, 0), opacity=0.3, blur=0.02)
    sheet.lay(area(palm), tone, blur=0.006)
    for finger in reversed(fingers):
        sheet.lay(stroke([(u - 0.004, v + 0.014) for u, v in finger], 0.082), (20, 5, 0), opacity=0.45, blur=0.012)
        sheet.lay(stroke(finger, 0.078), tone)
        sheet.lay(stroke([(u, v - 0.014) for u, v in finger], 0.03), (255, 240, 225), opacity=0.22, blur=0.014)
        tip = finger[-1]
        sheet.lay(area(ring((tip[0] - 0.008, tip[1] - 0.006), (0.022, 0.02))), (235, 190, 180), opacity=0.6, blur=0.004)
    return sheet.photo("a drawn hand")


def with_scarf(photo: Photo, face: Face) -> Photo:
    """A ribbed scarf over nose tip, mouth and chin."""
    sheet = Sheet(photo, face)
    nose = float(sheet.places(slice(33, 34))[0, 1])
    edge = [(0.02, nose + 0.04), (0.2, nose + 0.0), (0.36, nose - 0.03), (0.5, nose - 0.04), (0.64, nose - 0.03),
            (0.8, nose + 0.0), (0.98, nose + 0.04)]
    sheet.lay(stroke(edge, 0.04), (0, 0, 0), opacity=0.35, blur=0.015)
    sheet.lay(area([*edge, (1.05, 1.1), (-0.05, 1.1)]), _ribs(photo, face, (150, 40, 48), 0.03))
    for down in (0.11, 0.2):
        sheet.lay(stroke([(u, v + down + 0.05 * (u - 0.5)) for u, v in edge], 0.014), (40, 0, 8), opacity=0.55,
                  blur=0.008)
    return sheet.photo("a drawn scarf")


def _ribs(photo: Photo, face: Face, colour: Colour, width: float) -> np.ndarray:
    """A knitted cloth as large as the photo: ribs, and darker towards the sides of the face."""
    x = (face.quad[3] - face.quad[0]) / face.size ** 2
    across = (np.arange(photo.width) - face.quad[0][0]) * x[0] + (
        (np.arange(photo.height) - face.quad[0][1]) * x[1])[:, None]  # [H, W] in units of the crop.
    grain = np.random.default_rng(0).normal(0, 0.03, across.shape)
    light = 0.86 + 0.12 * np.sin(2 * np.pi * across / width) - 1.1 * (across - 0.5) ** 2 + grain
    return np.clip(light[..., None] * np.array(colour), 0, 255).astype(np.uint8)


def turned(photo: Photo, face: Face, degrees: float) -> Photo:
    """The photo bent as if the head were turned to the right: a cylinder with a nose, seen from another side.

    A crude turn, as the photo does not hold the other side of the head; but nothing of the near side is made up.
    """
    angle = np.radians(degrees)
    jaw, tip, bridge = face.landmarks[:17], face.landmarks[30], face.landmarks[27]
    middle, radius = (jaw[0, 0] + jaw[16, 0]) / 2, 0.62 * (jaw[16, 0] - jaw[0, 0])
    length = float(np.hypot(*(tip - bridge)))
    x = np.arange(-photo.width, 2 * photo.width, 0.25) - middle
    sides = np.clip(x, -radius, radius)
    depth = np.sqrt(radius ** 2 - sides ** 2)
    pixels = np.empty_like(photo.pixels)
    for row in range(photo.height):
        rise = np.exp(-(((row - tip[1]) / (0.8 * length)) ** 2 + ((x + middle - tip[0]) / (0.35 * length)) ** 2))
        seen = sides * np.cos(angle) + (x - sides) + (depth + 0.6 * length * rise) * np.sin(angle)
        front = np.maximum.accumulate(seen + np.arange(len(seen)) * 1e-7)  # What is behind the nose is hidden.
        source = np.interp(np.arange(photo.width) - middle + radius * np.sin(angle) * 0.4, front, x) + middle
        at = np.clip(source, 0, photo.width - 1)
        for channel in range(3):
            pixels[row, :, channel] = np.interp(at, np.arange(photo.width), photo.pixels[row, :, channel]).round()
    return photo_from_array(pixels, name=f"{photo.name}, bent")


def tilted(photo: Photo, face: Face, degrees: float) -> Photo:
    """The photo turned about the face's middle, its edges repeated."""
    import cv2

    middle = face.quad.mean(axis=0).tolist()
    turn = cv2.getRotationMatrix2D((middle[0], middle[1]), degrees, 1.0)
    pixels = cv2.warpAffine(photo.pixels, turn, (photo.width, photo.height), flags=cv2.INTER_CUBIC,
                            borderMode=cv2.BORDER_REFLECT)
    return photo_from_array(np.asarray(pixels, np.uint8), name=f"{photo.name}, tilted")


def darkened(photo: Photo, light: float) -> Photo:
    """The photo in so much of its light, with the noise that cameras have then."""
    noise = np.random.default_rng(0).normal(0, 2.5, photo.pixels.shape)
    pixels = np.rint(photo.pixels * light + noise).clip(0, 255).astype(np.uint8)
    return photo_from_array(pixels, name=f"{photo.name}, in the dark")


def without_colours(photo: Photo) -> Photo:
    """The photo in black and white."""
    return photo_from_array(Image.fromarray(photo.pixels).convert("L").convert("RGB"), name=f"{photo.name}, grey")


def shrunk(photo: Photo, face: Face, side: float) -> Photo:
    """The photo made smaller, so that the face's quad has so many pixels a side."""
    size = [max(round(length * side / face.size), 1) for length in (photo.width, photo.height)]
    small = Image.fromarray(photo.pixels).resize((size[0], size[1]), Image.Resampling.LANCZOS)
    return photo_from_array(small, name=f"{photo.name}, smaller")


def softened(photo: Photo, face: Face, blur: float) -> Photo:
    """The photo blurred, in units of the crop."""
    soft = Image.fromarray(photo.pixels).filter(ImageFilter.GaussianBlur(blur * face.size))
    return photo_from_array(soft, name=f"{photo.name}, blurred")


def with_neighbour(photo: Photo, face: Face, head: np.ndarray) -> Photo:
    """A second head, uint8 [R, R, 3] as in a crop, leant against the first one."""
    side = round(0.95 * face.size)
    left, top = (face.quad.mean(0) + np.array((0.02, -0.42)) * face.size).round().astype(int).tolist()
    image, other = Image.fromarray(photo.pixels), Image.fromarray(head).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0.17 * side, 0.04 * side, 0.83 * side, 0.98 * side), fill=255)
    image.paste(other, (left, top), mask.filter(ImageFilter.GaussianBlur(0.015 * side)))
    return photo_from_array(image, name=f"{photo.name} with a neighbour")
