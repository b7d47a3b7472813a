"""Animated GIF and MP4 files. The one module that imports PyAV."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from weights.errors import InputError
from weights.files import replacing


def save_video(path: str | os.PathLike[str], pictures: np.ndarray, *, fps: int = 15,
               there_and_back: bool = True) -> None:
    """Write pictures as an animated .gif or an H.264 .mp4.

    Args:
        path: The file; its ending decides.
        pictures: uint8 [count, H, W, 3].
        fps: Pictures a second.
        there_and_back: Play them backwards after the end, so that a loop has no jump.
    Raises:
        InputError: another ending, or the file cannot be written.
    """
    path = Path(path)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3 or not len(pictures):
        raise ValueError(f"pictures must be uint8 [count, H, W, 3], not {pictures.dtype} {list(pictures.shape)}")
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix.lower() not in writers:
        raise InputError(path, "videos are .gif or .mp4", "end the name in one of these")
    if there_and_back:
        pictures = np.concatenate([pictures, pictures[-2:0:-1]])
    with replacing(path) as temporary:
        writers[path.suffix.lower()](temporary, pictures, fps)


def _write_gif(path: Path, pictures: np.ndarray, fps: int) -> None:
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)


def _write_mp4(path: Path, pictures: np.ndarray, fps: int) -> None:
    import av

    height, width = (side + side % 2 for side in pictures.shape[1:3])  # 4:2:0 colours need even sides.
    padding = [(0, 0), (0, height - pictures.shape[1]), (0, width - pictures.shape[2]), (0, 0)]
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in np.pad(pictures, padding, mode="edge"):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
