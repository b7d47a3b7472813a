"""What the bundled controls turn on photos, and what they leave: by the bundled image classifier.

    python -m tools.flips PORTRAITS [--controls bundled] [--names smile,age] [--strengths 1]

PORTRAITS holds photos or aligned pictures; the encoder inverts the faces, so that thousands are no matter. Each is
edited away from the class that it has, and the classifier says of how many the class turned, and of how many each other
attribute kept its own. The identity distance is that of dlib's descriptors, edited to not edited; of the skin's tone
and of the upper corners, where the background shows, the mean change is told, in levels of 255.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import directions
import generators
from directions import Control, Controls
from editing import Editor
from generators import Generator, from_pixels, to_pixels
from inversion import Projector, align, describe_crop, find_faces, identity_distance, open_photo
from inversion.encoder import encode
from inversion.search import measure_w
from learning.scorers import BundledScorer, load_scorer
from learning.scorers.bundled import CLASSES, is_told, merged
from tools.train_controls import TONES, colours_of

CROP, SIDE, DRAWN = 256, 128, 8  # Pixels that the encoder sees, and that are judged.


@dataclass(frozen=True)
class Turned:
    """What became of N edits of one control's output at one strength."""

    key: str
    strength: float
    count: int
    turned: float                 # Share that has the class that was asked for.
    kept: dict[str, float]        # Share that kept its class, by other attribute.
    identity: float               # Median identity distance.
    skin: float                   # Mean change of the skin's tone, in levels.
    background: float             # And of what shows in the upper corners.


@torch.no_grad()
def inverted(generator: Generator, folder: Path) -> Tensor:
    """Latents w+ [N, num_ws, w_dim] that the encoder gives the largest faces of all pictures of a folder."""
    projector, statistics, latents = Projector(generator), measure_w(generator), []
    assert projector.encoder is not None
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".png", ".webp"}):
        photo = open_photo(path)
        faces = find_faces(photo)
        if faces:
            crop = F.adaptive_avg_pool2d(from_pixels(align(photo, faces[0], 1024)[None]), CROP)
            start, rows = encode(projector.encoder, crop, projector.distance.features(crop), statistics,
                                 generator.num_ws)
            latents.append(statistics.restore(start[:, None] + rows))
    return torch.cat(latents)


class Portraits:
    """Inverted portraits, looked at before and after edits."""

    def __init__(self, generator: Generator, latents: Tensor) -> None:
        self.generator, self.latents = generator, latents
        scorer = load_scorer("bundled")
        assert isinstance(scorer, BundledScorer)
        self.scorer = scorer
        self.before, self.faces, self.colours = self.look(latents)

    @torch.no_grad()
    def look(self, latents: Tensor) -> tuple[dict[str, Tensor], list[np.ndarray], Tensor]:
        """Logits by attribute, face descriptors, and the levels of `colours_of` [N, 9]."""
        parts, faces, colours = [], [], []
        for part in latents.split(DRAWN):
            pictures = self.generator.render(part, self.generator.side_for(SIDE)).clamp(-1, 1)
            parts.append(self.scorer(pictures))
            faces += [describe_crop(picture) for picture in to_pixels(pictures)]
            colours.append(colours_of(pictures) * 127.5)
        return {name: torch.cat([part[name] for part in parts]) for name in CLASSES}, faces, torch.cat(colours)

    def measure(self, controls: Controls, control: Control, strengths: Sequence[float]) -> Iterator[Turned]:
        """What a control does at each strength, to each class."""
        if not is_told(control.name, control.classes):
            return
        editor = Editor(self.generator, controls)
        own = merged(control.name, self.before[control.name], control.classes).argmax(dim=1)
        for target, class_name in enumerate(control.classes):
            others = (own != target).nonzero()[:, 0]
            if not len(others):
                continue
            editor.set_latents(self.latents[others])
            output, sign = control.heading(target)
            for strength in strengths:
                edited = editor.displace({control.keys[output]: sign * strength}).latent
                after, faces, colours = self.look(edited)
                now = merged(control.name, after[control.name], control.classes).argmax(dim=1)
                kept = {name: float((after[name].argmax(dim=1) == self.before[name][others].argmax(dim=1))
                                    .float().mean()) for name in CLASSES if name != control.name}
                far = [identity_distance(self.faces[place], face)
                       for place, face in zip(others.tolist(), faces, strict=True)]
                changes = (colours - self.colours[others]).abs().mean(dim=0)
                yield Turned(f"{control.name}:{class_name}", strength, len(others),
                             float((now == target).float().mean()), kept, float(np.median(far)),
                             float(changes[:len(TONES)].mean()), float(changes[len(TONES):].mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--controls", default="bundled")
    parser.add_argument("--names", default="")
    parser.add_argument("--strengths", default="1")
    given = parser.parse_args()
    generator, controls = generators.load(), directions.load(given.controls)
    portraits = Portraits(generator, inverted(generator, given.portraits))
    for name in given.names.split(",") if given.names else controls:
        control = controls.control(name)
        if isinstance(control, Control):
            for told in portraits.measure(controls, control, [float(part) for part in given.strengths.split(",")]):
                least = sorted(told.kept.items(), key=lambda item: item[1])[:4]
                kept = ", ".join(f"{other} {share:.2f}" for other, share in least)
                print(f"{told.key} {told.strength:g}: {told.turned:.2f} of {told.count} turned, identity "
                      f"{told.identity:.2f}, skin {told.skin:.1f}, background {told.background:.1f}; "
                      f"least kept: {kept}",
                      flush=True)


if __name__ == "__main__":
    main()
