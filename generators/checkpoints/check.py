"""What a generator's weights must look like, and the check that every reader's result passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from generators.base import Generator
from generators.stylegan2 import MappingNetwork
from weights.errors import InputError

WIDEST = 1 << 16   # Features of a layer; NVIDIA's have 512.
AVERAGED = 20_000  # How many w make a missing mean; its error is then below 1% of their spread.


def refusal(path: Path, what: str, remedy: str) -> InputError:
    """The one-line error for a checkpoint that cannot be used, to be raised."""
    return InputError(path, what, remedy)


def is_plain(value: object) -> bool:
    """Whether a value from a file is a number, text or nothing: then comparing and showing it is quick and safe."""
    return value is None or isinstance(value, (bool, int, float, str))


def check_arguments(path: Path, arguments: Mapping[object, object], only: Mapping[str, tuple[object, ...]],
                    remedy: str) -> None:
    """Refuse a TensorFlow network that was built otherwise than can be rendered.

    Args:
        path: Of the file, for messages.
        arguments: The network's.
        only: The values that some may have; None: it is not stated.
        remedy: What works.
    Raises:
        InputError: naming the argument.
    """
    for name, allowed in only.items():
        value = arguments.get(name)
        if not is_plain(value) or value not in allowed:
            raise refusal(path, f"the network has {name} = {value!r:.60}", remedy)


def expected_shapes(build: Callable[[Any], Generator], config: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter and buffer of the generator that is built of a configuration; none is allocated.

    Arithmetic on the device "meta" makes torch import its compiler, which takes seconds: layers draw their first
    weights without any.
    """
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build(config).state_dict().items()}


def size_of(path: Path, state: Mapping[str, Tensor], name: str, axis: int) -> int:
    """The size of a weight along an axis.

    Raises:
        InputError: there is no such weight or axis, or it is too wide.
    """
    if name not in state:
        raise refusal(path, f"the weight {name} is missing", "download the file again or use another one")
    if state[name].ndim <= axis or not 1 <= state[name].shape[axis] <= WIDEST:
        raise refusal(path, f"the weight {name} has the shape {list(state[name].shape)}", "use another file")
    return int(state[name].shape[axis])


def check_state(path: Path, build: Callable[[Any], Generator], config: Any,
                state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as float32, each with memory of its own, after checking names, shapes and numbers.

    Raises:
        InputError: names the first weight that is missing, unexpected, of a wrong shape or not finite.
    """
    shapes = expected_shapes(build, config)
    for name in shapes.keys() - state.keys():
        raise refusal(path, f"the weight {name} is missing", "download the file again or use another one")
    for name in sorted(state.keys() - shapes.keys()):
        raise refusal(path, f"there is a weight {name[:100]!r} that such a generator does not have",
                      "use another file")
    result = {}
    for name, shape in shapes.items():
        value = state[name]
        if tuple(value.shape) != shape:
            raise refusal(path, f"the weight {name} has the shape {list(value.shape)} where {list(shape)} is needed",
                          "use another file")
        if not value.dtype.is_floating_point:
            raise refusal(path, f"the weight {name} holds {value.dtype} numbers", "use another file")
        result[name] = value.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        if not bool(torch.isfinite(result[name]).all()):
            raise refusal(path, f"the weight {name} holds NaN or infinity",
                          "download the file again or use another one")
    return result


def set_mean_w(mapping: MappingNetwork, state: dict[str, Tensor]) -> None:
    """Put the mean w that a file lacks into its weights: of 20,000 seeded w of all classes. `mapping` is loaded."""
    mapping.load_state_dict({name.removeprefix("mapping."): value for name, value in state.items()
                             if name.startswith("mapping.")})
    rng = torch.Generator().manual_seed(0)
    z_dim, c_dim = mapping.get_parameter("fc0.weight").shape[1], getattr(mapping, "c_dim", 0)
    if c_dim:
        z_dim -= len(mapping.get_parameter("embed.weight"))
    sums = []
    with torch.no_grad():
        for _ in range(AVERAGED // 1000):
            z = torch.randn(1000, z_dim, generator=rng)
            c = F.one_hot(torch.randint(c_dim, (1000,), generator=rng), c_dim).float() if c_dim else None
            sums.append(mapping(z, c).double().sum(dim=0))
    state["mapping.w_avg"] = (torch.stack(sums).sum(dim=0) / AVERAGED).float()
