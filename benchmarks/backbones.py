"""Which perceptual distance to invert by: the backbone, and how large it sees the pictures.

    python -m benchmarks.backbones FOLDER [--count N] [--steps N] [--threads N]

Inverts the largest faces of N photos in W from the mean by each, and prints a Markdown table of what came out, by both
backbones at full size and by dlib's descriptors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import torch

from benchmarks.inversion import photos_in
from benchmarks.machine import describe
from generators import choose_device, from_pixels, load
from inversion import PerceptualDistance, Projector, ProjectorSettings, align, find_faces, open_photo

CHOICES = {"AlexNet": ("alex", 256), "AlexNet, averaged to half": ("alex", 2), "VGG16": ("vgg", 256),
           "VGG16, averaged to half": ("vgg", 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--generator", default="bundled")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = load(arguments.generator, device=choose_device(arguments.device))
    for name, value in describe(generator.device).items():
        print(f"- {name}: {value}")
    paths = photos_in(arguments.folder, 1)
    photos = [open_photo(path) for path in paths[::max(1, len(paths) // arguments.count)][:arguments.count]]
    crops = [align(photo, find_faces(photo)[0], generator.img_resolution) for photo in photos]
    judges = [PerceptualDistance(name, device=generator.device) for name in ("alex", "vgg")]
    print("\n| by | LPIPS, AlexNet | LPIPS, VGG16 | MSE | identity distance | seconds |\n|---|---|---|---|---|---|")
    for title, (backbone, size) in CHOICES.items():
        side = size if size > 2 else generator.img_resolution // size
        distance = PerceptualDistance(backbone, device=generator.device, max_side=side)  # type: ignore[arg-type]
        projector = Projector(generator, ProjectorSettings(start="mean", steps=arguments.steps), distance=distance)
        found = [projector.invert(crop) for crop in crops]
        pairs = [(from_pixels(record.picture), from_pixels(record.crop)) for record in found]
        with torch.no_grad():
            distances = [mean(float(judge(a.to(generator.device), b.to(generator.device))) for a, b in pairs)
                         for judge in judges]
        identity = mean(record.identity or 0.0 for record in found)
        print(f"| {title} | {distances[0]:.3f} | {distances[1]:.3f} | {mean(record.mse for record in found):.3f} | "
              f"{identity:.2f} | {mean(record.seconds for record in found):.1f} |", flush=True)


if __name__ == "__main__":
    main()
