"""The run as a whole, at 32 pixels on the CPU: it steps, it goes on bit for bit, it refuses other settings."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

import stylegan2
from stylegan2.readers import write
from weights.errors import InputError
from weights.training.gan.__main__ import main
from weights.training.gan.average import decay, follow
from weights.training.gan.pack import main as pack_main
from weights.training.gan.pack import pack, unpack
from weights.training.gan.report import Log, write_sheet
from weights.training.gan.run import CHECKPOINT, GENERATOR
from weights.training.gan.settings import Settings, continued, from_json
from weights.training.gan.state import read_state, write_state
from weights.training.gan.trainer import Trainer
from weights.training.gan.ways import WAYS, probe

ROOT = Path(__file__).parents[3]
SMALL: dict[str, Any] = {
    "resolution": 32, "channel_base": 128, "channel_max": 8, "mapping_layers": 2, "batch": 4, "r1_every": 3,
    "path_every": 2, "augment_kimg": 0.1, "augment_target": -1.0, "ema_kimg": 0.05,
}
OPTIONS = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
OPTIONS += ["--device", "cpu", "--measure-every", "0"]


def pixels(count: int = 10) -> Tensor:
    return torch.randint(0, 256, [count, 3, 32, 32], dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def trainer(**changes: Any) -> Trainer:
    return Trainer(Settings(**{**SMALL, **changes}), pixels())


def steps(trainer: Trainer, count: int) -> Trainer:
    for _ in range(count):
        trainer.step()
    return trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, [32, 32, 3], np.uint8)).save(path / f"{index}.png")
    return path


# A step.

def test_a_step_moves_everything_that_learns() -> None:
    run = trainer()
    before = {name: value.clone() for name, value in run.saved().tensors.items()}
    steps(run, 1)
    after = run.saved().tensors
    still = {name for name, value in before.items() if torch.equal(value, after[name])}
    fixed = ("noise_const", "noise_strength", "resample_filter")
    assert [name for name in still if not name.endswith((*fixed, "p", "signs"))] == []
    assert (run.steps, run.seen) == (1, 4)


@pytest.mark.parametrize("changes", [
    {}, {"noise": "random", "mixing": 0.0}, {"path_every": 0, "augment_p": 0.5, "flips": False},
    {"precision": "bfloat16"},
])
def test_a_run_that_was_cut_goes_on_bit_for_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    whole = steps(trainer(**changes), 9).saved()
    first = steps(trainer(**changes), 5)
    write_state(tmp_path / "checkpoint.safetensors", first.saved())
    second = trainer(**changes)
    second.restore(read_state(tmp_path / "checkpoint.safetensors"))
    torch.randn(3)  # What else draws from the global generator does not matter.
    resumed = steps(second, 4).saved()
    assert resumed.counters == whole.counters
    assert resumed.tensors.keys() == whole.tensors.keys()
    assert [name for name, value in whole.tensors.items() if not torch.equal(value, resumed.tensors[name])] == []
    assert float(whole.tensors["p"]) > 0


def test_other_seeds_give_other_runs() -> None:
    first, second = steps(trainer(), 1).saved().tensors, steps(trainer(seed=1), 1).saved().tensors
    name = "generator.synthesis.b32.conv1.weight"
    assert not torch.equal(first[name], second[name])


def test_measuring_and_drawing_samples_do_not_change_the_run() -> None:
    plain, watched = trainer(), trainer()
    for _ in range(3):
        plain.step()
        watched.step()
        list(watched.pictures(range(3)))
        watched.numbers()
    probe(watched, compilers=False, repeats=1)
    watched.way = WAYS["plain"]
    expected = steps(plain, 2).saved().tensors
    result = steps(watched, 2).saved().tensors
    assert all(torch.equal(value, result[name]) for name, value in expected.items())


@pytest.mark.slow
def test_it_learns_the_colour_of_its_pictures() -> None:
    settings = Settings(**{**SMALL, "batch": 8, "lr": 0.01, "augment_p": 0.0, "path_every": 0, "r1_every": 16})
    flat = torch.tensor([200, 60, 30], dtype=torch.uint8)[None, :, None, None].expand(8, 3, 32, 32)
    run = Trainer(settings, (flat.float() + torch.randn(8, 3, 32, 32) * 5).clamp(0, 255).to(torch.uint8))
    wanted = run.pixels.float().mean(dim=[0, 2, 3]) / 127.5 - 1

    def distance() -> float:
        return float((torch.cat(list(run.pictures(range(16)))).mean(dim=[0, 2, 3]) - wanted).abs().mean())

    before = distance()
    steps(run, 50)
    assert distance() < 0.8 * before


def test_while_it_warms_up_only_the_discriminator_learns() -> None:
    run = trainer(warmup_kimg=0.008)
    before = {name: value.clone() for name, value in run.saved().tensors.items()}
    steps(run, 2)
    after = run.saved().tensors
    assert all(torch.equal(value, after[name]) for name, value in before.items()
               if name.startswith(("generator.", "average.")))
    assert not torch.equal(before["discriminator.out.weight"], after["discriminator.out.weight"])
    assert float(run.adaptive.p) == 0
    steps(run, 1)
    assert not torch.equal(before["generator.synthesis.b4.const"], run.generator.state_dict()["synthesis.b4.const"])


def test_the_numbers_are_means_since_the_last_time() -> None:
    run = steps(trainer(), 4)
    numbers = run.numbers()
    assert numbers["kimg"] == 0.016
    assert {"loss_g", "loss_d", "r1", "path_length", "r_t", "p"} <= numbers.keys()
    assert "loss_g" not in run.numbers()
    with torch.no_grad():
        run.discriminator.out.bias.fill_(float("nan"))
    run.step()
    with pytest.raises(InputError, match="not finite"):
        run.numbers()
    with pytest.raises(InputError, match="not finite"):
        run.saved()


def test_what_regularisation_weighs_and_how_adam_is_corrected_for_it() -> None:
    run = trainer()
    for name, share in (("generator", 2 / 3), ("discriminator", 3 / 4)):
        group = run._adams[name].param_groups[0]
        assert group["lr"] == pytest.approx(0.0025 * share)
        assert group["betas"] == (0.0, pytest.approx(0.99 ** share))
    assert run.settings.r1_weight == pytest.approx(0.0002 * 1024 / 4)
    assert trainer(gamma=3.0).settings.r1_weight == 3


def test_r1_and_the_loss_add_up_to_one_objective() -> None:
    """The gradient that is taken now and then is `every` times that of gamma / 2 |dD/dx|^2, taken by hand."""
    run = trainer(augment_p=0.0, gamma=5.0)
    real = run.peek()
    run.r1_gradients(real)
    got = run.discriminator.b32.conv0.weight.grad.clone()
    real = real.requires_grad_(True)
    [gradient] = torch.autograd.grad(run.discriminator(real).sum(), [real], create_graph=True)
    loss = 3 * 5.0 / 2 * gradient.square().sum([1, 2, 3]).mean()
    [expected] = torch.autograd.grad(loss, [run.discriminator.b32.conv0.weight])
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_styles_are_mixed_from_some_row_on() -> None:
    run = trainer(mixing=1.0, batch=8)
    ws, w = run._latents("generator", 8)
    assert torch.equal(ws[:, 0], w)
    assert not (ws[:, -1] == w).all(dim=1).any()
    for rows in ws:
        changes = [index for index in range(1, len(rows)) if not torch.equal(rows[index], rows[index - 1])]
        assert len(changes) == 1
    ws, w = trainer(mixing=0.0)._latents("generator", 8)
    assert torch.equal(ws, w[:, None].expand_as(ws))


# The mean generator.

def test_the_mean_forgets_half_in_its_half_life() -> None:
    assert decay(32, 1e9, kimg=10, rampup=0) ** (10_000 / 32) == pytest.approx(0.5)
    assert decay(32, 10_000, kimg=10, rampup=0.05) ** (500 / 32) == pytest.approx(0.5)
    assert decay(32, 0, kimg=10, rampup=0.05) == 0


def test_the_mean_follows_parameters_and_copies_buffers() -> None:
    run = trainer()
    with torch.no_grad():
        for weight in run.average.parameters():
            weight.fill_(1.0)
        for weight in run.generator.parameters():
            weight.fill_(3.0)
    run.generator.mapping.w_avg.fill_(7.0)
    follow(run.average, run.generator, 0.75)
    assert all(torch.allclose(weight, torch.tensor(1.5)) for weight in run.average.parameters())
    assert torch.equal(run.average.mapping.w_avg, run.generator.mapping.w_avg)


# Ways to compute.

def test_the_probe_finds_a_way_and_tells_of_each() -> None:
    run = trainer()
    told: list[str] = []
    way = probe(run, compilers=False, repeats=1, on_finding=lambda finding: told.append(finding.describe(4)))
    assert way.name in ("plain", "fused")
    assert run.way == way
    assert [text.split(":")[0] for text in told] == ["plain", "fused"]
    assert all("pictures/s" in text for text in told)


def test_the_probe_refuses_a_way_that_fails_or_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer()
    original = Trainer.generator_gradients

    def wrong(self: Trainer) -> Tensor:
        result = original(self)
        if self.way.name == "fused":
            for weight in self.generator.parameters():
                if weight.grad is not None:
                    weight.grad.normal_()
        return result

    told: list[str] = []
    monkeypatch.setattr(Trainer, "generator_gradients", wrong)
    assert probe(run, compilers=False, repeats=1, on_finding=lambda each: told.append(each.describe(4))).name == "plain"
    assert "gradients are not those" in told[1]

    def broken(self: Trainer) -> Tensor:
        if self.way.name == "fused":
            raise RuntimeError("no such kernel\nand much more")
        return original(self)

    monkeypatch.setattr(Trainer, "generator_gradients", broken)
    assert probe(run, compilers=False, repeats=1, on_finding=lambda each: told.append(each.describe(4))).name == "plain"
    assert told[-1] == "fused: not used: no such kernel"


@pytest.mark.slow
def test_what_is_compiled_has_no_gaps_and_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def traced(function: Any, *, mode: str, dynamic: bool) -> Any:
        return compiler(function, backend="aot_eager", fullgraph=True, dynamic=dynamic)

    compiler = torch.compile
    monkeypatch.setattr(torch, "compile", traced)
    plain, compiled = trainer(), trainer()
    compiled.way = WAYS["fused-graphs"]
    for run in (plain, compiled):
        steps(run, 1)
    for name in ("generator", "discriminator"):
        for first, second in zip(getattr(plain, name).parameters(), getattr(compiled, name).parameters(), strict=True):
            assert (first.grad is None) == (second.grad is None)
            if first.grad is not None:
                assert torch.allclose(first.grad, second.grad, rtol=1e-2, atol=1e-3)


# Settings and the checkpoint.

@pytest.mark.parametrize(("changes", "message"), [
    ({"resolution": 48}, "--resolution 48"), ({"batch": 0}, "--batch 0"), ({"gamma": -1.0}, "--gamma -1"),
    ({"mixing": 1.5}, "--mixing"), ({"augment_p": 1.2}, "--augment-p"), ({"lr": float("nan")}, "--lr nan"),
    ({"noise": "const"}, "--noise const"), ({"precision": "int8"}, "int8"),
])
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Settings(**{**SMALL, **changes})


def test_settings_come_back_and_others_are_refused_by_name() -> None:
    settings = Settings(**SMALL)
    assert from_json(settings.to_json()) == settings
    assert continued(settings, {"batch": 4, "seed": 0}, "run") == settings
    with pytest.raises(InputError, match=r"run: this run began with --r1-every 3, not 16"):
        continued(settings, {"batch": 4, "r1_every": 16}, "run")
    with pytest.raises(ValueError, match="version"):
        from_json('{"batch": 4}')


def test_the_full_recipe_has_the_sizes_that_are_documented() -> None:
    config = Settings(precision="bfloat16").config
    assert config.channels == (256, 256, 256, 256, 128, 64, 32)
    assert config.conv_clamp == 256
    assert Settings().config.conv_clamp is None


def test_pictures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels must be"):
        Trainer(Settings(**SMALL), torch.zeros(4, 3, 64, 64, dtype=torch.uint8))
    with pytest.raises(InputError, match="too few"):
        Trainer(Settings(**SMALL), pixels(1))
    saved = trainer().saved()
    with pytest.raises(InputError, match="other pictures"):
        Trainer(Settings(**SMALL), pixels(9)).restore(saved)


def test_a_checkpoint_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(InputError, match="no such file"):
        read_state(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not readable as a checkpoint"):
        read_state(path)
    run = trainer()
    saved = run.saved()
    for name in ("p", "average.mapping.w_avg"):
        tensors = {key: value for key, value in saved.tensors.items() if key != name}
        write_state(path, type(saved)(saved.settings, tensors, saved.counters, saved.pictures))
        with pytest.raises(InputError, match=r"missing|Missing"):
            run.restore(read_state(path))
    write(path, run.settings.config, run.average.state_dict())
    with pytest.raises(InputError, match="not a checkpoint of a training run"):
        read_state(path)


# The command.

def test_the_command_trains_reports_and_goes_on_as_if_uncut(folder: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([str(folder), "--out", str(whole), "--kimg", "0.028", *OPTIONS, "--report-every", "0"]) == 0
    assert main([str(folder), "--out", str(cut), "--kimg", "0.012", *OPTIONS]) == 0
    assert main([str(folder), "--out", str(cut), "--kimg", "0.028", *OPTIONS[-4:]]) == 0
    output = capsys.readouterr().out
    assert "6 pictures of 32 pixels on cpu" in output
    assert "going on at 0.0 kimg" in output
    first, second = read_state(whole / CHECKPOINT), read_state(cut / CHECKPOINT)
    assert all(torch.equal(value, second.tensors[name]) for name, value in first.tensors.items())
    assert first.counters == second.counters
    with open(whole / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kimg"] for row in rows] == [f"{0.004 * step:.6g}" for step in range(1, 8)]
    assert float(rows[0]["loss_d"]) > 0
    generator = stylegan2.load(whole / GENERATOR)
    assert generator.resolution == 32
    with Image.open(whole / "samples" / "0000000.0.png") as sheet:
        assert sheet.size == (8 * 32, 4 * 32)


def test_other_settings_are_refused_and_named(folder: Path, tmp_path: Path,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--out", str(tmp_path), "--kimg", "0.004", *OPTIONS]) == 0
    assert main([str(folder), "--out", str(tmp_path), *OPTIONS, "--batch", "8"]) == 1
    assert "--batch 4, not 8" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), "--out", str(tmp_path / "new"), *OPTIONS]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_sigterm_saves_and_ends_well(folder: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "weights.training.gan", str(folder), "--out", str(tmp_path), *OPTIONS]
    process = subprocess.Popen([*words, "--save-every", "1000", "--report-every", "0"], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    for text in process.stdout:
        if " kimg " in text:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "ended (SIGTERM)" in rest
    assert read_state(tmp_path / CHECKPOINT).counters["steps"] > 0


def test_a_run_travels_in_small_parts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, parts, other = tmp_path / "run", tmp_path / "parts", tmp_path / "other"
    words = [str(folder), "--out", str(run), *OPTIONS]
    assert main([*words, "--kimg", "0.008"]) == 0
    pack(run, parts, largest=500_000)
    assert main([*words, "--kimg", "0.016"]) == 0
    written = pack(run, parts, largest=300_000)
    assert len(written) > 2
    assert sorted(path.name for path in parts.iterdir()) == ["log.csv", *sorted(path.name for path in written)]
    assert sum(path.stat().st_size for path in written) < (run / CHECKPOINT).stat().st_size / 2
    assert unpack(parts, other) == 0.016
    before, after = read_state(run / CHECKPOINT), read_state(other / CHECKPOINT)
    assert after.settings == before.settings
    assert after.counters["seen"] == before.counters["seen"]
    for name, value in after.tensors.items():
        assert torch.allclose(value, before.tensors[name], rtol=1e-3, atol=1e-4), name
    assert main([str(folder), "--out", str(other), "--kimg", "0.024", *OPTIONS[-4:]]) == 0
    assert (other / "log.csv").read_text().count("\n") == 4
    assert pack_main(["--unpack", str(parts), str(other)]) == 1
    assert "is there already" in capsys.readouterr().err
    written[1].unlink()
    assert pack_main(["--unpack", str(parts), str(tmp_path / "new")]) == 1
    assert "no complete set" in capsys.readouterr().err


# Reports.

def test_a_sheet_shows_pictures_in_rows(tmp_path: Path) -> None:
    pictures = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 3, 4, 4)
    write_sheet(tmp_path / "sheet.png", [pictures[:3], pictures[3:]], across=3)
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape == (8, 12, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((0, 0), (0, 5), (3, 11), (4, 0), (7, 4), (7, 11))] == [
        0, 64, 128, 191, 255, 255]


def test_the_table_drops_what_a_cut_made_invalid(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv", kimg=0)
    for kimg in (1.0, 2.0, 3.0):
        log.add({"kimg": kimg, "minutes": kimg * 2, "pictures_per_second": 10})
    again = Log(tmp_path / "log.csv", kimg=2)
    assert [row["kimg"] for row in again.rows] == ["1", "2"]
    assert again.minutes == 4
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="not the table"):
        Log(tmp_path / "log.csv", kimg=2)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    write_state(tmp_path / "state.safetensors", trainer().saved())
    with safe_open(tmp_path / "state.safetensors", "pt") as file:
        assert set(file.metadata()) == {"format", "settings", "counters", "pictures"}
