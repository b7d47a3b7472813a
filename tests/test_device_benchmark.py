"""The measurements of a device: what they say is so, and what fails is named and ends nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import device as benchmark
from benchmarks.device import QUICK, Table, main, measure, random_generator, render_rate, seconds_of, step_rate, timed
from benchmarks.device_ways import WAYS, Way, failure, quicker, ways_of
from weights.errors import InputError

CPU = torch.device("cpu")
TINY = (32, 256, 8)


def columns(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_quick_run_measures_every_part_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(benchmark, "QUICK", replace(QUICK, crops=(1,), runs=1, shapes=(("tiny", *TINY),)))
    assert main(["--device", "cpu", "--quick", "--threads", "1", "--out", str(tmp_path / "found.md")]) == 0
    text = (tmp_path / "found.md").read_text()
    assert capsys.readouterr().out == text
    assert "failed" not in text
    for fact in ("date", "commit", "device", "torch"):
        assert f"- {fact}: " in text
    for title in ("Renders, bundled 128x128, pictures a second", "Renders, tiny", "Inversion, bundled 128x128",
                  "Inversion, tiny", "Edits, bundled 128x128, smile 1.5, milliseconds"):
        assert title in text
    rows = [columns(line) for line in text.splitlines() if line.startswith("| ") and "precision" not in line]
    assert all(float(row[2]) > 0 for row in rows)
    assert {row[1] for row in rows} == {"float32", "bfloat16", "float16"}
    assert {row[0] for row in rows} == {"batch 1", "1 crop", "direction that keeps the others", "edited latent",
                                        "slider to picture"}


@pytest.mark.parametrize("error", [RuntimeError("no kernel image\nsecond line"), ImportError("no triton"),
                                   FloatingPointError("draws nothing finite"), torch.OutOfMemoryError("too much")])
def test_what_fails_is_named_below_the_table_and_the_rest_goes_on(error: Exception) -> None:
    table = Table("Renders", "pictures a second", (WAYS["plain"], WAYS["compile"], WAYS["graphs"]))

    def of(way: Way) -> tuple[float, float]:
        if way.name == "compile":
            raise error
        return 12.34, 0.1

    measure(table, "batch 1", "float32", of)
    assert table.rows == [["batch 1", "float32", "12.3", "failed", "12.3"]]
    note = f"batch 1, float32, torch.compile: {type(error).__name__}: {str(error).splitlines()[0]}"
    assert table.failures == [note]
    assert table.markdown().splitlines()[2:] == [
        "| what | precision | plain | torch.compile | CUDA graphs |", "|---|---|---|---|---|",
        "| batch 1 | float32 | 12.3 | failed | 12.3 |", "", f"- {note}"]


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: torch.nn.Module, **_: object) -> None:
        raise torch._dynamo.exc.BackendCompilerFailed(broken, RuntimeError("no compiler here"))

    import torch._dynamo.exc

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    table = Table("Renders", "pictures a second", (WAYS["plain"], WAYS["compile"]))
    generator = random_generator(*TINY, CPU)
    measure(table, "batch 1", "float32", lambda way: render_rate(generator, 1, None, QUICK, way))
    assert float(table.rows[0][2]) > 0
    assert table.rows[0][3] == "failed"
    assert "BackendCompilerFailed" in table.failures[0]


def test_what_is_our_own_fault_is_not_taken_for_a_failure_of_the_device() -> None:
    def of(_: Way) -> tuple[float, float]:
        raise NameError("a slip")

    with pytest.raises(NameError):
        measure(Table("Renders", "pictures a second", (WAYS["plain"],)), "batch 1", "float32", of)


def test_the_time_to_compile_stands_in_brackets() -> None:
    table = Table("Renders", "pictures a second", (WAYS["plain"], WAYS["both"]))
    measure(table, "batch 8", "bfloat16", lambda way: (1234.0, 61.2))
    assert table.rows == [["batch 8", "bfloat16", "1.23e+03", "1.23e+03 (61 s)"]]


def test_times_are_medians_and_the_first_call_is_told_apart() -> None:
    spent = iter([0.05, *[0.0] * 100])
    amount = replace(QUICK, runs=3)
    usual, first = timed(lambda: time.sleep(next(spent)), CPU, amount, time.perf_counter())
    assert first >= 0.05
    assert usual < 0.02
    pace = iter([0.0, 0.03, 0.03, 0.03, 0.0])
    assert seconds_of(lambda: time.sleep(next(pace)), CPU, replace(QUICK, runs=5)) >= 0.03
    calls: list[int] = []
    seconds_of(lambda: (calls.append(1), time.sleep(0.01)), CPU, replace(QUICK, runs=1, seconds=0.035))
    assert 2 <= len(calls) <= 4


def test_pictures_that_are_not_finite_do_not_count() -> None:
    generator = random_generator(*TINY, CPU)
    generator.synthesis.b4.const.data.fill_(1e30)
    with pytest.raises(FloatingPointError, match="finite"):
        render_rate(generator, 1, torch.float16, QUICK, WAYS["plain"])


def test_a_measurement_leaves_the_generator_as_it_was() -> None:
    generator = random_generator(*TINY, CPU)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    rate, _ = render_rate(generator, 2, torch.bfloat16, QUICK, WAYS["plain"])
    steps, first = step_rate(generator, 2, torch.bfloat16, QUICK, WAYS["plain"])
    assert rate > 0
    assert steps > 0
    assert 0 < first < 60
    assert generator.synthesis.compute_dtype is None
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


def test_random_generators_have_the_published_sizes() -> None:
    from benchmarks.device import Amount

    sizes = {title: numbers for title, *numbers in Amount().shapes}
    with torch.device("meta"):
        largest = random_generator(*sizes["FFHQ 1024x1024"], torch.device("meta"))
    assert largest.config.channels == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert largest.num_ws == 18
    assert sum(parameter.numel() for parameter in largest.parameters()) == pytest.approx(30.4e6, rel=0.01)


def test_ways_are_those_that_the_device_can() -> None:
    def names(ways: tuple[Way, ...]) -> list[str]:
        return [way.name for way in ways]

    assert names(ways_of(None, CPU)) == ["plain", "compile"]
    assert names(ways_of(None, torch.device("cuda"))) == ["plain", "compile", "graphs", "both"]
    assert names(ways_of(None, torch.device("cuda"), quick=True)) == ["plain"]
    assert names(ways_of("both,plain", torch.device("cuda"))) == ["plain", "both"]
    with pytest.raises(InputError, match="no CUDA graphs"):
        ways_of("plain,graphs", CPU)
    with pytest.raises(InputError, match="some of plain, compile"):
        ways_of("fast", CPU)


def test_compiling_is_asked_for_with_graphs_only_where_both_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, mode=None, dynamic=None: asked.append((mode, dynamic)))
    synthesis = random_generator(*TINY, CPU).synthesis
    for name in ("plain", "compile", "both"):
        quicker(synthesis, WAYS[name], torch.zeros(1, synthesis.num_ws, 512))
    assert asked == [(None, False), ("reduce-overhead", False)]


def test_an_error_is_one_line() -> None:
    assert failure(RuntimeError("\n  first\nsecond")) == "RuntimeError: first"
    assert failure(KeyError()) == "KeyError: says nothing"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--parts", "renders,looks"], "give some of renders, inversions, edits"),
    (["--ways", "graphs"], "no CUDA graphs"), (["--device", "abacus"], "not usable here")])
def test_wrong_options_end_with_one_line(arguments: list[str], message: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--threads", "1", "--quick", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("way", ["graphs", "both"])
@pytest.mark.parametrize("gradient", [False, True])
def test_a_graph_draws_what_the_network_draws(way: str, gradient: bool) -> None:
    generator = random_generator(*TINY, torch.device("cuda"))
    samples = [generator.broadcast(generator.sample([seed])).contiguous() for seed in (0, 1)]
    expected = [generator.synthesis(sample) for sample in samples]
    draw: Callable[..., torch.Tensor] = generator.synthesis
    quicker(generator.synthesis, WAYS[way], samples[0].clone().requires_grad_(gradient))
    for sample, picture in zip(samples, expected, strict=True):
        with torch.set_grad_enabled(gradient):
            torch.testing.assert_close(draw(sample.clone().requires_grad_(gradient)), picture, rtol=1e-2, atol=1e-2)
