"""Checkpoints of rosinality's stylegan2-pytorch: a dict with the weights of the averaged generator as g_ema.

The arithmetic is NVIDIA's: the kernels of the up-sampling convolutions go into a transposed convolution as they are in
both, and the scales that rosinality keeps in the code (1 / sqrt(fan-in)) NVIDIA keeps there too or demodulation takes
out. Not in the file: the mapping network's learning-rate multiplier, which is 0.01 throughout that repository.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import Tensor

from generators.checkpoints.check import refusal
from generators.checkpoints.stylegan2_sizes import complete, read_config
from generators.stylegan2 import StyleGAN2Config

LR_MULTIPLIER = 0.01


def read_rosinality(path: Path, checkpoint: Mapping[object, object]) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    """Convert a checkpoint to sizes and weights.

    Raises:
        InputError: it has no g_ema, or its weights are not those of a StyleGAN2 generator.
    """
    weights = _weights(path, checkpoint)
    state: dict[str, Tensor] = {}
    for source, value in weights.items():
        name, convert = _translate(path, source)
        try:
            state[name] = convert(value)
        except (RuntimeError, IndexError) as error:
            raise refusal(path, f"the weight {source} has the shape {list(value.shape)}", "use another file") from error
    config = read_config(path, state, mapping_lr_multiplier=LR_MULTIPLIER)
    average = checkpoint.get("latent_avg")
    if isinstance(average, Tensor):
        state["mapping.w_avg"] = average.reshape(-1)
    return config, complete(path, config, state)


def _weights(path: Path, checkpoint: Mapping[object, object]) -> dict[str, Tensor]:
    weights = checkpoint.get("g_ema")
    if not isinstance(weights, dict) or not all(isinstance(name, str) and isinstance(value, Tensor)
                                                for name, value in weights.items()):
        raise refusal(path, "g_ema is not a dict of weights", "use a checkpoint of rosinality's stylegan2-pytorch")
    return {name.removeprefix("module."): value for name, value in weights.items()}  # DataParallel's prefix.


Convert = Callable[[Tensor], Tensor]
Name = Callable[..., str]


def _translate(path: Path, source: str) -> tuple[str, Convert]:
    for pattern, name, convert in _RULES:
        match = re.fullmatch(pattern, source)
        if match:
            return name(*match.groups()), convert
    raise refusal(path, f"there is a weight {source[:100]!r} that rosinality's generator does not have",
                  "use another file")


def _same(value: Tensor) -> Tensor:
    return value


def _first(value: Tensor) -> Tensor:
    return value[0]


def _filter(value: Tensor) -> Tensor:
    return value / 4  # That repository stores the filter with the gain of doubling both sides.


def _conv(index: str) -> str:
    """convs.0 and convs.1 are the two of 8 pixels, convs.2 and 3 those of 16, ..."""
    block, layer = divmod(int(index), 2)
    return f"synthesis.b{8 * 2 ** min(block, 16)}.conv{layer}"


def _noise(index: str) -> str:
    return "synthesis.b4.conv1.noise_const" if int(index) == 0 else f"{_conv(str(int(index) - 1))}.noise_const"


def _block(index: str) -> str:
    return f"synthesis.b{8 * 2 ** min(int(index), 16)}"


def _rules_of(pattern: str, base: Name, *, colours: bool) -> Iterator[tuple[str, Name, Convert]]:
    def named(end: str) -> Name:
        return lambda *groups: base(*groups) + end

    yield pattern + r"\.conv\.weight", named(".weight"), _first
    yield pattern + r"\.conv\.modulation\.weight", named(".affine.weight"), _same
    yield pattern + r"\.conv\.modulation\.bias", named(".affine.bias"), _same
    if colours:
        yield pattern + r"\.bias", named(".bias"), lambda value: value[0, :, 0, 0]
    else:
        yield pattern + r"\.noise\.weight", named(".noise_strength"), _first
        yield pattern + r"\.activate\.bias", named(".bias"), _same


# Pattern of rosinality's name, NVIDIA's name, and the conversion. style.0 is the normalisation of z, without weights.
_RULES: list[tuple[str, Name, Convert]] = [
    (r"style\.([1-9]\d?)\.(weight|bias)", lambda i, end: f"mapping.fc{int(i) - 1}.{end}", _same),
    (r"input\.input", lambda: "synthesis.b4.const", _first),
    (r"noises\.noise_(\d{1,2})", _noise, lambda value: value[0, 0]),
    (r"convs\.(\d{1,2})\.conv\.blur\.kernel", lambda i: f"{_conv(i)}.resample_filter", _filter),
    (r"to_rgbs\.(\d{1,2})\.upsample\.kernel", lambda i: f"{_block(i)}.resample_filter", _filter),
    *_rules_of("conv1", lambda: "synthesis.b4.conv1", colours=False),
    *_rules_of("to_rgb1", lambda: "synthesis.b4.torgb", colours=True),
    *_rules_of(r"convs\.(\d{1,2})", _conv, colours=False),
    *_rules_of(r"to_rgbs\.(\d{1,2})", lambda i: f"{_block(i)}.torgb", colours=True),
]
