"""What the page offers to begin with: a photo, and faces of nobody, which are drawn when they are first looked at."""

from __future__ import annotations

from pathlib import Path

from generators import to_pixels
from inversion import open_photo, save_picture
from page.state import files
from page.state.models import EditingModels

PHOTO = Path(__file__).parents[1] / "photos" / "eileen-collins.jpg"  # NASA's portrait, in the public domain.
PHOTO_WORDS = "A photo: NASA's portrait of Eileen Collins"
SEEDS = (1, 2, 32, 7, 21)  # Different faces, chosen by eye among the bundled generator's.
TRUNCATION = 0.75
SHOWN = 256  # Side of their pictures in the gallery, in pixels.


def gallery(models: EditingModels) -> list[tuple[str, str]]:
    """The examples' pictures and what they are, for a gr.Gallery: the photo first, then the samples.

    Raises:
        InputError: the generator cannot be loaded.
    """
    generator = models.generator
    of_class = "" if generator.class_index is None else f"-class-{generator.class_index}"
    folder = files.private_dir() / "examples" / f"{generator.hash[:16]}{of_class}"
    paths = [folder / f"sample-{seed}.jpg" for seed in SEEDS]
    if not all(path.is_file() for path in paths):
        pictures = to_pixels(generator.render(generator.sample(SEEDS, truncation=TRUNCATION),
                                              generator.side_for(SHOWN)))
        folder.mkdir(parents=True, exist_ok=True)
        for path, picture in zip(paths, pictures, strict=True):
            save_picture(path, picture)
    return [the_photo(), *((str(path), f"A face of nobody, seed {seed}")
                           for path, seed in zip(paths, SEEDS, strict=True))]


def the_photo() -> tuple[str, str]:
    """The photo's picture, where the page may show it, and what it is."""
    path = files.private_dir() / "examples" / PHOTO.name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_picture(path, open_photo(PHOTO).pixels)
    return str(path), PHOTO_WORDS
