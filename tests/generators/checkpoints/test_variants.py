"""The same network as people store it: buffers left out, other channels and precisions, more beside it; and traps."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from generators import load
from generators.checkpoints import read, write
from generators.pixels import to_pixels
from generators.stylegan2 import StyleGAN2
from tests.generators.checkpoints import reader_files as files
from weights.errors import InputError

DTYPES = [torch.float16, torch.bfloat16, torch.float64]


def each_module(module: files.Module) -> list[files.Module]:
    children: dict[str, files.Module] = module.state["_modules"]  # type: ignore[assignment]
    return [module, *(inner for child in children.values() for inner in each_module(child))]


def change_nvidia(generator: files.Module, change: Callable[[str, Tensor], Tensor | None]) -> files.Module:
    """The records of a generator with each of its tensors changed, or left out where `change` gives None."""
    for module in each_module(generator):
        for kind in ("_parameters", "_buffers"):
            tensors: dict[str, Tensor] = module.state[kind]  # type: ignore[assignment]
            changed = {name: change(name, value.detach()) for name, value in tensors.items()}
            module.state[kind] = OrderedDict((name, value) for name, value in changed.items() if value is not None)
    return generator


def nvidia(path: Path, change: Callable[[str, Tensor], Tensor | None]) -> Path:
    return files.write_nvidia_torch(path, change_nvidia(files.nvidia_modules(), change))


def rosinality(path: Path, change: Callable[[str, Tensor], Tensor | None], *, zip_file: bool = True) -> Path:
    changed = {name: change(name, value) for name, value in files.rosinality_weights().items()}
    return files.write_rosinality(path, {name: value for name, value in changed.items() if value is not None},
                                  zip_file=zip_file)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    for word in (str(path), *words):
        assert word in str(caught.value)


# --- buffers that files lack ---


@pytest.mark.parametrize("kind", ["nvidia", "rosinality"])
def test_files_without_buffers_render(kind: str, tmp_path: Path) -> None:
    def drop(name: str, value: Tensor) -> Tensor | None:
        return None if name in ("resample_filter", "noise_const", "w_avg") or "kernel" in name or "noises" in name \
            else value

    write_changed = nvidia if kind == "nvidia" else rosinality
    path, whole = (write_changed(tmp_path / f"{name}.pt", change)
                   for name, change in (("bare", drop), ("whole", lambda name, value: value)))
    (config, state), (expected_config, expected) = read(path), read(whole)
    assert config == expected_config
    noise = {name for name in expected if name.endswith("noise_const")}
    for name in expected.keys() - noise - {"mapping.w_avg"}:
        assert torch.equal(state[name], expected[name]), name
    assert all(torch.equal(state[name], again) for name, again in read(path)[1].items())  # Seeded.
    assert torch.cat([state[name].flatten() for name in noise]).std().item() == pytest.approx(1, abs=0.05)
    assert load(path).render(load(path).sample([1])).isfinite().all()


def test_a_missing_mean_w_is_that_of_all_classes(tmp_path: Path) -> None:
    modules = files.nvidia_modules(replace(files.CONFIG, c_dim=3))
    whole = read(files.write_nvidia_torch(tmp_path / "whole.pkl", modules))
    change_nvidia(modules, lambda name, value: None if name == "w_avg" else value)
    config, state = read(files.write_nvidia_torch(tmp_path / "a.pkl", modules))
    generator = StyleGAN2(config)
    generator.load_state_dict(state)
    z = torch.randn(6000, config.z_dim, generator=torch.Generator().manual_seed(1))
    w = generator.mapping(z, torch.eye(3).repeat(2000, 1)).detach()
    assert (state["mapping.w_avg"] - w.mean(dim=0)).norm() < 3 * w.std(dim=0).norm() / 6000 ** 0.5
    assert not torch.allclose(state["mapping.w_avg"], whole[1]["mapping.w_avg"])


def test_tensorflow_without_mean_w(tmp_path: Path) -> None:
    variables = files.tensorflow_variables()
    variables[""].pop()
    variables["synthesis"] = [item for item in variables["synthesis"] if not item[0].startswith("noise")]
    state = read(files.write_nvidia_tensorflow(tmp_path / "a.pkl", variables))[1]
    assert state["mapping.w_avg"].norm() > 0


def test_what_is_no_buffer_is_not_made_up(tmp_path: Path) -> None:
    for name in ("noise_strength", "bias"):
        refused(nvidia(tmp_path / "a.pkl", lambda each, value, name=name: None if each == name else value),  # type: ignore[misc]
                "is missing")


# --- channels ---


def colours_of(kind: str, path: Path, count: int) -> Path:
    """A file whose generator draws so many channels."""
    def some(value: Tensor, axis: int) -> Tensor:
        return torch.cat([value, value * 0.5], dim=axis).narrow(axis, 0, count)

    if kind == "rosinality":
        return rosinality(path, lambda name, value: some(value, 1) if name.startswith("to_rgb") and (
            name.endswith("conv.weight") or (value.ndim == 4 and name.endswith(".bias"))) else value)
    if kind == "tensorflow":
        variables = files.tensorflow_variables()
        variables["synthesis"] = [
            (name, some(torch.from_numpy(np.asarray(value)), -1).numpy())
            if name.endswith(("ToRGB/weight", "ToRGB/bias")) else (name, value)
            for name, value in variables["synthesis"]]
        return files.write_nvidia_tensorflow(path, variables, num_channels=count)
    generator = files.nvidia_modules()
    for module in each_module(generator):
        if module.class_name == "ToRGBLayer":
            parameters: dict[str, Tensor] = module.state["_parameters"]  # type: ignore[assignment]
            for name in ("weight", "bias"):
                parameters[name] = nn.Parameter(some(parameters[name].detach(), 0))
    return files.write_nvidia_torch(path, generator)


@pytest.mark.parametrize("kind", ["nvidia", "rosinality", "tensorflow"])
def test_grey_and_transparent_pictures_are_drawn_in_colour(kind: str, tmp_path: Path) -> None:
    grey, clear, usual = (load(colours_of(kind, tmp_path / f"{count}.file", count)) for count in (1, 4, 3))
    w = usual.sample([1, 2])
    expected = usual.render(w)
    assert torch.equal(clear.render(w), expected)
    torch.testing.assert_close(grey.render(w), expected[:, :1].expand(-1, 3, -1, -1))
    assert to_pixels(grey.render(w)).shape == (2, 32, 32, 3)
    write(tmp_path / "own.safetensors", *read(tmp_path / "1.file"))
    assert load(tmp_path / "own.safetensors").hash == grey.hash
    refused(colours_of(kind, tmp_path / "2.file", 2), "pictures of 2 channels", "1, 3 or 4")


# --- precisions ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("write_changed", [nvidia, rosinality])
def test_precisions_are_read_as_float32(write_changed: Callable[..., Path], dtype: torch.dtype,
                                        tmp_path: Path) -> None:
    state = read(write_changed(tmp_path / "a.pt", lambda name, value: value.to(dtype)))[1]
    expected = read(write_changed(tmp_path / "b.pt", lambda name, value: value))[1]
    for name, value in expected.items():
        if name != "mapping.w_avg":  # Rosinality's stands beside the weights.
            torch.testing.assert_close(state[name], value.to(dtype).float(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_own_files_of_other_precisions(dtype: torch.dtype, tmp_path: Path) -> None:
    config, state = read(files.write_nvidia_torch(tmp_path / "a.pkl"))
    write(tmp_path / "own.safetensors", config, state)
    header = (tmp_path / "own.safetensors").read_bytes()
    metadata = json.loads(header[8:8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    changed = {name: value.to(dtype) for name, value in load_file(tmp_path / "own.safetensors").items()}
    save_file(changed, tmp_path / "other.safetensors", metadata)
    assert all(torch.equal(value, state[name].to(dtype).float())
               for name, value in read(tmp_path / "other.safetensors")[1].items())


def test_tensorflow_numbers_of_half_precision(tmp_path: Path) -> None:
    variables: dict[str, list[tuple[str, object]]] = {
        part: [(name, np.asarray(value, np.float16)) for name, value in items]
        for part, items in files.tensorflow_variables().items()}
    state = read(files.write_nvidia_tensorflow(tmp_path / "a.pkl", variables))[1]
    assert all(value.dtype == torch.float32 for value in state.values())


def test_numbers_too_large_for_float32_are_refused(tmp_path: Path) -> None:
    refused(rosinality(tmp_path / "a.pt", lambda name, value: value.double() * 1e300 if name == "input.input"
                       else value), "synthesis.b4.const", "NaN or infinity")


# --- what stands beside the weights ---


@pytest.mark.parametrize("zip_file", [True, False])
def test_a_whole_training_s_state(zip_file: bool, tmp_path: Path) -> None:
    """As rosinality's train.py stores it from several devices: both networks, their optimizers, and its arguments."""
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.0, 0.99))
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = torch.load(files.write_rosinality(tmp_path / "plain.pt"), weights_only=False)
    weights = {f"module.{name}": value for name, value in content["g_ema"].items()}
    content |= {"g": weights, "g_ema": OrderedDict(weights), "d": network.state_dict(), "ada_aug_p": 0.3,
                "g_optim": optimizer.state_dict(), "d_optim": optimizer.state_dict()}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zip_file)
    assert load(tmp_path / "a.pt").hash == load(tmp_path / "plain.pt").hash


# --- traps ---


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zip_file", [True, False])
def test_a_call_among_the_weights_is_refused_by_name(zip_file: bool, tmp_path: Path) -> None:
    torch.save({"g_ema": files.rosinality_weights(), "g_optim": Runs(tmp_path / "ran")}, tmp_path / "a.pt",
               _use_new_zipfile_serialization=zip_file)
    refused(tmp_path / "a.pt", "posix.system", "was not run")
    generator = files.nvidia_modules()
    generator.state["more"] = Runs(tmp_path / "ran")
    refused(files.write_nvidia_torch(tmp_path / "a.pkl", generator), "posix.system", "was not run")
    assert not (tmp_path / "ran").exists()


def test_values_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    """Forty modules that hold the next one twice are a million million modules."""
    module = files.Module("Generator")
    for _ in range(40):
        outer = files.Module("Generator")
        outer.state["_modules"] |= {"a": module, "b": module}  # type: ignore[operator]
        module = outer
    refused(files.write_nvidia_torch(tmp_path / "a.pkl", module), "values within values")
    (tmp_path / "b.pkl").write_bytes(b"\x80\x04" + b"]" * 5000 + b"a" * 4999 + b".")
    refused(tmp_path / "b.pkl", "values within values")


def test_empty_values_are_charged_for(tmp_path: Path) -> None:
    """A set takes up 216 bytes of memory and one of the file."""
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04(" + b"\x8f" * 100_000 + b"t.")
    refused(tmp_path / "a.pkl", "more data than it holds")


def test_values_within_themselves_are_no_trap(tmp_path: Path) -> None:
    generator = files.nvidia_modules()
    loop: list[object] = []
    generator.state["itself"] = loop
    loop.append(loop)
    assert read(files.write_nvidia_torch(tmp_path / "a.pkl", generator))[0] == files.CONFIG
    assert pickle.loads(pickle.dumps(loop))[0]
