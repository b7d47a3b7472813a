"""An image classifier of one's own, for small generators: what it says of a picture can be seen at once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from learning.bank import SampleBank


class Colours(nn.Module):
    """Logits of brightness and of red against blue, both 0 for the median picture, and of a glare that none has."""

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))
        values = self(pictures)[:, :2]
        self.register_buffer("middle", values.median(dim=0).values)
        self.register_buffer("spread", values.std(dim=0) / 3)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=[2, 3])
        values = torch.stack([means.mean(dim=1), means[:, 0] - means[:, 2]], dim=1)
        values = (values - self.middle) / self.spread
        return torch.cat([values, values[:, :1] - 50], dim=1)


def write_scorer(folder: Path, bank: SampleBank, *, glare: bool = False) -> Path:
    """Write a classifier of a bank's pictures: bright and red, and if asked for glare, of which there is none."""
    pictures = torch.from_numpy(bank.pictures(0, bank.count)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(Colours(pictures)).save(str(folder / "model.pt"))
    outputs = [{"attribute": name, "classes": classes, "columns": [column], "kind": "logit"}
               for column, (name, classes) in enumerate((("bright", ["dark", "bright"]), ("red", ["blue", "red"]),
                                                         ("glare", ["no glare", "glare"])))]
    path = folder / "scorer.json"
    path.write_text(json.dumps({"format": "gradctrl-scorer-1", "name": "colours", "model": "model.pt",
                                "range": [-1, 1], "outputs": outputs if glare else outputs[:2]}))
    return path
