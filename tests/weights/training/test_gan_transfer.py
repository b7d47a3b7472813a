"""Starting from another generator: the same pictures, enlarged, and everything new ready to learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegan2 import Generator, GeneratorConfig
from stylegan2.layers import fir_filter, upsample
from weights.errors import InputError
from weights.training.gan.settings import Settings
from weights.training.gan.trainer import Trainer
from weights.training.gan.transfer import transfer


def make(channels: tuple[int, ...], seed: int = 0, **sizes: int) -> Generator:
    torch.manual_seed(seed)
    generator = Generator(GeneratorConfig(img_resolution=2 ** (len(channels) + 1), channels=channels,
                                          **{"mapping_layers": 2, **sizes}))  # type: ignore[arg-type]
    for name, weight in generator.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, mean=float(name.endswith("affine.bias")), std=0.2)
    torch.nn.init.normal_(generator.mapping.w_avg)
    return generator.requires_grad_(False)


def z() -> Tensor:
    return torch.randn(3, 512, generator=torch.Generator().manual_seed(5))


def test_a_wider_and_larger_generator_draws_the_same_pictures_enlarged() -> None:
    small, large = make((8, 8, 6, 4)), make((8, 8, 8, 8, 4, 2), seed=1)
    done = transfer(small, large)
    expected = small(z(), noise_mode="none")
    for _ in range(2):
        expected = upsample(expected, fir_filter())
    assert torch.allclose(large(z(), noise_mode="none"), expected, atol=1e-5)
    assert torch.allclose(large(z(), noise_mode="none", truncation=0.5).mean(),
                          small(z(), noise_mode="none", truncation=0.5).mean(), atol=1e-2)
    assert "synthesis.b4.conv1.weight" in done.copied
    assert "synthesis.b16.conv0.weight" in done.widened
    assert "synthesis.b128.conv0.weight" in done.new
    assert set(done.copied) | set(done.widened) | set(done.new) == set(large.state_dict())
    new, widened, copied = done.describe().split("; ")
    assert new.startswith("new: ")
    assert new.endswith("(b64, b128)")
    assert widened.endswith("(b16, b32)")
    assert copied.endswith("(mapping, b4, b8)")


def test_the_same_sizes_are_copied_bit_for_bit() -> None:
    source, target = make((8, 8, 6, 4)), make((8, 8, 6, 4), seed=1)
    done = transfer(source, target)
    assert done.widened == done.new == ()
    assert torch.equal(source(z()), target(z()))


def test_the_lower_resolutions_of_a_larger_generator_can_be_taken() -> None:
    source, target = make((8, 8, 6, 4, 4)), make((8, 8, 6, 4), seed=1)
    assert transfer(source, target).new == ()
    assert torch.equal(target.synthesis.b32.conv1.weight, source.synthesis.b32.conv1.weight)


def test_what_is_new_learns_from_the_first_step() -> None:
    large = make((8, 8, 8, 8, 4), seed=1)
    transfer(make((8, 8, 6, 4)), large)
    large.requires_grad_(True)
    large(z(), noise_mode="none").square().sum().backward()
    gradients = {name: weight.grad for name, weight in large.named_parameters()}
    assert gradients["synthesis.b64.torgb.weight"].abs().max() > 0
    new_inputs = gradients["synthesis.b32.conv0.weight"][:4, 6:]  # Of old maps, from new ones.
    assert new_inputs.abs().min() > 0
    torch.optim.SGD(large.parameters(), 1e-3).step()
    large.zero_grad()
    large(z(), noise_mode="none").square().sum().backward()
    assert large.synthesis.b64.conv0.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("channels", "sizes", "message"), [
    ((8, 8, 4, 4), {}, "6 channels at 16 pixels"), ((8, 8, 6, 4), {"mapping_layers": 3}, "mapping_layers is 2"),
    ((8, 8, 6, 4), {"w_dim": 16}, "w_dim is 512"),
])
def test_what_cannot_be_taken_over_is_refused(channels: tuple[int, ...], sizes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        transfer(make((8, 8, 6, 4)), make(channels, **sizes), "old.safetensors")


def test_a_training_run_starts_from_a_generator() -> None:
    source = make((8, 8, 6, 4))
    settings = Settings(resolution=64, channel_base=128, channel_max=8, mapping_layers=2, batch=4, start=source.hash)
    pixels = torch.randint(0, 256, [6, 3, 64, 64], dtype=torch.uint8)
    trainer = Trainer(settings, pixels, start=source)
    assert trainer.taken is not None
    assert trainer.settings.config.channels == (8, 8, 8, 4, 2)
    [pictures] = trainer.pictures(range(4))
    expected = upsample(source(source.draw_z(range(4)), noise_mode="none"), fir_filter())
    assert torch.allclose(pictures, expected, atol=1e-5)
