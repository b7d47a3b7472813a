"""StyleGAN: both published kinds of file draw what NVIDIA's equations say; then what every generator promises."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from generators import StyleGAN, StyleGANConfig, convert, load
from generators.checkpoints import write
from tests.generators.checkpoints.reader_files import write_nvidia_tensorflow
from tests.generators.promises import shifted_draws_as_added
from weights.errors import InputError

SIDES, CHANNELS, WIDTH = (4, 8, 16, 32, 64, 128), (12, 10, 8, 6, 4, 4), 20  # Convolutions of both kinds.


def variables() -> dict[str, Tensor]:
    """What NVIDIA's network of 128 pixels holds, by TensorFlow's names and shapes."""
    rng = torch.Generator().manual_seed(0)
    made: dict[str, Tensor] = {}

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        made[name] = torch.randn(shape, generator=rng) * scale

    add("dlatent_avg", WIDTH)
    for index in range(3):
        add(f"mapping/Dense{index}/weight", WIDTH, WIDTH, scale=100)
        add(f"mapping/Dense{index}/bias", WIDTH, scale=30)
    before = 0
    for index, (side, channels) in enumerate(zip(SIDES, CHANNELS, strict=True)):
        for part, name in enumerate(("Const", "Conv") if not before else ("Conv0_up", "Conv1")):
            layer = f"synthesis/{side}x{side}/{name}"
            if name == "Const":
                add(f"{layer}/const", 1, channels, 4, 4)
            else:
                add(f"{layer}/weight", 3, 3, before if name == "Conv0_up" else channels, channels)
            add(f"{layer}/bias", channels, scale=0.3)
            add(f"{layer}/Noise/weight", channels, scale=0.3)
            add(f"{layer}/StyleMod/weight", WIDTH, 2 * channels)
            add(f"{layer}/StyleMod/bias", 2 * channels, scale=0.3)
            add(f"synthesis/noise{2 * index + part}", 1, 1, side, side)
        add(f"synthesis/ToRGB_lod{len(SIDES) - 1 - index}/weight", 1, 1, channels, 3)
        add(f"synthesis/ToRGB_lod{len(SIDES) - 1 - index}/bias", 3, scale=0.3)
        before = channels
    made["synthesis/lod"] = torch.tensor(0.0)
    return made


def w_of(of: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """w of z, as NVIDIA's G_mapping has it, in float64."""
    x = z.double() * (z.double().square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
    for index in range(3):
        weight, bias = (of[f"mapping/Dense{index}/{end}"].double() * 0.01 for end in ("weight", "bias"))
        x = F.leaky_relu(x @ weight * sqrt(2 / WIDTH) + bias, 0.2)
    return x


def picture_of(of: Mapping[str, Tensor], ws: Tensor) -> Tensor:
    """The picture at w+ [N, L, D], as NVIDIA's G_synthesis has it, in float64."""
    x = of["synthesis/4x4/Const/const"].double().expand(len(ws), -1, -1, -1)
    taps = torch.tensor([1.0, 2, 1]).double()
    row = 0
    for side in SIDES:
        for name in ("Const", "Conv") if side == 4 else ("Conv0_up", "Conv1"):
            layer = {end: of[f"synthesis/{side}x{side}/{name}/{end}"].double()
                     for end in ("weight", "bias", "Noise/weight", "StyleMod/weight", "StyleMod/bias")
                     if (name, end) != ("Const", "weight")}
            if name != "Const":
                kernel = layer["weight"].permute(3, 2, 0, 1) * sqrt(2 / (9 * layer["weight"].shape[2]))
                if name == "Conv0_up" and side >= 128:
                    wide = F.pad(kernel, (1, 1, 1, 1))
                    wide = wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]
                    x = F.conv_transpose2d(x, wide.transpose(0, 1), stride=2, padding=1)
                else:
                    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if name == "Conv0_up" else x
                    x = F.conv2d(x, kernel, padding=1)
                if name == "Conv0_up":
                    each = (taps.outer(taps) / 16).expand(x.shape[1], 1, 3, 3)
                    x = F.conv2d(x, each, padding=1, groups=x.shape[1])
            x = x + of[f"synthesis/noise{row}"].double() * layer["Noise/weight"][:, None, None]
            x = F.leaky_relu(x + layer["bias"][:, None, None], 0.2)
            x = F.instance_norm(x, eps=1e-8)
            style = ws[:, row].double() @ layer["StyleMod/weight"] / sqrt(WIDTH) + layer["StyleMod/bias"]
            scale, offset = style[:, :, None, None].chunk(2, dim=1)
            x, row = x * (scale + 1) + offset, row + 1
    kernel = of["synthesis/ToRGB_lod0/weight"].double().permute(3, 2, 0, 1)
    return F.conv2d(x, kernel / sqrt(kernel.shape[1]), of["synthesis/ToRGB_lod0/bias"].double())


def tensorflow_file(path: Path, of: Mapping[str, Tensor], **arguments: object) -> Path:
    parts: dict[str, list[tuple[str, object]]] = {"": [], "mapping": [], "synthesis": []}
    for name, value in of.items():
        part, _, rest = name.partition("/")
        parts[part if rest else ""].append((rest or name, np.asarray(value.numpy())))
    return write_nvidia_tensorflow(path, parts, version=3, **arguments)  # type: ignore[arg-type]


def ganspace_weights(of: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that GANSpace makes of it, which has no noise and no mean w."""
    names = {"Const/bias": "bias", "Const/const": "const", "Const/Noise/weight": "epi1.top_epi.noise.weight",
             "Const/StyleMod/": "epi1.style_mod.lin.", "Conv/Noise/weight": "epi2.top_epi.noise.weight",
             "Conv/StyleMod/": "epi2.style_mod.lin.", "Conv0_up/Noise/weight": "epi1.top_epi.noise.weight",
             "Conv0_up/StyleMod/": "epi1.style_mod.lin.", "Conv1/Noise/weight": "epi2.top_epi.noise.weight",
             "Conv1/StyleMod/": "epi2.style_mod.lin.", "Conv0_up/": "conv0_up.", "Conv1/": "conv1.", "Conv/": "conv."}
    state: dict[str, Tensor] = {}
    for name, value in of.items():
        part, _, rest = name.partition("/")
        if "noise" in name or "lod" in name.replace("ToRGB_lod0", "") or not rest:
            continue
        for source, ours in names.items():
            rest = rest.replace(source, ours)
        value = value.permute(3, 2, 0, 1) if value.ndim == 4 and rest.endswith("weight") else value
        value = value.T if value.ndim == 2 else value
        rest = rest.replace("Dense", "dense").replace("ToRGB_lod0", "torgb").replace("/", ".")
        state[f"g_{part}." + ("" if part == "mapping" or rest.startswith("torgb") else "blocks.") + rest] = value
    state["g_synthesis.blocks.8x8.conv0_up.intermediate.kernel"] = torch.ones(1, 1, 3, 3)
    return state


@pytest.fixture(scope="module")
def of() -> dict[str, Tensor]:
    return variables()


@pytest.fixture(scope="module")
def file(of: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensorflow_file(tmp_path_factory.mktemp("stylegan") / "karras2019.pkl", of)


@pytest.fixture
def generator(file: Path) -> StyleGAN:
    generator = load(file).double()
    assert isinstance(generator, StyleGAN)
    return generator


def test_nvidias_file_draws_what_its_equations_say(generator: StyleGAN, of: dict[str, Tensor]) -> None:
    z = torch.randn(2, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    w = generator.mapping(z)
    assert torch.allclose(w, w_of(of, z), atol=1e-5)
    ws = torch.randn(2, generator.num_ws, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    wanted = picture_of(of, ws)
    assert float((generator.render(ws) - wanted).abs().max() / wanted.abs().max()) < 1e-5
    assert torch.allclose(generator.neutral(), of["dlatent_avg"].double())


def test_ganspaces_file_of_the_same_weights_draws_the_same(generator: StyleGAN, of: dict[str, Tensor],
                                                          tmp_path: Path) -> None:
    torch.save(ganspace_weights(of), tmp_path / "stylegan_ffhq.pt")
    other = load(tmp_path / "stylegan_ffhq.pt").double()
    w = generator.sample([1, 2])
    assert torch.allclose(other.sample([1, 2]), w)
    assert torch.allclose(other.render(w, noise_mode="none"), generator.render(w, noise_mode="none"), atol=1e-6)
    mean = other.mapping(other.draw_z(range(4000))).mean(dim=0)  # The file lacks it.
    assert float((other.neutral() - mean).norm() / mean.norm()) < 0.2


def test_what_every_generator_promises(generator: StyleGAN, tmp_path: Path) -> None:
    w = generator.sample([1, 2, 3])
    singles = torch.cat([generator.render(row[None]) for row in w])
    whole = generator.render(w)
    assert torch.allclose(whole, singles, atol=1e-10)
    ws = generator.broadcast(w).clone()
    for row in range(generator.num_ws):
        changed = ws.clone()
        changed[:, row] += 1
        assert not torch.allclose(generator.render(changed), whole)
    assert generator.row_positions == (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
    assert generator.styles(w).shape == (3, generator.layers[-1].stop)
    change = torch.zeros_like(generator.styles(w))
    assert torch.allclose(generator.render(w, style_change=change), whole)
    assert not torch.allclose(generator.render(w, style_change=change + 0.1), whole)
    assert not torch.allclose(generator.render(w, noise_mode="none"), whole)
    assert generator.activations(w, "b16.conv1").shape == (3, 8, 16, 16)
    convert_path = tmp_path / "own.safetensors"
    write(convert_path, generator.config, {name: value.float() for name, value in generator.state_dict().items()})
    assert torch.allclose(load(convert_path).double().render(w), whole, atol=1e-5)


@pytest.mark.parametrize("name", ["b4.conv1", "b16.conv0", "b128.conv0"])
def test_shifted_weights_draw_as_weights_that_were_added_to(name: str, generator: StyleGAN) -> None:
    shifted_draws_as_added(generator, name)


def test_tuned_weights_change_no_styles(generator: StyleGAN) -> None:
    names = generator.tunable_weights(64)
    assert "synthesis.b32.conv1.weight" not in names
    assert {"synthesis.b64.conv0.weight", "synthesis.torgb.weight"} <= names.keys()
    tuned = generator.with_weights({name: torch.ones_like(value) for name, value in names.items()})
    w = generator.sample([1])
    assert torch.equal(tuned.styles(w), generator.styles(w))
    assert not torch.allclose(tuned.render(w), generator.render(w))


def test_convert_writes_our_own_format(file: Path, tmp_path: Path) -> None:
    convert(file, tmp_path / "own.safetensors")
    assert load(tmp_path / "own.safetensors").hash == load(file).hash


@pytest.mark.parametrize(("arguments", "told"), [
    ({"label_size": 3}, "label_size = 3"), ({"use_instance_norm": False}, "use_instance_norm = False"),
    ({"nonlinearity": "relu"}, "nonlinearity = 'relu'"), ({"fused_scale": True}, "fused_scale = True")])
def test_other_networks_are_refused(arguments: dict[str, object], told: str, of: dict[str, Tensor],
                                    tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        load(tensorflow_file(tmp_path / "a.pkl", of, **arguments))


def test_files_that_do_not_fit_are_refused(of: dict[str, Tensor], tmp_path: Path) -> None:
    lacking = {name: value for name, value in of.items() if name != "synthesis/32x32/Conv1/weight"}
    with pytest.raises(InputError, match=r"a\.pkl.*missing"):
        load(tensorflow_file(tmp_path / "a.pkl", lacking))
    with pytest.raises(InputError, match=r"a\.pkl.*'synthesis/8x8/Other/weight' is none of a generator"):
        load(tensorflow_file(tmp_path / "a.pkl", {**of, "synthesis/8x8/Other/weight": torch.zeros(3, 3, 2, 2)}))
    state = ganspace_weights(of)
    state["g_synthesis.torgb.bias"] = torch.full([3], float("nan"))
    torch.save(state, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b\.pt.*NaN"):
        load(tmp_path / "b.pt")


def test_ffhqs_sizes() -> None:
    config = StyleGANConfig(img_resolution=1024, channels=(512, 512, 512, 512, 256, 128, 64, 32, 16))
    assert config.num_ws == 18
    assert [*config.layers()][-1].stop == 2 * 2 * (4 * 512 + 256 + 128 + 64 + 32 + 16)
    with pytest.raises(ValueError, match="channel counts"):
        StyleGANConfig(img_resolution=64, channels=(4,))
    with pytest.raises(ValueError, match="power of two"):
        StyleGANConfig(img_resolution=100, channels=(4,))
