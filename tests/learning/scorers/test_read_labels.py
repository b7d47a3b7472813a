"""Labels by people: what is written is what is read, and what cannot be is named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gradctrl.scores import Scores
from learning.bank import SampleBank
from learning.scorers import read_labels
from weights.errors import InputError


@pytest.fixture
def bank(tmp_path: Path) -> SampleBank:
    return SampleBank(folder=tmp_path / "bank", space="", generator_hash="a" * 64, truncation=1.0, seed=0, count=5,
                      ending="png",
                      resolution=32, w_dim=4)


def read(bank: SampleBank, text: str | bytes, **classes: list[str]) -> dict[str, Scores]:
    path = bank.folder.parent / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {scores.attribute: scores for scores in read_labels(path, bank, classes=classes or None)}


def labels(scores: Scores) -> list[str | None]:
    return [scores.classes[label] if known else None
            for label, known in zip(scores.labels.tolist(), scores.mask.tolist(), strict=True)]


def test_labels_are_those_of_the_rows_whatever_their_order(bank: SampleBank) -> None:
    found = read(bank, "beard,file,mood\nyes,000004.png,sad\nno,000000.png,\n,000002.png,glad\n")
    assert list(found) == ["beard", "mood"]
    assert labels(found["beard"]) == ["not beard", None, None, None, "beard"]
    assert labels(found["mood"]) == [None, None, "glad", None, "sad"]
    mood = found["mood"]
    assert (mood.classes, mood.graded, mood.scorer) == (("glad", "sad"), False, "labels.csv")
    assert mood.values.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 1]]
    assert mood.values.dtype == torch.float32


@pytest.mark.parametrize(("no", "yes"), [("0", "1"), ("no", "yes"), ("False", "TRUE")])
def test_truth_values_are_the_attribute_and_not_the_attribute(bank: SampleBank, no: str, yes: str) -> None:
    found = read(bank, f"file,beard\n000000.png,{no}\n000001.png,{yes}\n")
    assert labels(found["beard"])[:2] == ["not beard", "beard"]


def test_classes_that_are_given_keep_their_order(bank: SampleBank) -> None:
    text = "file,hair\n000000.png,long\n000001.png,short\n000002.png,bald\n"
    assert read(bank, text)["hair"].classes == ("bald", "long", "short")
    found = read(bank, text, hair=["bald", "short", "long"])
    assert found["hair"].classes == ("bald", "short", "long")
    assert labels(found["hair"])[:3] == ["long", "short", "bald"]
    named = read(bank, "file,beard\n000000.png,1\n000001.png,0\n", beard=["shaven", "bearded"])
    assert labels(named["beard"])[:2] == ["bearded", "shaven"]
    words = read(bank, "file,beard\n000000.png,yes\n000001.png,no\n", beard=["yes", "no"])
    assert labels(words["beard"])[:2] == ["yes", "no"]
    assert words["beard"].values[0].tolist() == [1, 0]


def test_what_spreadsheets_write_is_read(bank: SampleBank) -> None:
    found = read(bank, '\ufefffile,beard\r\n"000000.png", yes \r\n\r\n000001.png,no\r\n,\r\n'.encode())
    assert labels(found["beard"])[:2] == ["beard", "not beard"]


def test_rows_of_one_picture_may_repeat_and_complete_each_other(bank: SampleBank) -> None:
    found = read(bank, "file,a,b\n000000.png,x,\n000000.png,x,u\n000001.png,y,v\n")
    assert labels(found["a"])[:2] == ["x", "y"]
    assert labels(found["b"])[:2] == ["u", "v"]


@pytest.mark.parametrize(("text", "words"), [
    ("file,beard\n000000.png,yes\n000005.png,no\n", r"line 3.*000005\.png.*000000\.png to 000004\.png"),
    ("file,beard\n000000.png,yes\n000000.png,no\n", r"lines 2 and 3.*'yes' and 'no'"),
    ("picture,beard\n000000.png,yes\n", "no column `file`"),
    ("file;beard\n000000.png;yes\n", "with commas"),
    ("", "no column `file`"),
    ("file\n000000.png\n", "no column but"),
    ("file,beard,beard\n000000.png,yes,no\n", "two columns"),
    ("file,Beard\n000000.png,yes\n", "lower-case"),
    ("file,beard\n000000.png,yes,no\n", "3 cells"),
    ("file,beard\n000000.png,\n", "no label for beard"),
    ("file,beard\n", "no label for beard"),
    ("file,beard\n000000.png,yes\n000001.png,1\n", "no example of 'not beard'"),
    ("file,hair\n000000.png,red\n000001.png,red\n", "all labels of hair are 'red'"),
    ("file,hair\n000000.png,red\n000001.png,a:b\n", "names without"),
    (b"file,beard\n000000.png,\xff\xfe\n", "UTF-8"),
    ('file,beard\n"000000.png,yes\n', "CSV"),
])
def test_what_cannot_be_is_refused(bank: SampleBank, text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(bank, text)
    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_given_classes_are_checked(bank: SampleBank) -> None:
    text = "file,hair\n000000.png,red\n000001.png,blue\n"
    with pytest.raises(InputError, match=r"line 3.*'blue'.*red, black"):
        read(bank, text, hair=["red", "black"])
    with pytest.raises(InputError, match="no example of 'black'"):
        read(bank, text, hair=["red", "black", "blue"])
    with pytest.raises(InputError, match="no column 'beard'"):
        read(bank, text, beard=["no", "yes"])
    with pytest.raises(InputError, match="two or more different"):
        read(bank, text, hair=["red", "blue", "red"])
    with pytest.raises(InputError, match="no such file"):
        read_labels(bank.folder / "x.csv", bank)
