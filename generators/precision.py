"""Which precision pays on this machine, found by trying it."""

from __future__ import annotations

import time

import torch

from generators.base import Generator


def fastest_dtype(generator: Generator, *, batch: int = 1, gain: float = 1.3) -> torch.dtype:
    """Time the generator's convolutions in reduced precision against its own, and return what is worth using.

    Tried are bfloat16 on a CPU and float16 on a GPU. The generator is left as it was.

    Args:
        generator: A loaded generator.
        batch: Pictures rendered at a time.
        gain: How many times faster the reduced precision must be; below that it is not worth its rounding.
    Returns:
        The dtype for `Generator.precision`.
    """
    reduced = torch.bfloat16 if generator.device.type == "cpu" else torch.float16
    w = generator.sample(range(batch))
    seconds = {}
    for dtype in (generator.dtype, reduced):
        with generator.precision(dtype):
            seconds[dtype] = min(_time_render(generator, w) for _ in range(4))
    return reduced if seconds[generator.dtype] > gain * seconds[reduced] else generator.dtype


@torch.no_grad()
def _time_render(generator: Generator, w: torch.Tensor) -> float:
    start = time.perf_counter()
    generator.render(w).sum().item()  # .item() waits for a GPU to finish.
    return time.perf_counter() - start
