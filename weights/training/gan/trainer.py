"""The training itself: one object that holds everything that learns, and makes one step at a time.

Karras et al. 2020 ("Analyzing and Improving ..." and "Limited Data"). A step is: the generator's loss, now and then
path lengths, the discriminator's loss, now and then R1; then the mean generator follows. What is done only now and
then is weighted by how seldom, and Adam's constants are those of the longer cycle ("lazy regularisation", appendix B).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from stylegan2 import from_bytes
from stylegan2.network import Generator
from weights.errors import InputError
from weights.training.gan import losses
from weights.training.gan.augment import Adaptive, augment, flip_some
from weights.training.gan.average import decay, follow
from weights.training.gan.chance import Order
from weights.training.gan.chance import generator as random_generator
from weights.training.gan.discriminator import Discriminator
from weights.training.gan.pictures import pixels_hash
from weights.training.gan.settings import Settings
from weights.training.gan.state import Saved, adam_squares, load_into, restore_adam
from weights.training.gan.synthesis import draw_noise, render
from weights.training.gan.transfer import Transfer, transfer
from weights.training.gan.ways import WAYS, Way

BETAS = (0.0, 0.99)      # Of Adam (Karras et al. 2020, appendix B).
W_AVG_DECAY = 0.995      # Of the running mean of w, a step.
ADAPT_EVERY = 4          # Steps between two moves of the augmentation's p.
RESCUE = ("go on from the last checkpoint, and if it happens again, begin anew with a lower --lr or a higher --gamma, "
          "or --precision float32")
LARGEST_GRADIENT = 1e5   # What an infinite one is replaced by, in half precision.


class Statistics:
    """Sums of numbers that stay on the device until somebody asks for their means."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}

    def note(self, **numbers: Tensor) -> None:
        for name, value in numbers.items():
            total, count = self._sums.get(name, (torch.zeros([], device=value.device), 0))
            self._sums[name] = total + value.detach().float().mean(), count + 1

    def take(self) -> dict[str, float]:
        """The means since the last time."""
        means = {name: float(total / count) for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means


class Trainer:
    """Trains a generator on pictures.

    Attributes:
        generator, discriminator: What learns.
        average: The running mean of the generator's weights, which is what is kept.
        steps, seen: Steps made, and real pictures shown in them.
        path_mean: Running mean of path lengths; None: not measured yet.
        taken: What was taken over from another generator; None: nothing.
    """

    def __init__(self, settings: Settings, pixels: Tensor, *, device: torch.device | str = "cpu",
                 start: Generator | None = None) -> None:
        """Begin a run.

        Args:
            settings: What defines it.
            pixels: The pictures, uint8 [M, 3, resolution, resolution]; kept where they are.
            device: Where to compute.
            start: A generator whose weights to begin with.
        Raises:
            InputError: the pictures or the generator to start from do not fit the settings.
        """
        if pixels.dtype != torch.uint8 or pixels.shape[1:] != (3, settings.resolution, settings.resolution):
            raise ValueError(f"pixels must be uint8 [M, 3, {settings.resolution}, {settings.resolution}], "
                             f"not {pixels.dtype} {list(pixels.shape)}")
        if len(pixels) < 2:
            raise InputError("one picture is too few to learn from; some hundreds are needed, thousands are better")
        self.settings, self.pixels = settings, pixels
        self.pixels_hash = pixels_hash(pixels.cpu())
        self.device = torch.device(device)
        self.statistics = Statistics()
        self.steps = self.seen = 0
        self.path_mean: Tensor | None = None
        self.taken: Transfer | None = None
        self._numbers = settings.numbers
        self._build(start)
        self.order = Order(len(pixels), settings.seed)
        self.adaptive = Adaptive(self.device, target=settings.augment_target, kimg=settings.augment_kimg,
                                 fixed=None if settings.augment_p < 0 else settings.augment_p)
        self._adam_steps = {"generator": 0, "discriminator": 0}
        self._adams = {"generator": self._adam(self.generator, settings.path_every),
                       "discriminator": self._adam(self.discriminator, settings.r1_every)}
        self.way = WAYS["plain"]

    def _build(self, start: Generator | None) -> None:
        config = self.settings.config
        with torch.random.fork_rng(devices=[]):  # Modules draw their first weights from the global generator.
            torch.manual_seed(self.settings.seed)
            self.generator = Generator(config)
            self.discriminator = Discriminator(config, self._numbers)
        for name, buffer in self.generator.named_buffers():
            if name.endswith("noise_const") and self.settings.noise == "none":
                buffer.zero_()  # Never used: the noise strengths stay 0.
        if start is not None:
            self.taken = transfer(start, self.generator)
        self.average = Generator(config)
        self.average.load_state_dict(self.generator.state_dict())
        for module in (self.generator, self.discriminator, self.average):
            module.to(self.device).to(memory_format=torch.channels_last)
        self.average.requires_grad_(False).eval()

    def _adam(self, module: nn.Module, every: int) -> torch.optim.Adam:
        """Adam for a network that is regularised every so many steps; 0: never."""
        share = every / (every + 1) if every else 1.0
        return torch.optim.Adam(module.parameters(), lr=self.settings.lr * share,
                                betas=(BETAS[0] ** share, BETAS[1] ** share), eps=1e-8)

    # The way to compute.

    @property
    def way(self) -> Way:
        """How steps are computed; setting it compiles, where it says so."""
        return self._way

    @way.setter
    def way(self, way: Way) -> None:
        self._way = way
        self._plain_render = partial(render, self.generator.synthesis, precision=self._numbers, filters=way.filters)
        self._plain_judge = partial(self.discriminator, filters=way.filters)
        self._render: Callable[..., Tensor] = self._plain_render
        self._judge: Callable[..., Tensor] = self._plain_judge
        if way.compiled is not None:
            torch.compiler.reset()
            self._render = self._compiled(self._plain_render, way.compiled)
            self._judge = self._compiled(self._plain_judge, way.compiled)

    @staticmethod
    def _compiled(function: Callable[..., Tensor], mode: str) -> Callable[..., Tensor]:
        def plain(*arguments: Tensor, **named: Sequence[Tensor] | None) -> Tensor:  # A partial cannot be compiled.
            return function(*arguments, **named)

        compiled = torch.compile(plain, mode=mode, dynamic=False)
        # What CUDA graphs return is overwritten by their next replay.
        return lambda *arguments, **named: compiled(*arguments, **named).clone()

    # Random things; all depend on the step alone.

    def _chance(self, purpose: str) -> torch.Generator:
        return random_generator(self.device, purpose, self.settings.seed, self.steps)

    def _latents(self, purpose: str, count: int) -> tuple[Tensor, Tensor]:
        """New w+ [count, num_ws, w_dim] with mixed styles, and the first w's [count, w_dim].

        With probability `mixing`, a second w takes the rows from some place on (Karras et al. 2019, section 3.1).
        """
        chance = self._chance(purpose)
        generator, rows = self.generator, self.generator.num_ws
        z = torch.randn(2, count, generator.config.z_dim, generator=chance, device=self.device)
        w = generator.mapping(z[0])
        ws = w[:, None].expand(-1, rows, -1)
        if self.settings.mixing > 0:
            cut = torch.randint(1, rows, [count], generator=chance, device=self.device)
            mixed = torch.rand(count, generator=chance, device=self.device) < self.settings.mixing
            second = mixed[:, None] & (torch.arange(rows, device=self.device) >= cut[:, None])
            ws = torch.where(second[:, :, None], generator.mapping(z[1])[:, None], ws)
        return ws, w

    def _noise(self, purpose: str, count: int) -> list[Tensor] | None:
        if self.settings.noise == "none":
            return None
        return draw_noise(self.settings.config, count, self._chance(f"{purpose} noise"))

    def _augmented(self, purpose: str, pictures: Tensor) -> Tensor:
        return augment(pictures, self.adaptive.p, self._chance(f"{purpose} augment"))

    def peek(self) -> Tensor:
        """The real pictures of the next step, [batch, 3, R, R] in [-1, 1], without counting them as drawn."""
        order = Order(self.order.count, self.order.seed, drawn=self.order.drawn)
        return self._real(order)

    def _real(self, order: Order) -> Tensor:
        index = order.next(self.settings.batch)
        pictures = from_bytes(self.pixels[index.to(self.pixels.device)].to(self.device))
        return flip_some(pictures, self.settings.seed, self.steps) if self.settings.flips else pictures

    # Gradients. Each of these leaves those of one network in its parameters' grad, and changes nothing else.

    def _turn(self, learning: nn.Module) -> None:
        """Let one network learn, and forget its gradients; the other one is only passed through."""
        torch.compiler.cudagraph_mark_step_begin()
        for module in (self.generator, self.discriminator):
            module.requires_grad_(module is learning)
        for weight in learning.parameters():
            if weight.grad is not None:
                weight.grad.zero_()  # In place: CUDA graphs must not own what is added up over two of them.

    def generator_gradients(self) -> Tensor:
        """Of the generator's loss; returns the mean of the w's [w_dim]."""
        self._turn(self.generator)
        ws, w = self._latents("generator", self.settings.batch)
        fake = self._render(ws, noise=self._noise("generator", len(ws)))
        logits = self._judge(self._augmented("generator", fake))
        loss = losses.loss_as_real(logits)
        loss.backward()
        self.statistics.note(loss_g=loss)
        return w.detach().mean(0)

    def path_gradients(self) -> Tensor:
        """Of path-length regularisation, on half as many pictures; returns the new mean of path lengths []."""
        self._turn(self.generator)
        count = max(self.settings.batch // 2, 1)
        ws, _ = self._latents("path", count)
        side = self.settings.resolution
        y = torch.randn(count, 3, side, side, generator=self._chance("path direction"), device=self.device)
        noise = self._noise("path", count)
        lengths = losses.path_lengths(lambda ws: self._plain_render(ws, noise=noise), ws, y)
        penalty, mean = losses.path_penalty(lengths, self.path_mean)
        (penalty * (self.settings.path_weight * self.settings.path_every)).backward()
        self.statistics.note(path_penalty=penalty, path_length=lengths)
        return mean

    def discriminator_gradients(self, real: Tensor) -> Tensor:
        """Of the discriminator's loss; returns its logits of the real pictures [batch]."""
        self._turn(self.discriminator)
        with torch.no_grad():
            ws, _ = self._latents("discriminator", self.settings.batch)
            fake = self._augmented("fake", self._render(ws, noise=self._noise("discriminator", len(ws))))
            real = self._augmented("real", real)
        fake_logits = self._judge(fake)  # One after the other: a group of pictures is all real or all fake.
        fake_loss = losses.loss_as_fake(fake_logits)
        fake_loss.backward()
        real_logits = self._judge(real)
        real_loss = losses.loss_as_real(real_logits)
        real_loss.backward()
        self.statistics.note(loss_d=(fake_loss + real_loss), fake_logits=fake_logits, real_logits=real_logits)
        return real_logits.detach()

    def r1_gradients(self, real: Tensor) -> None:
        """Of the R1 penalty, at real pictures."""
        self._turn(self.discriminator)
        with torch.no_grad():
            real = self._augmented("r1", real)
        penalty, _ = losses.r1_penalty(self._plain_judge, real)
        (penalty * (self.settings.r1_weight / 2 * self.settings.r1_every)).backward()
        self.statistics.note(r1=penalty)

    # Steps.

    def step(self) -> None:
        """Make one step: everything that learns moves once, on `batch` real pictures."""
        settings = self.settings
        if not self.warming:
            mean_w = self.generator_gradients()
            self._move("generator", self.generator)
            w_avg = self.generator.mapping.w_avg
            w_avg.copy_(mean_w.lerp(w_avg, W_AVG_DECAY))
            if settings.path_every and self.steps % settings.path_every == 0:
                self.path_mean = self.path_gradients()
                self._move("generator", self.generator)
        real = self._real(self.order)
        logits = self.discriminator_gradients(real)
        self._move("discriminator", self.discriminator)
        if self.steps % settings.r1_every == 0:
            self.r1_gradients(real)
            self._move("discriminator", self.discriminator)
        if not self.warming:
            self.adaptive.note(logits)
            follow(self.average, self.generator,
                   decay(settings.batch, self.seen, kimg=settings.ema_kimg, rampup=settings.ema_rampup))
        self.steps += 1
        self.seen += settings.batch
        if self.steps % ADAPT_EVERY == 0 and self.adaptive.count:
            self.statistics.note(r_t=self.adaptive.move())

    @property
    def warming(self) -> bool:
        """Whether the discriminator still learns alone, so as not to spoil a generator that knows something."""
        return self.seen < self.settings.warmup_kimg * 1000

    def _move(self, name: str, module: nn.Module) -> None:
        if self._numbers.half is not None:
            for weight in module.parameters():
                if weight.grad is not None:
                    torch.nan_to_num(weight.grad, nan=0.0, posinf=LARGEST_GRADIENT, neginf=-LARGEST_GRADIENT,
                                     out=weight.grad)
        self._adams[name].step()
        self._adam_steps[name] += 1

    def numbers(self) -> dict[str, float]:
        """Means of what was noted since the last call, and where the run stands.

        Raises:
            InputError: the losses are no numbers any more.
        """
        means = self.statistics.take()
        result = {"steps": float(self.steps), "kimg": self.seen / 1000, **means, "p": float(self.adaptive.p)}
        if not all(abs(value) < float("inf") for value in result.values()):
            raise InputError(f"the losses are not finite any more ({means}); {RESCUE}")
        return result

    # What comes out.

    @torch.no_grad()
    def pictures(self, seeds: Sequence[int], batch: int = 32) -> Iterator[Tensor]:
        """Pictures of the mean generator, one batch after another: [batch, 3, R, R], about [-1, 1]."""
        for begin in range(0, len(seeds), batch):
            w = self.average.mapping(self.average.draw_z(seeds[begin:begin + batch]))
            yield render(self.average.synthesis, self.average.broadcast(w), precision=self._numbers)

    def saved(self) -> Saved:
        """Everything that is needed to go on, bit for bit on the same machine.

        Raises:
            InputError: some weight is not finite any more, so that there is no going on from here.
        """
        for part, module in self._modules().items():
            if not all(bool(weight.isfinite().all()) for weight in module.parameters()):
                raise InputError(f"the {part}'s weights are not finite any more; {RESCUE}")
        tensors: dict[str, Tensor] = {"p": self.adaptive.p, "signs": self.adaptive.signs}
        if self.path_mean is not None:
            tensors["path_mean"] = self.path_mean
        for name, module in self._modules().items():
            tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, adam in self._adams.items():
            squares = adam_squares(adam, getattr(self, name))
            tensors |= {f"{name}-adam.{key}": value for key, value in squares.items()}
        counters: dict[str, float] = {
            "steps": self.steps, "seen": self.seen, "drawn": self.order.drawn, "noted": self.adaptive.count,
            **{f"{name}-adam": count for name, count in self._adam_steps.items()}}
        return Saved(self.settings, tensors, counters, self.pixels_hash)

    def restore(self, saved: Saved, name: str = "checkpoint") -> None:
        """Go on from what `saved` gave.

        Raises:
            InputError: other pictures, or it does not fit its own settings.
        """
        if saved.pictures != self.pixels_hash:
            raise InputError(f"{name}: this run began with other pictures; give the same folder, unchanged, or begin a "
                             "new run in another folder")
        for part, module in self._modules().items():
            load_into(name, module, saved.part(part))
        try:
            for part, adam in self._adams.items():
                self._adam_steps[part] = int(saved.counters[f"{part}-adam"])
                restore_adam(adam, getattr(self, part), saved.part(f"{part}-adam"), self._adam_steps[part])
            self.steps, self.seen = int(saved.counters["steps"]), int(saved.counters["seen"])
            self.order.drawn, self.adaptive.count = int(saved.counters["drawn"]), int(saved.counters["noted"])
            self.adaptive.p = saved.tensors["p"].to(self.device)
            self.adaptive.signs = saved.tensors["signs"].to(self.device)
        except KeyError as error:
            raise InputError(f"{name}: {error} is missing; begin the run anew in another folder") from error
        mean = saved.tensors.get("path_mean")
        self.path_mean = None if mean is None else mean.to(self.device)

    def _modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}
