"""Telling by its content what kind of checkpoint a file is, and reading it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from generators.checkpoints import progan, stylegan
from generators.checkpoints.allow_list import Record
from generators.checkpoints.biggan import is_biggan, read_biggan
from generators.checkpoints.check import refusal
from generators.checkpoints.nvidia_tensorflow import read_nvidia_tensorflow
from generators.checkpoints.nvidia_torch import read_nvidia_torch
from generators.checkpoints.openvino import read_openvino
from generators.checkpoints.own import read_own
from generators.checkpoints.pix2pixhd import is_pix2pixhd, read_pix2pixhd
from generators.checkpoints.progan import is_progan, read_progan_tensorflow, read_progan_torch
from generators.checkpoints.rosinality import read_rosinality
from generators.checkpoints.stylegan import read_stylegan_tensorflow, read_stylegan_torch
from generators.checkpoints.stylegan2_sizes import in_colour
from generators.checkpoints.unpickle import ZIP_START, read_pickle
from generators.stylegan2 import StyleGAN2Config

PICKLE_START = b"\x80"  # Protocols 2 and later, which all of these repositories write.
KINDS = ("readable are the program's own .safetensors, NVIDIA's .pkl (ProGAN, StyleGAN, StyleGAN2), rosinality's .pt "
         "with g_ema, GANSpace's of StyleGAN and ProGAN, BigGAN-deep's .bin of pytorch-pretrained-biggan, "
         "pix2pixHD's .pth and the folder of MobileStyleGAN's OpenVINO files")


def read(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Tensor]]:
    """Read a generator from a file of any known kind, whatever its name ends in, or the folder of OpenVINO's files.

    Nothing that a file names is imported or run.

    Returns:
        The configuration, which names its architecture, and the weights: float32 on the CPU, by the names of our own
        parameters (NVIDIA's for StyleGAN2), complete and finite, so that they load strictly.

    Raises:
        InputError: one line with the file, what is wrong with it, and what to do.
    """
    path = Path(path)
    config, state = _read(path)
    return in_colour(path, config, state) if isinstance(config, StyleGAN2Config) else (config, state)


def _read(path: Path) -> tuple[Any, dict[str, Tensor]]:
    if path.is_dir():
        return read_openvino(path)
    start = _start(path)
    if start.lstrip().startswith(b"<?xml") and b"<net " in start:
        return read_openvino(path)
    if start.lstrip()[:1] == b"<":
        raise refusal(path, "a web page (HTML), not a checkpoint",
                      "download the file itself, by the page's download button")
    if start[8:9] == b"{":
        return read_own(path)
    if start[:1] != PICKLE_START and start[:4] != ZIP_START:
        raise refusal(path, "not a checkpoint", KINDS)
    content = read_pickle(path)
    match content:
        case {"G_ema": Record() as generator}:
            return read_nvidia_torch(path, generator)
        case {"g_ema": _}:
            return read_rosinality(path, content)  # type: ignore[arg-type]
        case (Record("Network"), Record("Network"), Record("Network") as averaged):
            return _read_tensorflow(path, averaged)
        case Record("Network"):
            return _read_tensorflow(path, content)
        case Record():
            return read_nvidia_torch(path, content)
        case dict() if any(str(name).startswith("g_synthesis.blocks.") for name in content):
            return read_stylegan_torch(path, content)
        case dict() if is_biggan(content):
            return read_biggan(path, content)
        case dict() if is_pix2pixhd(content):
            return read_pix2pixhd(path, content)
        case dict() if is_progan(content):
            return read_progan_torch(path, content)
        case dict():
            names = ", ".join(str(name)[:40] for name in list(content)[:5])
            raise refusal(path, f"a checkpoint without a generator named G_ema or g_ema (it has {names})", KINDS)
        case _:
            raise refusal(path, f"a pickle of {type(content).__name__}, not a checkpoint", KINDS)


def _read_tensorflow(path: Path, network: Record) -> tuple[Any, dict[str, Tensor]]:
    match network.state.get("version"):
        case progan.VERSION:
            return read_progan_tensorflow(path, network)
        case stylegan.VERSION:
            return read_stylegan_tensorflow(path, network)
        case _:
            return read_nvidia_tensorflow(path, network)


def _start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError as error:
        raise refusal(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    if not start:
        raise refusal(path, "the file is empty", "download it again")
    return start
