"""Pictures of each family of generators beside those of its reference implementation, in turns, of the same weights.

    python -m benchmarks.families [--rosinality DIR] [--ada DIR] [--ganspace DIR] [--biggan DIR] [--pix2pixhd DIR]
                                  [--rounds 7] [--threads N]

Each folder holds a reference: clones of rosinality/stylegan2-pytorch, NVlabs/stylegan2-ada-pytorch, harskish/ganspace
and NVIDIA/pix2pixHD, and what `pip install --no-deps --target DIR pytorch-pretrained-biggan` installs. A family whose
folder is not given is left out. A reference's network is built with random weights of full size, our reader loads
them, and every round draws with both, one after the other, on the processor in float32. Prints a Markdown table:
medians, the median of the rounds' ratios with the least and the greatest, and how far the pictures are apart.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from generators import Generator, StyleGAN2Config, load
from generators import checkpoints as readers

CLASSES = 10  # Of the class-conditional StyleGAN2.
BIGGAN = ((False, 16, 16), (True, 16, 16), (False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 8), (False, 8, 8),
          (True, 8, 4), (False, 4, 4), (True, 4, 2), (False, 2, 2), (True, 2, 1))
"""Blocks of the published network of 256 pixels: whether one doubles the side, and its feature maps, in widths."""


@dataclass(frozen=True)
class Pair:
    """Two ways to draw one picture."""

    what: str                     # The family and the size.
    theirs: Callable[[], Tensor]  # By the reference implementation.
    ours: Callable[[], Tensor]


@contextmanager
def importing(folder: Path, *unused: str) -> Iterator[None]:
    """Code of a folder can be imported; what it imports and never calls here need not be there."""
    stand_ins = {name: MagicMock() for name in unused}
    with patch.dict(sys.modules, stand_ins), patch.object(sys, "path", [str(folder), *sys.path]):
        yield


def module_of(file: Path) -> Any:
    """A module from its file, without the package around it."""
    spec = spec_from_file_location(f"reference_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"{file.name} is not in the folder")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def with_biases(network: nn.Module) -> nn.Module:
    """A network whose biases and noise, which begin as 0, have a part in the picture."""
    for name, parameter in network.named_parameters():
        if name.endswith((".b", "bias")) or "noise" in name:
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return network.requires_grad_(False).eval()


def read(content: object) -> Generator:
    """The generator of what a reference saves."""
    with TemporaryDirectory() as folder:
        torch.save(content, Path(folder) / "network.pt")
        return load(Path(folder) / "network.pt")


def rosinality(folder: Path) -> Iterator[Pair]:
    with importing(folder), patch("torch.utils.cpp_extension.load"):  # Of its CUDA operations: processors use none.
        theirs = with_biases(import_module("model").Generator(1024, 512, 8))
    ours = read({"g_ema": theirs.state_dict()})
    z = ours.draw_z([1])
    yield Pair("StyleGAN2, 1024 pixels (rosinality)", lambda: theirs([z], randomize_noise=False)[0], lambda: ours(z))


def ada(folder: Path) -> Iterator[Pair]:
    with importing(folder):
        theirs = with_biases(import_module("training.networks").Generator(512, CLASSES, 512, 1024, 3))
    channels = tuple(min(512, 32768 // side) for side in (4, 8, 16, 32, 64, 128, 256, 512, 1024))
    config = StyleGAN2Config(img_resolution=1024, channels=channels, c_dim=CLASSES)
    with TemporaryDirectory() as place:  # NVIDIA's own files are pickles of code.
        readers.write(Path(place) / "network.safetensors", config, theirs.state_dict())
        ours = load(Path(place) / "network.safetensors")
    z, c = ours.draw_z([1]), torch.eye(CLASSES)[3:4]
    yield Pair(f"StyleGAN2-ADA, {CLASSES} classes, 1024 pixels (NVIDIA)", lambda: theirs(z, c, noise_mode="const"),
               lambda: ours(z, c))


def ganspace(folder: Path) -> Iterator[Pair]:
    theirs = with_biases(module_of(folder / "models/stylegan/model.py").StyleGAN_G(1024))
    ours = read(theirs.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.eps = 1e-8  # NVIDIA's; the conversion has PyTorch's default.
    layers = [module for name, module in theirs.named_modules() if name.endswith(".noise")]
    for layer, noise in zip(layers, ours.noise, strict=True):
        layer.noise = noise[None, None]
    z = ours.draw_z([1])
    yield Pair("StyleGAN, 1024 pixels (GANSpace's conversion)", lambda: theirs(z), lambda: ours(z))
    progan = with_biases(module_of(folder / "netdissect/proggan.py").ProgressiveGenerator(resolution=1024))
    grown = read(progan.state_dict())
    yield Pair("ProGAN, 1024 pixels (GANSpace's conversion)", lambda: progan(z), lambda: grown(z))


def biggan(folder: Path) -> Iterator[Pair]:
    with importing(folder, "boto3", "botocore", "botocore.exceptions"):  # For downloads.
        package = import_module("pytorch_pretrained_biggan")
    layers = {128: None, 256: BIGGAN, 512: (*BIGGAN, (False, 1, 1), (True, 1, 1))}
    for side, of in layers.items():
        sizes = {} if of is None else {"layers": list(of)}
        theirs = package.BigGAN(package.BigGANConfig(output_dim=side, **sizes))
        z, c = torch.randn(1, 128).clamp(-2, 2), torch.eye(1000)[207:208]
        _randomise(theirs)
        with torch.no_grad():
            theirs(z, c, 1.0)  # Finds the largest singular value of each weight.
        theirs.eval()
        ours = read(theirs.state_dict())
        w = torch.cat([z, ours.mapping.embedding[207:208], torch.ones(1, 1)], dim=1)  # type: ignore[index]
        yield Pair(f"BigGAN-deep, {side} pixels (pytorch-pretrained-biggan)",
                   lambda z=z, c=c, theirs=theirs: theirs(z, c, 1.0),  # type: ignore[misc]
                   lambda w=w, ours=ours: ours.render(w))  # type: ignore[misc]


@torch.no_grad()
def _randomise(network: nn.Module) -> None:
    """Give BigGAN's statistics, and what its package leaves as it finds it in memory, values."""
    network.requires_grad_(False)
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name.endswith(("bias", "running_means")):
            tensor.normal_(0, 0.2)
        elif name.endswith(("gamma", "running_vars", "generator.bn.weight")):
            tensor.uniform_(0.5, 1.5)


def pix2pixhd(folder: Path) -> Iterator[Pair]:
    networks = module_of(folder / "models/networks.py")
    norm = networks.get_norm_layer("instance")
    for what, network, side in (("global generator", networks.GlobalGenerator(36, 3, 64, 4, 9, norm), 512),
                                ("local enhancer", networks.LocalEnhancer(36, 3, 32, 4, 9, 1, 3, norm), 1024)):
        theirs = with_biases(network)
        ours = read(theirs.state_dict())
        classes = torch.randint(35, [1, 1, side // 16, side // 8]).repeat_interleave(16, 2).repeat_interleave(16, 3)
        edges = (torch.rand(classes.shape) < 0.1).float()
        maps = torch.cat([classes.float(), edges], dim=1)

        def draw(theirs: nn.Module = theirs, classes: Tensor = classes, edges: Tensor = edges) -> Tensor:
            each = torch.zeros(1, 35, *classes.shape[2:]).scatter_(1, classes, 1.0)  # As `encode_input` does.
            picture: Tensor = theirs(torch.cat([each, edges], dim=1))
            return picture

        yield Pair(f"pix2pixHD, {what}, {2 * side} x {side} pixels (NVIDIA)", draw,
                   lambda ours=ours, maps=maps: ours.render(maps))  # type: ignore[misc]


FAMILIES = {"rosinality": rosinality, "ada": ada, "ganspace": ganspace, "biggan": biggan, "pix2pixhd": pix2pixhd}


@torch.no_grad()
def row(pair: Pair, rounds: int) -> str:
    """A row of the table, measured."""
    reference, picture = pair.theirs(), pair.ours()
    apart = float((picture - reference).abs().max() / reference.std())
    del reference, picture
    seconds = [(timed(pair.theirs), timed(pair.ours)) for _ in range(rounds)]
    theirs, ours = (median(each) for each in zip(*seconds, strict=True))
    ratios = sorted(ours / theirs for theirs, ours in seconds)
    return (f"| {pair.what} | {theirs:.2f} | {ours:.2f} | {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | "
            f"{apart:.0e} |")


def timed(draw: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    draw()
    return time.perf_counter() - start


def table(folders: dict[str, Path], rounds: int) -> Iterator[str]:
    """The rows of the families whose references are there; of one that cannot be used, why."""
    for name, folder in folders.items():
        torch.manual_seed(0)
        try:
            for pair in FAMILIES[name](folder):
                yield row(pair, rounds)
                del pair
                gc.collect()
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            yield f"| {name} | cannot be run here: {str(error).splitlines()[0]} | | | |"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in FAMILIES:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = vars(parser.parse_args(given))
    folders = {name: chosen[name] for name in FAMILIES if chosen[name]}
    if not folders:
        parser.error("give the folder of at least one reference")
    torch.set_num_threads(chosen["threads"])
    for name, value in describe(torch.device("cpu")).items():
        print(f"- {name}: {value}")
    print("\n| one picture, float32 | reference, seconds | ours, seconds | ours / reference | largest difference, in "
          "standard deviations |\n|---|---|---|---|---|")
    for line in table(folders, chosen["rounds"]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
