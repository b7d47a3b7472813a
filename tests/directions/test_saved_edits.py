"""Edits that GANSpace's viewer saved, in files made here in its format."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from directions import load
from directions.saved_edits import import_saved_edit, slug
from generators import LatentStatistics
from tests.generators.made_generators import make_generator
from weights.errors import InputError


def saved(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"name": "Nose Length!", "sigma_range": -3.0, "component_index": 51,
            "act_comp": rng.normal(size=(1, 20)).astype(np.float32), "act_stdev": np.float32(1.5),
            "lat_comp": rng.normal(size=(1, 1, 20)).astype(np.float32), "lat_stdev": np.float64(0.5),
            "latent_space": "W", "model_name": "StyleGAN2", "output_class": "ffhq",
            "decomposition": {"name": "ipca", "components": 80, "samples": 1_000_000, "layer": "style",
                              "class_name": "ffhq"},
            "edit_type": "latent", "truncation": 0.7, "edit_start": 4, "edit_end": 5, "example_seed": 7, **changes}


def write(path: Path, content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_saved_edit_is_a_direction(tmp_path: Path, protocol: int) -> None:
    content = saved()
    made = import_saved_edit(write(tmp_path / "a.pkl", content, protocol))
    assert (made.name, made.layers, made.method) == ("nose_length", (24, 32), "ganspace")
    assert made.units == (1.5,)
    row = torch.from_numpy(content["lat_comp"]).flatten()
    torch.testing.assert_close(made.directions[0], -row / row.norm())  # The slider stood below 0.
    assert {made.report[key] for key in ("component", "layer", "analysis", "network")} == {51, "style", "ipca",
                                                                                          "StyleGAN2"}


def test_it_is_loaded_like_other_files(tmp_path: Path) -> None:
    controls = load(write(tmp_path / "a.pkl", saved(edit_end=18)))
    assert list(controls) == ["nose_length"]
    assert controls["nose_length"].layers == (24, 2048)


def test_spread_tells_another_network(tmp_path: Path) -> None:
    statistics = LatentStatistics.of_generator(make_generator(), samples=2000)
    row = statistics.components[3].float()
    fitting = saved(lat_comp=row.numpy()[None, None], lat_stdev=float(statistics.deviations[3]), sigma_range=2.0)
    made = import_saved_edit(write(tmp_path / "a.pkl", fitting), statistics=statistics)
    assert made.centre == pytest.approx(float(statistics.mean.float() @ row), rel=1e-3)
    with pytest.raises(InputError, match="made for another network"):
        import_saved_edit(write(tmp_path / "b.pkl", fitting | {"lat_stdev": 9.0}), statistics=statistics)
    with pytest.raises(InputError, match="W of 3 numbers"):
        import_saved_edit(write(tmp_path / "c.pkl", saved(lat_comp=np.ones((1, 3)))), statistics=statistics)


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize(("changes", "words"), [
    ({"latent_space": "Z"}, "moves the latent space Z"),
    ({"edit_type": "activation"}, "activations"),
    ({"lat_comp": np.zeros((1, 20), np.float32)}, "make no direction"),
    ({"lat_comp": np.full((1, 20), np.nan)}, "not finite"),
    ({"lat_comp": "long"}, "holds no numbers"),
    ({"lat_stdev": np.ones(3)}, "is not one number"),
    ({"edit_start": 9}, "rows 9 to 5"),
    ({"edit_start": "4"}, "no row"),
    ({"extra": Hostile()}, "not on the list"),
])
def test_what_is_no_edit_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = write(tmp_path / "bad.pkl", saved(**changes))
    with pytest.raises(InputError, match=words) as caught:
        import_saved_edit(path)
    assert "bad.pkl" in str(caught.value)
    assert not Path("pwned").exists()


def test_other_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a saved edit"):
        import_saved_edit(write(tmp_path / "a.pkl", {"name": "x"}))
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(saved())[:200])
    with pytest.raises(InputError, match=r"cut\.pkl"):
        import_saved_edit(tmp_path / "cut.pkl")


def test_names() -> None:
    assert [slug(name) for name in ("Nose Length!", "3 eyes", "__", "Ünder")] == ["nose_length", "edit_3_eyes", "edit",
                                                                                  "nder"]
