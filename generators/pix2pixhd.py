"""pix2pixHD: pictures of label maps. It has no latent at all; what can be moved is its weights.

Wang, Liu, Zhu, Tao, Kautz and Catanzaro, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional
GANs" (2018): the global generator, and the local enhancer around it (figure 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Literal, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generators.base import Generator, MissingPart, NoiseMode
from generators.shifts import WeightShift
from generators.spaces import Space
from generators.stylegan2_layers import FrozenCache
from weights.errors import InputError

CLASSES = 35   # Of label maps: the numbers of Cityscapes, 0 to 34.
WIDTH = 2048   # Of the published model's pictures, in pixels; others are drawn as well.
EPSILON = 1e-5  # Of the variances that features are divided by.
REMEDY = "it draws label maps: `gradctrl street MAP.png`"

How = Literal["reflect", "down", "up"]


@dataclass(frozen=True, kw_only=True)
class Pix2PixHDConfig:
    """Sizes of a pix2pixHD generator."""

    architecture: ClassVar[str] = "pix2pixhd"
    channels: int          # Feature maps of the global generator's first layer; 64.
    downsamplings: int     # How often it halves the side, the maps doubling; 4.
    blocks: int            # Its residual blocks; 9.
    enhancer_blocks: int   # Those of the local enhancer, which works at twice the side; 0: there is none.
    edges: bool = True     # Whether it reads the edges of instances, beside the classes.

    def __post_init__(self) -> None:
        if not 1 <= self.downsamplings <= 6 or min(self.channels, self.blocks) < 1 or self.enhancer_blocks < 0:
            raise ValueError(f"no generator is of such sizes: {self}")
        if self.enhancer_blocks and self.channels % 2:
            raise ValueError(f"the local enhancer has half as many maps, and {self.channels} cannot be halved")

    @property
    def inputs(self) -> int:
        """Channels that the first layer reads."""
        return CLASSES + self.edges

    @property
    def multiple(self) -> int:
        """Width and height of label maps are multiples of this."""
        return int(2 ** (self.downsamplings + bool(self.enhancer_blocks)))


class Convolution(nn.Module):
    """A convolution, which keeps, halves or doubles the side; of all but the last the features are normalised then.

    Normalisation takes away the mean, so that a bias before it would do nothing: the last one alone has one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, how: How = "reflect") -> None:
        super().__init__()
        self.how = how
        self.by_pixels = how == "up" or (kernel > 3 and inputs < outputs)  # Where that is quicker on processors.
        self.weight = nn.Parameter(torch.normal(0.0, 1 / (kernel * sqrt(inputs)), [outputs, inputs, kernel, kernel]))
        self.shift: WeightShift | None = None
        self._cast = FrozenCache()

    def forward(self, x: Tensor) -> Tensor:  # [N, I, H, W] -> [N, O, ...]
        if self.by_pixels:
            x = x.contiguous(memory_format=torch.channels_last)
        if self.how == "reflect":
            x = F.pad(x, [self.weight.shape[-1] // 2] * 4, mode="reflect")
        x = (self._conv(x, self._cast.get(self.weight, x.dtype, lambda weight: weight.to(x.dtype)))
             if self.shift is None else self.shift.conv(self._conv, x, self.weight))
        return by_maps(x) if self.by_pixels else x

    def _conv(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.how == "up":
            return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1, output_padding=1)
        return F.conv2d(x, weight, stride=1 if self.how == "reflect" else 2, padding=int(self.how == "down"))


def by_maps(x: Tensor) -> Tensor:
    """Features [N, C, H, W] whose pixels follow each other in memory, laid out map by map, as they are normalised.

    PyTorch copies a transposed matrix by blocks, in a third of the time that `contiguous` takes.
    """
    maps = [pixels.T.contiguous() for pixels in x.permute(0, 2, 3, 1).flatten(1, 2)]
    return (maps[0] if len(maps) == 1 else torch.stack(maps)).view(x.shape)


def normalised(x: Tensor) -> Tensor:
    """Each map [N, C, H, W] at mean 0 and deviation 1 (instance normalisation)."""
    return F.instance_norm(x, eps=EPSILON)


def activated(x: Tensor) -> Tensor:
    """The same, and what is below 0 cut off."""
    return F.relu_(normalised(x))


class Residual(nn.Module):
    """Two convolutions, to whose result what went in is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0, self.conv1 = Convolution(channels, channels, 3), Convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + normalised(self.conv1(activated(self.conv0(x))))


def _encoder(inputs: int, channels: int, downsamplings: int) -> Iterator[tuple[str, nn.Module]]:
    yield "first", Convolution(inputs, channels, 7)
    for index in range(downsamplings):
        yield f"down{index}", Convolution(channels << index, channels << index + 1, 3, "down")


def _decoder(channels: int, blocks: int, upsamplings: int) -> Iterator[tuple[str, nn.Module]]:
    for index in range(blocks):
        yield f"b{index}", Residual(channels << upsamplings)
    for index in range(upsamplings):
        wide = channels << upsamplings - index
        yield f"up{index}", Convolution(wide, wide // 2, 3, "up")


class Part(nn.Module):
    """Layers one after another."""

    def __init__(self, layers: Iterator[tuple[str, nn.Module]]) -> None:
        super().__init__()
        for name, layer in layers:
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x) if isinstance(layer, Residual) else activated(layer(x))
        return x


class Translator(nn.Module):
    """Classes and edges to a picture: `coarse`, between the two parts of the local enhancer if there is one."""

    def __init__(self, config: Pix2PixHDConfig) -> None:
        super().__init__()
        of, fine = config.channels, config.channels // 2
        self.coarse = nn.ModuleDict({"encoder": Part(_encoder(config.inputs, of, config.downsamplings)),
                                     "decoder": Part(_decoder(of, config.blocks, config.downsamplings))})
        self.fine = nn.ModuleDict({"encoder": Part(_encoder(config.inputs, fine, 1)),
                                   "decoder": Part(_decoder(fine, config.enhancer_blocks, 1))}
                                  if config.enhancer_blocks else {})
        self.last = Convolution(fine if config.enhancer_blocks else of, 3, 7)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        if not self.fine:
            features = self.coarse["decoder"](self.coarse["encoder"](x))
        else:
            smaller = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            features = self.fine["encoder"](x) + self.coarse["decoder"](self.coarse["encoder"](smaller))
            features = self.fine["decoder"](features)
        drawn: Tensor = self.last(features)
        return torch.tanh(drawn + self.bias.to(drawn.dtype)[:, None, None])


class Pix2PixHD(Generator):
    """A pix2pixHD generator of streets, frozen once it is loaded (`generators.load`).

    `render` takes label maps in place of latents (`generators.read_label_maps`) and draws pictures of their size. It
    has no z, no W and no styles: its convolutions' weights can be moved (`shifted`), and nothing else.
    """

    architecture = Pix2PixHDConfig.architecture
    memory_format = torch.contiguous_format
    no_photos = "it draws label maps, and has no latent that could be found"
    config: Pix2PixHDConfig

    def __init__(self, config: Pix2PixHDConfig) -> None:
        super().__init__(img_resolution=WIDTH, sides=(WIDTH,))
        self.config = config
        self.mapping = MissingPart("latent", REMEDY)
        self.synthesis = Translator(config)

    def _refuse(self, part: str) -> NoReturn:
        raise InputError(None, f"this generator has no {part}", REMEDY)

    def render(self, latent: Tensor, side: int | None = None, *, noise_mode: NoiseMode = "const",
               style_change: Tensor | None = None) -> Tensor:
        """Render label maps [N, 2, H, W] as pictures [N, 3, H, W] in [-1, 1].

        Args:
            latent: Numbers of classes from 0 to 34, and 1 at the edges of instances, else 0.
            side: Pictures are of the maps' size, whatever it is.
            noise_mode: There is no noise, and so nothing changes.
            style_change: None.
        Raises:
            ValueError: another shape.
            InputError: numbers that are no classes, a size that cannot be halved so often, or styles.
        """
        if style_change is not None:
            self._refuse("styles")
        if latent.ndim != 4 or latent.shape[1] != 2:
            raise ValueError(f"label maps must be [N, 2, H, W], not {list(latent.shape)}")
        self.check_size(*latent.shape[2:])
        if latent[:, 0].min() < 0 or latent[:, 0].max() >= CLASSES:
            raise InputError(None, "the label map has numbers that are no classes", f"use 0 to {CLASSES - 1}")
        x = torch.zeros(len(latent), self.config.inputs, *latent.shape[2:], device=latent.device,
                        dtype=self.compute_dtype or self.dtype)
        x.scatter_(1, latent[:, :1].long(), 1.0)  # One channel for each class.
        if self.config.edges:
            x[:, CLASSES] = latent[:, 1].to(x.dtype)
        picture: Tensor = self.synthesis(x)
        return picture.to(self.dtype)

    def _draw(self, ws: Tensor, side: int, noise_mode: NoiseMode, style_change: Tensor | None) -> Tensor:
        self._refuse("latent")

    def check_size(self, height: int, width: int) -> None:
        """Refuse label maps that cannot be halved as often as the generator does.

        Raises:
            InputError: the message has the nearest size.
        """
        multiple = self.config.multiple
        if height % multiple or width % multiple or min(height, width) < 2 * multiple:
            fitting = [max(2, round(each / multiple)) * multiple for each in (width, height)]
            raise InputError(None, f"the label map has {width} x {height} pixels, which this generator cannot halve "
                             f"often enough", f"make it {fitting[0]} x {fitting[1]}, without smoothing")

    def memory(self, height: int, width: int) -> int:
        """About how many bytes drawing a label map takes at most, beside the weights, in single precision.

        Measured: at a time there are two of what the first layer reads, and three of what it makes, at the whole side.
        """
        return 4 * height * width * (2 * self.config.inputs + 3 * self.synthesis.last.weight.shape[1])

    def convolutions(self) -> dict[str, str]:
        return {name.removeprefix("synthesis."): f"{name}.weight" for name, module in self.named_modules()
                if isinstance(module, Convolution)}

    @property
    def spaces(self) -> dict[str, Space]:
        """None: there are no latents."""
        return {}
