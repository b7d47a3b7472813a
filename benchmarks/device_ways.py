"""The ways in which a generator's synthesis can be made quicker, and what they may fail with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stylegan2.network import SynthesisNetwork
from weights.errors import InputError

# What compilers, their lack, and devices raise. What is raised for a fault of ours (NameError, ...) is not among them.
FAILURES = (RuntimeError, OSError, ImportError, AssertionError, AttributeError, KeyError, TypeError, ValueError,
            FloatingPointError, subprocess.SubprocessError)
WARM_UPS = 3  # Calls before a graph is captured, in which libraries choose their algorithms.


@dataclass(frozen=True)
class Way:
    """One column of the tables."""

    name: str
    title: str
    compiled: bool = False  # By torch.compile.
    graph: bool = False     # Recorded once as a CUDA graph, and replayed.


WAYS = {way.name: way for way in (
    Way("plain", "plain"), Way("compile", "torch.compile", compiled=True), Way("graphs", "CUDA graphs", graph=True),
    Way("both", "torch.compile with CUDA graphs", compiled=True, graph=True))}


def ways_of(names: str | None, device: torch.device, *, quick: bool = False) -> tuple[Way, ...]:
    """The ways that were asked for (separated by commas), or all that the device can; quick: the plain one.

    Raises:
        InputError: no such way, or the device cannot do it.
    """
    possible = [way for way in WAYS.values() if device.type == "cuda" or not way.graph]
    if names is None:
        return (WAYS["plain"],) if quick else tuple(possible)
    asked = names.split(",")
    for name in asked:
        if name not in WAYS:
            raise InputError(f"--ways {names}: give some of {', '.join(WAYS)}")
        if WAYS[name] not in possible:
            raise InputError(f"--ways {names}: {device.type} has no CUDA graphs; leave {name} out")
    return tuple(WAYS[name] for name in WAYS if name in asked)


def quicker(synthesis: SynthesisNetwork, way: Way, sample: Tensor) -> None:
    """Change a synthesis network in place; afterwards it takes w+ of this shape only.

    Args:
        synthesis: Frozen.
        way: How.
        sample: w+ [N, num_ws, w_dim]; with a gradient if it is to be called with one.
    """
    if way.compiled:
        torch.compiler.reset()  # Else the compiler gives up silently after some variants of the same code.
        synthesis.compile(mode="reduce-overhead" if way.graph else None, dynamic=False)
    elif way.graph and sample.requires_grad:
        torch.cuda.make_graphed_callables(synthesis, (sample,), num_warmup_iters=WARM_UPS)
    elif way.graph:
        replay = _captured(synthesis.forward, sample)
        synthesis.forward = lambda ws, **_: replay(ws)  # type: ignore[method-assign]


def forget() -> None:
    """Give back what the last way held, so that it does not weigh on the next one."""
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def failure(error: BaseException) -> str:
    """The kind of an error, and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'says nothing'}"


def _captured(function: Callable[[Tensor], Tensor], sample: Tensor) -> Callable[[Tensor], Tensor]:
    """A function of one tensor as a CUDA graph; each call's result stands where that of the last one stood."""
    place = sample.detach().clone()
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UPS):
            function(place)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function(place)

    def replay(x: Tensor) -> Tensor:
        place.copy_(x)
        graph.replay()
        return result

    return replay
