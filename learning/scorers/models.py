"""Opening TorchScript and ONNX models, and running them on pictures.

A model file is a program. TorchScript and ONNX confine what it can do, but load only one that you trust.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from weights.errors import InputError

Model = Callable[[Tensor], Sequence[tuple[str, Any]]]  # Prepared pictures to all outputs, with their names ("": none).
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64,
           "tensor(uint8)": torch.uint8}


def open_model(path: Path, device: torch.device | str) -> tuple[Model, torch.device | str]:
    """Open a model by its ending, .pt or .onnx.

    Args:
        path: The file.
        device: Where it should compute.

    Returns:
        The model, and where it computes: ONNX always on the CPU.

    Raises:
        InputError: damaged, not what its ending says, or onnxruntime is not installed; the message names the file.
            The model raises it for pictures that it does not take.
    """
    if path.suffix.lower() == ".onnx":
        return OnnxModel(path), "cpu"
    return TorchScriptModel(path, device), device


class TorchScriptModel:
    """A TorchScript file; what it returns may be a tensor, a tuple, a list or a dict of them."""

    def __init__(self, path: Path, device: torch.device | str) -> None:
        self.path = path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # PyTorch means to replace TorchScript some day.
                self._module = torch.jit.load(path, map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(path, f"not readable as TorchScript ({_first_line(error)})",
                             "export it with torch.jit.trace(model, example).save(...)") from error
        for parameter in self._module.parameters():  # A ScriptModule has no requires_grad_ of its own.
            parameter.requires_grad_(False)

    def __call__(self, x: Tensor) -> Sequence[tuple[str, Any]]:
        try:
            outputs = self._module(x)
        except RuntimeError as error:
            raise _not_taken(self.path, x, error) from error
        if isinstance(outputs, dict):
            return [(str(name), value) for name, value in outputs.items()]
        return [("", value) for value in (outputs if isinstance(outputs, (tuple, list)) else [outputs])]


class OnnxModel:
    """An ONNX file, run by onnxruntime; one whose batch is fixed gets its pictures in such batches."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as state
        except ImportError as error:
            raise InputError(path, "onnxruntime is needed for ONNX files",
                             "install it with pip install 'gradctrl[onnx]'") from error
        self.path = path
        self._failures: tuple[type[Exception], ...] = (RuntimeError, ValueError, OSError, *(
            kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except self._failures as error:
            raise InputError(path, f"not readable as ONNX ({_first_line(error)})", "export it again") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _DTYPES:
            inputs_in_words = ", ".join(f"{item.name} {item.type}" for item in inputs)
            raise InputError(path, f"must take one input, pictures as numbers, not {inputs_in_words or 'none'}",
                             "export it so")
        self._input, self._dtype = inputs[0].name, _DTYPES[inputs[0].type]
        self._batch = inputs[0].shape[0] if inputs[0].shape and isinstance(inputs[0].shape[0], int) else None
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, x: Tensor) -> Sequence[tuple[str, Any]]:
        batch = self._batch
        if batch is None:
            outputs = self._run(x)
        else:
            padded = F.pad(x.flatten(1), (0, 0, 0, -len(x) % batch)).reshape(-1, *x.shape[1:])
            parts = zip(*map(self._run, padded.split(batch)), strict=True)
            outputs = [torch.cat(part)[:len(x)] if isinstance(part[0], Tensor) else part[0] for part in parts]
        return list(zip(self._names, outputs, strict=True))

    def _run(self, x: Tensor) -> list[Any]:
        """All outputs, as tensors; those that are none (a list of maps) as they are."""
        values = x.round().clamp(0, 255) if self._dtype == torch.uint8 else x
        try:
            outputs = self._session.run(None, {self._input: values.to(self._dtype).numpy()})
        except self._failures as error:
            raise _not_taken(self.path, x, error) from error
        return [torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" else value
                for value in outputs]


def _not_taken(path: Path, x: Tensor, error: Exception) -> InputError:
    return InputError(path, f"does not take pictures of shape {list(x.shape)} ({_first_line(error)})",
                      "correct size, channels and layout in its description")


def _first_line(error: Exception) -> str:
    """The line of an error that says most: the last one of TorchScript's, which begin with a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1 if lines[0].startswith("The following operation failed") else 0][:200]
