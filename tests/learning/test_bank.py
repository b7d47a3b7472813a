"""Banks: resumed equals uninterrupted, what is saved comes back, and what does not belong is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from generators import Generator, StyleGAN2, StyleGAN2Config, in_quickest_precision, to_pixels
from gradctrl.scores import Scores
from learning import bank as bank_module
from learning.bank import SampleBank, open_bank, write_bank
from weights.errors import InputError


def tiny(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return StyleGAN2(StyleGAN2Config(img_resolution=32, channels=(8, 8, 8, 8), z_dim=16, w_dim=16,
                                     mapping_layers=2)).eval()


@pytest.fixture(scope="module")
def generator() -> Generator:
    return tiny()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_module, "SHARD", 5)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def smile(count: int, attribute: str = "smile", **more: object) -> Scores:
    values = torch.randn(count, 2, generator=torch.Generator().manual_seed(1))
    return Scores(attribute=attribute, classes=("serious", "smiling"), values=values, scorer="test",
                  **more)  # type: ignore[arg-type]


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2, 4, 5])
def test_a_bank_that_was_interrupted_equals_one_that_was_not(generator: Generator, tmp_path: Path, after: int) -> None:
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == after:
            raise Stop

    write_bank(generator, tmp_path / "whole", count=12, seed=7, batch=3)
    with pytest.raises(Stop):
        write_bank(generator, tmp_path / "cut", count=12, seed=7, batch=3, on_progress=stop)
    calls.clear()
    after = 0
    write_bank(generator, tmp_path / "cut", count=12, seed=7, batch=3, on_progress=stop)
    assert calls == [(3, 12), (5, 12), (8, 12), (10, 12), (12, 12)]
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_bank_that_grew_equals_one_that_was_made_at_once(generator: Generator, tmp_path: Path) -> None:
    write_bank(generator, tmp_path / "whole", count=12, batch=3)
    write_bank(generator, tmp_path / "grown", count=7, batch=3).save_scores([smile(7)])
    write_bank(generator, tmp_path / "grown", count=12, batch=3)
    with pytest.raises(InputError, match="score the bank again"):
        open_bank(tmp_path / "grown").scores()
    (tmp_path / "grown" / "scores.safetensors").unlink()
    assert content(tmp_path / "grown") == content(tmp_path / "whole")


def test_what_was_made_before_an_interruption_is_not_made_again(generator: Generator, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    bank = write_bank(generator, tmp_path, count=12, batch=3)
    bank.picture_path(6).unlink()
    rendered = []
    render = generator.render
    monkeypatch.setattr(generator, "render", lambda w, side: rendered.append(len(w)) or render(w, side))
    before = bank.picture_path(7).stat().st_mtime_ns
    write_bank(generator, tmp_path, count=12, batch=3)
    assert rendered == [3]
    assert bank.picture_path(6).is_file()
    assert bank.picture_path(7).stat().st_mtime_ns == before


def test_samples_are_those_of_the_generator_by_seed(generator: Generator, tmp_path: Path) -> None:
    bank = write_bank(generator, tmp_path / "new" / "bank", count=7, seed=100, truncation=0.6, batch=4)
    expected = generator.sample(range(100, 107), truncation=0.6)
    assert bank.latents().shape == (7, 16)
    assert bank.latents().dtype == torch.float32
    torch.testing.assert_close(bank.latents(), expected, rtol=0, atol=1e-6)
    pictures = bank.pictures(0, 100)
    assert pictures.shape == (7, 32, 32, 3)
    assert pictures.dtype == np.uint8
    assert np.abs(pictures.astype(int) - to_pixels(in_quickest_precision(generator).render(expected))).max() <= 1
    assert np.array_equal(bank.pictures(2, 4), pictures[2:4])
    assert bank.pictures(7, 9).shape == (0, 32, 32, 3)
    assert (bank.seed, bank.count, bank.truncation, bank.generator_hash) == (100, 7, 0.6, generator.hash)
    assert open_bank(tmp_path / "new" / "bank", generator=generator) == bank


def test_pictures_are_as_small_as_the_generator_can_draw_them_for_a_bank(generator: Generator, tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    for side, expected in ((9, 16), (16, 16), (17, 32), (64, 32)):
        monkeypatch.setattr(bank_module, "PICTURES", side)
        bank = write_bank(generator, tmp_path / str(side), count=2)
        assert bank.resolution == expected
        drawn = to_pixels(in_quickest_precision(generator).render(bank.latents(), expected))
        assert np.abs(bank.pictures(0, 2).astype(int) - drawn).max() <= 1


def test_seeds_overlap_as_they_should(generator: Generator, tmp_path: Path) -> None:
    a = write_bank(generator, tmp_path / "a", count=6, seed=0)
    b = write_bank(generator, tmp_path / "b", count=6, seed=3)
    torch.testing.assert_close(a.latents()[3:], b.latents()[:3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("ending", ["webp", "jpg"])
def test_pictures_of_other_kinds(generator: Generator, tmp_path: Path, ending: str) -> None:
    bank = write_bank(generator, tmp_path, count=2, ending=ending)
    assert bank.picture_path(1) == tmp_path / "pictures" / f"000001.{ending}"
    expected = to_pixels(generator.render(bank.latents()))
    assert np.abs(bank.pictures(0, 2).astype(int) - expected).mean() < 12


def test_scores_come_back_and_replace_those_of_their_name_only(generator: Generator, tmp_path: Path) -> None:
    bank = write_bank(generator, tmp_path, count=6)
    assert bank.scores() == {}
    known = torch.tensor([True, False, True, True, True, True])
    pose = Scores(attribute="pose", classes=("left", "front", "right"), values=torch.eye(3).repeat(2, 1), scorer="me",
                  graded=False, ordered=True, known=known)
    bank.save_scores([smile(6), pose])
    bank.save_scores([smile(6, "age")])
    found = open_bank(tmp_path).scores()
    assert list(found) == ["smile", "pose", "age"]
    assert torch.equal(found["smile"].values, smile(6).values)
    assert found["smile"].known is None
    assert (found["pose"].classes, found["pose"].graded, found["pose"].ordered) == (("left", "front", "right"), False,
                                                                                    True)
    assert found["pose"].known is not None
    assert torch.equal(found["pose"].known, known)
    changed = Scores(attribute="smile", classes=("a", "b"), values=torch.ones(6, 2), scorer="other")
    bank.save_scores([changed])
    assert list(bank.scores()) == ["smile", "pose", "age"]
    assert bank.scores()["smile"].scorer == "other"


@pytest.mark.parametrize(("change", "word"), [
    ({"count": 5}, "--count"), ({"seed": 1}, "--seed"), ({"truncation": 0.5}, "--truncation"),
    ({"ending": "webp"}, "--format"),
])
def test_a_bank_goes_on_with_its_own_settings_only(generator: Generator, tmp_path: Path, change: dict[str, object],
                                                   word: str) -> None:
    write_bank(generator, tmp_path, count=6)
    before = content(tmp_path)
    with pytest.raises(InputError, match=word):
        write_bank(generator, tmp_path, **{"count": 6, **change})  # type: ignore[arg-type]
    assert content(tmp_path) == before


def test_a_bank_of_another_generator_is_refused(generator: Generator, tmp_path: Path) -> None:
    write_bank(generator, tmp_path, count=2)
    other = tiny(1)
    with pytest.raises(InputError, match="its samples are of the space"):
        open_bank(tmp_path, generator=other)
    with pytest.raises(InputError, match="--generator"):
        write_bank(other, tmp_path, count=2)


def test_a_bank_that_is_not_whole_says_how_much_there_is(generator: Generator, tmp_path: Path) -> None:
    bank = write_bank(generator, tmp_path, count=12)
    bank.latents_path(bank.shards[1]).unlink()
    with pytest.raises(InputError, match="7 of 12 samples"):
        open_bank(tmp_path)
    bank.picture_path(0).unlink()
    with pytest.raises(InputError, match="6 of 12 samples"):
        open_bank(tmp_path)
    write_bank(generator, tmp_path, count=12)
    assert torch.equal(open_bank(tmp_path).latents(), bank.latents())


def test_a_folder_with_other_things_is_left_alone(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        write_bank(generator, tmp_path, count=2)
    assert content(tmp_path) == {"thesis.txt": b"mine"}
    with pytest.raises(InputError, match=r"cannot be (made|read)"):
        write_bank(generator, tmp_path / "thesis.txt", count=2)


def test_wrong_arguments_are_refused_before_anything_is_written(generator: Generator, tmp_path: Path) -> None:
    for change in ({"count": 0}, {"batch": 0}, {"ending": "gif"}):
        with pytest.raises(InputError):
            write_bank(generator, tmp_path / "x", **{"count": 2, **change})  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def damage_json(bank: SampleBank, **changes: object) -> None:
    path = bank.folder / "bank.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("changes", [{"format": "x"}, {"count": "6"}, {"count": 0}, {"seed": None}, {"ending": "gif"},
                                     {"truncation": True}])
def test_a_damaged_bank_json_is_refused(generator: Generator, tmp_path: Path, changes: dict[str, object]) -> None:
    damage_json(write_bank(generator, tmp_path, count=6), **changes)
    with pytest.raises(InputError, match=r"bank\.json"):
        open_bank(tmp_path)


def test_damaged_files_are_named(generator: Generator, tmp_path: Path) -> None:
    bank = write_bank(generator, tmp_path, count=6)
    bank.save_scores([smile(6)])
    bank.picture_path(1).write_bytes(bank.picture_path(1).read_bytes()[:60])
    with pytest.raises(InputError, match=r"pictures/000001\.png"):
        bank.pictures(0, 6)
    bank.picture_path(1).unlink()
    with pytest.raises(InputError, match=r"pictures/000001\.png: no such"):
        bank.pictures(0, 6)
    for path in (bank.latents_path(bank.shards[0]), tmp_path / "scores.safetensors"):
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(InputError, match=path.name):
            bank.latents() if "latents" in str(path) else bank.scores()
    (tmp_path / "bank.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        open_bank(tmp_path)
    with pytest.raises(InputError, match=r"no bank\.json"):
        open_bank(tmp_path / "pictures")


def test_a_picture_of_another_size_is_refused(generator: Generator, tmp_path: Path) -> None:
    from inversion import save_picture

    bank = write_bank(generator, tmp_path, count=2)
    save_picture(bank.picture_path(1), np.zeros([16, 16, 3], np.uint8))
    with pytest.raises(InputError, match="16 x 16"):
        bank.pictures(0, 2)
    with pytest.raises(IndexError):
        bank.picture_path(2)


def test_scores_of_other_samples_are_refused(generator: Generator, tmp_path: Path) -> None:
    bank = write_bank(generator, tmp_path / "a", count=6)
    with pytest.raises(InputError, match=r"7 samples.*6"):
        bank.save_scores([smile(6, "age"), smile(7)])
    assert bank.scores() == {}
    other = write_bank(generator, tmp_path / "b", count=6, seed=50)
    other.save_scores([smile(6)])
    (tmp_path / "b" / "scores.safetensors").rename(tmp_path / "a" / "scores.safetensors")
    with pytest.raises(InputError, match="another bank"):
        bank.scores()


def test_gradients_come_back_and_are_not_those_of_other_scores(generator: Generator, tmp_path: Path) -> None:
    bank = write_bank(generator, tmp_path, count=6, batch=3)
    bank.save_scores([smile(6), smile(6, "age")])
    assert bank.gradients() == {}
    rng = torch.Generator().manual_seed(3)
    one, two = (torch.randn(count, 2, 16, generator=rng) for count in (4, 2))
    bank.save_gradients({"smile": one})
    bank.save_gradients({"age": two})
    found = open_bank(tmp_path).gradients()
    assert torch.equal(found["smile"], one)
    assert torch.equal(found["age"], two)
    age = smile(6, "age")
    bank.save_scores([replace(age, values=age.values + 1e-3)])  # As another device rounds.
    assert list(bank.gradients()) == ["smile", "age"]
    bank.save_scores([replace(smile(6), values=1 - smile(6).values)])
    assert list(bank.gradients()) == ["age"]
    grown = write_bank(generator, tmp_path, count=11, batch=3)
    (tmp_path / "scores.safetensors").unlink()
    grown.save_scores([replace(age, values=torch.cat([age.values, torch.zeros(5, 2)]))])
    assert torch.equal(grown.gradients()["age"], two)


def test_damaged_gradients_and_those_of_other_samples_are_refused(generator: Generator, tmp_path: Path) -> None:
    bank, other = (write_bank(generator, tmp_path / name, count=6, batch=3, seed=seed)
                   for name, seed in (("a", 0), ("b", 1)))
    path = bank.folder / "gradients.safetensors"
    for each in (bank, other):
        each.save_scores([smile(6)])
    for wrong in (torch.zeros(7, 2, 16), torch.zeros(4, 3, 16), torch.zeros(4, 2, 15),
                  torch.full((4, 2, 16), torch.nan)):
        bank.save_gradients({"smile": wrong})
        with pytest.raises(InputError, match=r"gradients\.safetensors") as caught:
            bank.gradients()
        assert "measure the gradients again" in str(caught.value)
        path.unlink()
    other.save_gradients({"smile": torch.zeros(4, 2, 16)})
    (other.folder / "gradients.safetensors").rename(path)
    with pytest.raises(InputError, match="belongs to another bank"):
        bank.gradients()
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"gradients\.safetensors"):
        bank.gradients()
