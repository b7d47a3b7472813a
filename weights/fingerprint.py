"""The hash by which files and recipes name the generator and the controls that they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 values of a state dict, in the order of the names; 64 hex digits.

    It depends on the weights alone, not on the kind of file that they came from.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
