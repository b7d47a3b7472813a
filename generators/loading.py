"""Loading a generator from a file or by name, on a device and in a precision; converting other people's files."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from generators.base import Generator
from generators.memory import keep_freed_memory
from weights.errors import InputError

PROBED = 512  # Feature maps of the convolutions that are timed: of fewer, the time is mostly that of the call.
WORTH = 1.3   # How many times as quick bfloat16 must be to be worth its rounding.


def choose_device(name: str = "auto") -> torch.device:
    """The device for a name: "auto" is CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        InputError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else
                            "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(name, "this device is not usable here", "use auto, cpu, cuda or mps") from error
    return device


@functools.cache
def fastest_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """The precision for `Generator.precision` that is worth using here: bfloat16 where it is quicker, else float32.

    Timed once, by a depthwise and a pointwise convolution, in turns, as the first ones take longer: some processors
    know bfloat16 in neither, some in one alone, and there a picture takes twenty times as long.
    """
    seconds = {torch.float32: math.inf, torch.bfloat16: math.inf}
    for _ in range(5):
        for dtype, least in seconds.items():
            x = torch.ones(1, PROBED, 32, 32, device=device, dtype=dtype).to(memory_format=torch.channels_last)
            depthwise, pointwise = x.new_ones(PROBED, 1, 3, 3), x.new_ones(PROBED, PROBED, 1, 1)
            seconds[dtype] = min(least, _time_convolutions(x, depthwise, pointwise))
    return torch.bfloat16 if seconds[torch.float32] > WORTH * seconds[torch.bfloat16] else torch.float32


def in_quickest_precision(generator: Generator) -> Generator:
    """The generator itself, or sharing all with it one that computes in bfloat16 where that is quicker here."""
    quicker = generator.dtype == torch.float32 and fastest_dtype(generator.device) == torch.bfloat16
    return generator.in_precision(torch.bfloat16) if quicker else generator


@torch.no_grad()
def _time_convolutions(x: torch.Tensor, depthwise: torch.Tensor, pointwise: torch.Tensor) -> float:
    start = time.perf_counter()
    x = F.conv2d(F.conv2d(x, depthwise, padding=1, groups=len(depthwise)), pointwise)
    x.sum().item()  # .item() waits for a GPU to finish.
    return time.perf_counter() - start


def load(source: str | os.PathLike[str] = "bundled", *, device: str | torch.device = "cpu",
         dtype: torch.dtype = torch.float32) -> Generator:
    """Load a generator, frozen and ready to render. From then on the process keeps freed memory (`generators.memory`).

    Args:
        source: "bundled", a name from the manifest whose file has been fetched, or a file: our .safetensors, NVIDIA's
            .pkl (PyTorch or TensorFlow), rosinality's .pt, GANSpace's of StyleGAN and ProGAN, BigGAN-deep's .bin,
            pix2pixHD's .pth, or the folder of MobileStyleGAN's OpenVINO files. Nothing that such a file names is
            imported or run.
        device: Where it goes; "auto" takes the best one.
        dtype: Precision of weights and pictures.
    Raises:
        InputError: no such file, or it holds no generator that can be used; the message says why.
    """
    from generators import checkpoints as readers

    keep_freed_memory()
    config, state = readers.read(find(source))
    with torch.device("meta"):  # No weights are drawn that would be replaced at once.
        generator = readers.ARCHITECTURES[config.architecture].build(config)
    generator.load_state_dict(state, assign=True)
    generator.requires_grad_(False).eval()
    _ = generator.hash, generator.spaces  # Taken here, from the weights as they are in the file.
    device = choose_device(device) if isinstance(device, str) else device
    return generator.to(device, dtype).to(memory_format=generator.memory_format)


def fetch(name: str, *, on_progress: Callable[[int, int], None] | None = None, force: bool = False) -> Path:
    """Get a file of the manifest (`weights.fetch.fetch`), converted where it is not stored as it is published."""
    from generators.checkpoints.vgg16 import convert_vgg16
    from weights.fetch import fetch as fetch_file

    return fetch_file(name, on_progress=on_progress, force=force, converters={"vgg16-torchvision": convert_vgg16})


def find(source: str | os.PathLike[str]) -> Path:
    """The file for a source: "bundled", a name from the manifest, or a path."""
    from weights.store import is_known, path_of

    name = "bundled-generator" if os.fspath(source) == "bundled" else os.fspath(source)
    return path_of(name) if is_known(name) else Path(source)


def convert(source: str | os.PathLike[str], out: str | os.PathLike[str], *, half: bool = False) -> None:
    """Write any generator file that can be read as our safetensors, after which no pickle is needed.

    Args:
        source: As for `load`.
        out: The new file, ending in .safetensors.
        half: Store float16, half the size; pictures change by about 1e-3 of their range, and the hash changes.
    Raises:
        InputError: the source cannot be read, or the new file cannot be written.
    """
    from generators import checkpoints as readers

    if Path(out).suffix != ".safetensors":
        raise InputError(out, "converted generators are safetensors", "end the name in .safetensors")
    config, state = readers.read(find(source))
    readers.write(out, config, state, half=half)
