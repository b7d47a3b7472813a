"""Family files in the Editor: the same calls as for GradCtrl's controls, in w and in the style space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from directions import (
    fit_interfacegan,
    ganspace_candidates,
    stylespace_candidates,
)
from directions import (
    load as load_controls,
)
from directions import (
    save as save_controls,
)
from editing import Editor
from generators import Generator, StyleGAN2, StyleGAN2Config
from gradctrl import Scores
from weights.errors import InputError

FAMILIES = ("interfacegan", "ganspace", "stylespace")


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(3)
    config = StyleGAN2Config(img_resolution=32, channels=(24, 16, 12, 8), z_dim=32, w_dim=20, mapping_layers=2)
    return StyleGAN2(config).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def latents(generator: Generator) -> Tensor:
    return generator.sample(range(600))


@pytest.fixture(scope="module")
def files(generator: Generator, latents: Tensor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each family, with a binary attribute and one whose classes have an order."""
    _, _, axes = torch.pca_lowrank(latents, q=4)
    c = (latents - latents.mean(dim=0)) @ axes
    c = c / c.std(dim=0)
    scores = {
        "smile": Scores(attribute="smile", classes=("no", "yes"), scorer="formula",
                        values=torch.stack([torch.zeros(len(c)), 3 * c[:, 0]], dim=1)),
        "pose": Scores(attribute="pose", classes=("left", "front", "right"), ordered=True, scorer="formula",
                       values=-(c[:, 1:2] - torch.tensor([-1.2, 0.0, 1.2])).abs() * 3)}
    found = {"interfacegan": fit_interfacegan(latents, scores),
             "ganspace": [group[0] for group in ganspace_candidates(latents, scores, best=1).values()],
             "stylespace": [group[0] for group in stylespace_candidates(generator, latents, scores, best=1).values()]}
    folder = tmp_path_factory.mktemp("families")
    for method, controls in found.items():
        save_controls(folder / f"{method}.safetensors", controls, spaces=generator.spaces)
    return {method: folder / f"{method}.safetensors" for method in found}


@pytest.mark.parametrize("method", ["interfacegan", "ganspace", "stylespace"])
def test_an_editor_edits_with_a_method(generator: Generator, latents: Tensor, files: dict[str, Path],
                                       method: str) -> None:
    editor = Editor(generator, load_controls(files[method]))
    editor.set_latents(latents[:3])
    unchanged = editor.render(generator.broadcast(latents[:3]))
    assert np.array_equal(editor.edit({"smile": 0.0}), unchanged)
    assert not np.array_equal(editor.edit({"smile": 2.0, "pose:right": 1.0}), unchanged)


@pytest.mark.parametrize("method", ["interfacegan", "ganspace"])
def test_own_scores_reach_the_boundary(generator: Generator, latents: Tensor, files: dict[str, Path],
                                       method: str) -> None:
    editor = Editor(generator, load_controls(files[method]))
    editor.set_latents(latents[:20])
    for name, index in (("smile:no", 0), ("smile:yes", 1), ("pose:left", 0), ("pose:front", 1), ("pose:right", 2)):
        strengths = editor.strengths_to(name)
        assert strengths.isfinite().all()
        assert strengths.any()
        edited = editor.displace({}, strengths={editor.key_of(name): strengths})
        control, _ = editor.find(name)
        reached = control.score_of(edited.latent.mean(dim=1), index)
        assert (reached > -1e-3).all(), name


def test_a_style_channel_changes_its_layer_alone(generator: Generator, latents: Tensor,
                                                 files: dict[str, Path]) -> None:
    editor = Editor(generator, load_controls(files["stylespace"]))
    editor.set_latents(latents[:2])
    edited = editor.displace({"smile": 1.5})
    control, _ = editor.find("smile")
    assert torch.equal(edited.latent, generator.broadcast(latents[:2]))
    assert edited.styles is not None
    expected = (1.5 * control.units[0] * control.direction(latents[:1])).expand(2, -1)
    assert torch.allclose(edited.styles, expected, rtol=1e-4)
    assert ((edited.styles != 0).sum(dim=1) == 1).all()


def test_controls_of_another_space_is_refused(generator: Generator, files: dict[str, Path]) -> None:
    torch.manual_seed(4)
    other = StyleGAN2(generator.config).eval()
    for path in files.values():
        with pytest.raises(InputError, match="these controls are for the space"):
            Editor(other, load_controls(path))
