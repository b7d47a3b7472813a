"""The command evaluate: the whole way with --quick (slow), and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from directions import load
from learning.bank import open_bank
from tests.commands.running import fine, made_by, run
from tests.commands.scoring import write_scorer

METHODS = {"gradctrl", "paper", "interfacegan", "ganspace", "stylespace"}


def test_what_is_no_bank_is_refused(tmp_path: Path) -> None:
    result = run("evaluate", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr
    assert "sample --bank" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("methods", ["stylegan", "gradctrl,gradctrl", ","])
def test_unknown_methods_are_wrong_usage(tmp_path: Path, methods: str) -> None:
    result = run("evaluate", tmp_path, "--out", tmp_path / "out", "--methods", methods)
    assert result.exit_code == 2
    assert "interfacegan" in result.stderr


@pytest.mark.parametrize("given", ["mine", "=file", "Mine=file", "mine="])
def test_what_is_given_needs_a_name_and_a_file(tmp_path: Path, given: str) -> None:
    result = run("evaluate", tmp_path, "--out", tmp_path / "out", "--given", given)
    assert result.exit_code == 2
    assert "NAME=FILE" in result.stderr


def test_one_method_s_controls_are_named_once(tmp_path: Path) -> None:
    result = run("evaluate", tmp_path, "--out", tmp_path / "out", "--controls", "a", "--given", "gradctrl=b")
    assert result.exit_code == 2
    assert "give one of them" in result.stderr


@pytest.mark.slow
def test_from_nothing_to_a_report_and_back_into_an_edit(tmp_path: Path) -> None:
    bank, out = tmp_path / "bank", tmp_path / "evaluation"
    made_by("sample", "--bank", bank, "--count", 900, "--batch", 16)
    scorer = write_scorer(tmp_path, open_bank(bank), glare=True)
    made_by("score", bank, "--batch", 64, "--with", scorer)
    made_by("gradients", bank, "--with", scorer, "--count", 40)
    written, told = fine("evaluate", bank, "--out", out, "--quick", "--with", scorer)
    assert written[0] == out / "report.md"
    assert "scores of 540 samples, gradients of 40" in str(load(out / "methods" / "gradctrl.safetensors")["red"].report)
    assert all(path.is_file() for path in written)
    assert "glare: not judged" in told
    with open(out / "accuracy.csv", newline="") as file:
        rows = {(row["method"], row["attribute"]): float(row["accuracy"]) for row in csv.DictReader(file)}
    assert {method for method, _ in rows} == METHODS
    assert rows["gradctrl", "all"] > rows["stylespace", "all"]
    with Image.open(out / "gradctrl-successes.png") as strip:
        assert strip.size == (12 * 128, 2 * 128)
    before = (out / "accuracy.csv").read_bytes()
    fine("evaluate", bank, "--out", out, "--quick", "--with", scorer)  # From its pieces.
    assert (out / "accuracy.csv").read_bytes() == before
    for method in METHODS:
        fine("edit", "--seed", 3, "--set", "red=0.5", "--controls", out / "measured" / f"{method}.safetensors",
             "--out", tmp_path / method)
