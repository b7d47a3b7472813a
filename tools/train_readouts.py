"""Train the smaller pictures of a MobileStyleGAN: its readouts learn to draw the averaged-down whole picture.

Fresh samples, half of them w and half w+ (two samples mixed at a random row, some with noise on every row); the loss is
LPIPS (at 512 pixels of a random window) and the square error. Nothing but the readouts changes. It can be stopped and
started again at any time; the last figures that it prints are of samples that it never trained on.

    python -m tools.train_readouts GENERATOR.safetensors OUT.safetensors --steps 700
    python -m tools.train_readouts GENERATOR.safetensors --measure 200
"""

from __future__ import annotations

import argparse
import time
from math import cos, pi
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

import generators
from generators import MobileStyleGAN
from generators.checkpoints import read, write
from generators.mobilestylegan_layers import Readout
from inversion.perceptual import PerceptualDistance
from tools.bundle import GENERATOR_NOTES

SAMPLES = 4         # Of one step.
RATE = 1e-3         # Of Adam, in parts of a weight's size, falling to nothing by a cosine.
LEAST_SIZE = 0.01   # Of a weight that is 0 yet.
WARM_UP = 30        # Steps.
SQUARES = 10.0      # Weight of the square error beside LPIPS: about as large as it.
WINDOW = 256        # Side of the window whose LPIPS is taken, in pixels.
SAVE_EVERY = 25     # Steps.
HELD_OUT = 10 ** 9  # The first seed of the samples that are measured.


class Drawn(NamedTuple):
    """What the whole network makes of some w+."""

    picture: Tensor               # [N, 3, R, R]
    begin: dict[int, Tensor]      # By side, the features that its readout begins with.
    styles: dict[str, Tensor]
    noise: dict[str, Tensor]


@torch.no_grad()
def draw(generator: MobileStyleGAN, ws: Tensor) -> Drawn:
    network = generator.synthesis
    styles, noise = network.styles(ws), network.noise_maps("const", len(ws))
    last = {network.last_before(side): side for side in generator.config.readouts}
    begin, x = {}, ws
    for layer, x in network.features(styles, noise):
        if layer.name in last:
            begin[last[layer.name]] = x.clone()  # What follows may write into it.
    return Drawn(x, begin, styles, noise)


def varied(generator: MobileStyleGAN, seeds: range, *, noisy: bool) -> Tensor:
    """w+ [N, L, D] of seeds: every other one w, the rest two samples mixed at a row; `noisy`: some moved off W."""
    pairs = generator.broadcast(generator.sample([2 * seed for seed in seeds])).clone()
    others = generator.sample([2 * seed + 1 for seed in seeds])
    for ws, other, seed in zip(pairs, others, seeds, strict=True):
        rng = torch.Generator().manual_seed(seed)
        if seed % 2:
            ws[int(torch.randint(1, generator.num_ws, [], generator=rng)):] = other
        if noisy and seed % 5 == 0:
            spread = 0.3 * (other - generator.neutral()).square().mean().sqrt()
            ws += spread * torch.randn(ws.shape, generator=rng)
    return pairs


def differences(drawn: Drawn, side: int, readout: Readout, distance: PerceptualDistance,
                window: int | None) -> tuple[Tensor, Tensor]:
    """LPIPS [N] and square error [N] of a readout's pictures from the averaged-down whole ones."""
    made = readout(drawn.begin[side], drawn.styles, drawn.noise)
    wanted = F.adaptive_avg_pool2d(drawn.picture, side)
    squares = (made - wanted).square().mean(dim=[1, 2, 3])
    if window is not None and window < side:
        top, left = torch.randint(0, side - window + 1, [2]).tolist()
        made, wanted = (x[:, :, top:top + window, left:left + window] for x in (made, wanted))
    return distance(made, wanted), squares


@torch.no_grad()
def measure(generator: MobileStyleGAN, count: int) -> dict[int, tuple[float, float]]:
    """LPIPS and root mean square error (of [-1, 1]) of each side, means over so many samples never trained on."""
    distance = PerceptualDistance("alex", max_side=generator.img_resolution)
    found: dict[int, list[Tensor]] = {side: [] for side in generator.config.readouts}
    for seed in range(HELD_OUT, HELD_OUT + count):
        drawn = draw(generator, varied(generator, range(seed, seed + 1), noisy=False))
        for side, each in found.items():
            lpips, squares = differences(drawn, side, _readout(generator, side), distance, None)
            each.append(torch.stack([lpips, squares.sqrt()]))
    return {side: tuple(torch.cat(each, dim=1).mean(dim=1).tolist()) for side, each in found.items()}


def _readout(generator: MobileStyleGAN, side: int) -> Readout:
    return cast(Readout, generator.synthesis.readouts[str(side)])


def train(generator: MobileStyleGAN, checkpoint: Path, *, steps: int) -> None:
    """Train the readouts of a generator, from `checkpoint` on where there is one."""
    readouts = generator.synthesis.readouts.requires_grad_()
    distance = PerceptualDistance("alex")
    sizes = [max(float(weight.detach().square().mean().sqrt()), LEAST_SIZE) for weight in readouts.parameters()]
    adam = torch.optim.Adam([{"params": [weight]} for weight in readouts.parameters()], betas=(0.9, 0.99))
    done = 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        readouts.load_state_dict(kept["readouts"])
        adam.load_state_dict(kept["adam"])
        done = kept["done"]
    means: dict[int, list[float]] = {side: [0.0, 0.0] for side in generator.config.readouts}
    start = time.monotonic()
    for step in range(done, steps):
        for group, size in zip(adam.param_groups, sizes, strict=True):
            group["lr"] = size * RATE * min(1.0, (step + 1) / WARM_UP) * (1 + cos(pi * step / steps)) / 2
        adam.zero_grad()
        for seed in range(SAMPLES * step, SAMPLES * (step + 1)):
            drawn = draw(generator, varied(generator, range(seed, seed + 1), noisy=True))
            for side, (lpips, error) in means.items():
                far, squares = differences(drawn, side, _readout(generator, side), distance, WINDOW)
                ((far + SQUARES * squares).mean() / SAMPLES).backward()
                seen = seed % (SAMPLES * SAVE_EVERY) + 1
                means[side] = [lpips + (float(far.detach()) - lpips) / seen,
                               error + (float(squares.detach().sqrt()) - error) / seen]
        adam.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            _keep(checkpoint, {"readouts": readouts.state_dict(), "adam": adam.state_dict(), "done": step + 1})
            said = "  ".join(f"{side}: {lpips:.4f} {error:.4f}" for side, (lpips, error) in means.items())
            print(f"{step + 1}/{steps} {time.monotonic() - start:.0f} s  {said}", flush=True)
    readouts.requires_grad_(False)


def _keep(path: Path, state: dict[str, object]) -> None:
    beside = path.with_suffix(".new")
    torch.save(state, beside)
    beside.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--measure", type=int, default=40, metavar="SAMPLES")
    given = parser.parse_args()
    generator = generators.load(given.generator)
    assert isinstance(generator, MobileStyleGAN)
    if given.out:
        train(generator, given.out.with_suffix(".checkpoint"), steps=given.steps)
        config, state = read(given.generator)
        trained = generator.state_dict()
        write(given.out, config, {name: trained[name] if "readouts" in name else value
                                  for name, value in state.items()}, half=True, metadata=GENERATOR_NOTES)
    for side, (lpips, error) in measure(generator, given.measure).items():
        print(f"{side} pixels: LPIPS {lpips:.4f}, root mean square error {error:.4f}, {given.measure} samples")


if __name__ == "__main__":
    main()
