"""The endpoints as gradio_client's users meet them: the library's results, bit for bit, and messages for the rest."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio.components.api_component import Api
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from pydantic import FiniteFloat

import app
from directions import Controls
from directions import load as load_directions
from directions import save as save_directions
from directions.edit import MOST_STRENGTH
from editing import Editor, Inverter, load_recipe, load_session, reproduce, save_session
from generators import Space
from inversion import PRESETS, Photo, open_photo, paste_back
from page import KEPT_SECONDS
from page.api import arguments
from page.api.arguments import Whole, checked
from page.api.endpoints import Preset
from page.jobs.forgetting import tidy
from page.jobs.services import Services
from page.state import files
from tests.page.handling import OtherInversion
from tests.page.serving import client_of, endpoints_of, served
from weights.errors import InputError

CHANGES = {"smile": 1.5, "hair:blond": 0.5}


@pytest.fixture(scope="module")
def demo(services: Services) -> Iterator[gr.Blocks]:
    with served(services) as launched:
        yield launched


@pytest.fixture(scope="module")
def client(demo: gr.Blocks) -> Client:
    return client_of(demo)


@pytest.fixture(scope="module")
def from_photo(client: Client, astronaut_file: Path) -> tuple[str, str, dict[str, Any]]:
    """What /invert gives: session, picture, numbers."""
    return client.predict(handle_file(astronaut_file), preset="fast", api_name="/invert")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def sample(client: Client) -> tuple[str, str]:
    return client.predict(7, 0.8, api_name="/sample")  # type: ignore[no-any-return]


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_these_six_and_no_others_are_offered_with_all_that_one_must_know(client: Client) -> None:
    told = client.view_api(return_format="dict", print_info=False)
    assert told["unnamed_endpoints"] == {}
    assert list(told["named_endpoints"]) == ["/find_faces", "/invert", "/sample", "/edit", "/batch", "/train_control"]
    for endpoint in told["named_endpoints"].values():
        lines = [line.strip() for line in endpoint["description"].splitlines()]
        for parameter in endpoint["parameters"]:
            assert any(line.startswith(f"{parameter['parameter_name']}: ") for line in lines)
            assert parameter["python_type"]["type"] not in ("Any", "")
        assert all(result["python_type"]["type"] not in ("Any", "") for result in endpoint["returns"])
    assert "smile (-3 to 3, serious to smiling)" in told["named_endpoints"]["/edit"]["description"]
    assert "identity: float" in told["named_endpoints"]["/edit"]["returns"][1]["python_type"]["type"]
    assert set(get_args(Preset)) == set(PRESETS)


def test_no_endpoint_sees_a_visitor(demo: gr.Blocks) -> None:
    public = [function for function in demo.fns.values() if function.api_visibility == "public"]
    assert len(public) == 6
    assert all(type(block) is Api for function in public for block in (*function.inputs, *function.outputs))


def test_find_faces_gives_the_library_s_faces(client: Client, two_faces: Path, services: Services) -> None:
    from inversion import find_faces, limits_of_face

    found = client.predict(handle_file(two_faces), api_name="/find_faces")
    photo = open_photo(two_faces)
    faces = find_faces(photo)
    assert [face["number"] for face in found] == [0, 1]
    assert [tuple(face["box"]) for face in found] == [face.box for face in faces]
    assert np.array_equal([face["quad"] for face in found], [face.quad for face in faces])
    assert [face["warnings"] for face in found] == [
        list(limits_of_face(photo, face, faces, resolution=services.models.generator.img_resolution)) for face in faces]


@pytest.mark.slow
def test_a_photo_s_edit_is_the_library_s(client: Client, services: Services, astronaut: Photo,
                                         from_photo: tuple[str, str, dict[str, Any]], tmp_path: Path) -> None:
    path, picture, numbers = from_photo
    session = load_session(path)
    inversion, face = session.inversion, session.face
    assert inversion is not None
    assert face is not None
    assert np.array_equal(pixels(picture), inversion.picture)
    assert (numbers["lpips"], numbers["identity"]) == (inversion.lpips, inversion.identity)
    models = services.models
    editor = Editor(models.generator, models.controls)
    editor.set_latent(inversion)
    expected = editor.edit(CHANGES, keep=["age"])
    put_back, told = client.predict(handle_file(path), CHANGES, keep=["age"], api_name="/edit")
    whole = paste_back(astronaut, face, expected, original=inversion.picture)
    assert np.array_equal(pixels(put_back), whole)
    assert not np.array_equal(whole, astronaut.pixels)
    crop, _ = client.predict(handle_file(path), CHANGES, keep=["age"], put_back=False, mark=False, api_name="/edit")
    assert np.array_equal(pixels(crop), expected)
    recipe = load_recipe(crop)
    assert recipe == load_recipe(put_back)
    assert json.loads(told["recipe"]) == json.loads(recipe.to_json())
    again = reproduce(recipe, editor, photo=astronaut, inverter=Inverter(models.projector))
    assert np.array_equal(again, expected)
    assert b"digitalsourcetype" in Path(put_back).read_bytes()
    assert b"digitalsourcetype" not in Path(crop).read_bytes()
    asked = {item["attribute"]: item["asked"] for item in told["attributes"]}
    assert {name for name, wanted in asked.items() if wanted} == {"smile", "hair"}


def test_no_strength_is_the_identity(client: Client, sample: tuple[str, str], services: Services) -> None:
    session, picture = sample
    same, told = client.predict(handle_file(session), {"smile": 0}, api_name="/edit")
    assert np.array_equal(pixels(same), pixels(picture))
    assert told["identity"] == 0
    editor = Editor(services.models.generator, services.models.controls)
    editor.set_latent(services.models.generator.sample([7], truncation=0.8)[0])
    assert np.array_equal(editor.edit({}), pixels(picture))
    settings = {"layers": [12, 64], "step": 0.3, "method": "gradctrl"}
    other, _ = client.predict(handle_file(session), {"age": -1}, **settings, api_name="/edit")
    assert np.array_equal(pixels(other), editor.edit({"age": -1}, layers=(12, 64), step=0.3))


@pytest.mark.slow
def test_a_bad_file_in_a_batch_stops_nothing(client: Client, astronaut_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(astronaut_file.read_bytes()[:2000])
    # The same photo twice is one file for Gradio.
    given = [handle_file(path) for path in (astronaut_file, broken, astronaut_file)]
    packed, rows = client.predict(given, {"smile": 1}, preset="fast", api_name="/batch")
    assert [(row["file"], row["state"]) for row in rows] == [
        ("astronaut.jpg", "done"), ("broken.jpg", "failed"), ("astronaut.jpg (2)", "done")]
    assert "damaged" in rows[1]["reason"]
    assert rows[0]["lpips"] > 0
    with zipfile.ZipFile(packed) as archive:
        names = set(archive.namelist())
        table = list(csv.DictReader(io.StringIO(archive.read("batch.csv").decode())))
    assert {"pictures/astronaut-edited.png", "latents/astronaut.latent.safetensors", "edit.json"} <= names
    assert [row["state"] for row in table] == ["done", "failed", "done"]
    left = [path for path in files.private_dir().rglob("*") if path.is_file() and path.suffix == ".zip"]
    assert [path.parent.parent.name for path in left] == ["api"]


@pytest.mark.slow
def test_a_trained_control_edits_together_with_the_others(client: Client, services: Services,
                                                          sample: tuple[str, str]) -> None:
    models = services.models
    seeds = list(range(60))
    scores = models.controls["smile"].scores(models.generator.sample(seeds))[:, 0]
    order = scores.argsort().tolist()
    labels = {str(seed): "no_grin" for seed in order[:12]} | {str(seed): "grin" for seed in order[-12:]}
    path, told = client.predict("grin", ["no_grin", "grin"], labels, api_name="/train_control")
    assert told["classes"] == ["no_grin", "grin"]
    assert 0.5 < told["balanced_accuracy"] <= 1
    assert told["safe"][0] < 0 < told["safe"][1]
    together = Controls([*models.controls.values(), *load_directions(path).values()], spaces=models.generator.spaces)
    editor = Editor(models.generator, together)
    editor.set_latent(models.generator.sample([7], truncation=0.8)[0])
    changes = {"grin": -1.0, "age": -0.5}
    picture, effect = client.predict(handle_file(sample[0]), changes, controls=handle_file(path), api_name="/edit")
    assert np.array_equal(pixels(picture), editor.edit(changes))
    grin = next(item for item in effect["attributes"] if item["attribute"] == "grin")
    assert grin["after"] < grin["before"]
    assert load_recipe(picture).controls == editor.controls.hash


@pytest.mark.slow
def test_inversions_wait_their_turn(demo: gr.Blocks, client: Client, astronaut_file: Path) -> None:
    with OtherInversion(endpoints_of(demo).services.inversions):
        job = client.submit(handle_file(astronaut_file), preset="fast", with_photo=False, api_name="/invert")
        client.predict(3, api_name="/sample")  # What is cheap does not wait.
        time.sleep(1.5)
        assert not job.done()
    session, picture, _ = job.result(60)
    assert load_session(session).photo is None
    crop, _ = client.predict(handle_file(session), {}, api_name="/edit")
    assert np.array_equal(pixels(crop), pixels(picture))


def bad_edits(session: str, other_controls: str) -> list[tuple[dict[str, Any], str]]:
    good: dict[str, Any] = {"session": handle_file(session), "strengths": {"smile": 1}}
    return [(good | changes, message) for changes, message in (
        ({"strengths": {"smle": 1}}, r"smle: no such attribute in .*; there are smile"),
        ({"strengths": {"hair": 1}}, "hair"),
        ({"strengths": {"smile": "much"}},
         r"strengths\['smile'\]: 'much' cannot be used; input should be a valid number"),
        ({"strengths": {"smile": MOST_STRENGTH + 1}}, "smile 21 is too far; give -20 to 20"),
        ({"strengths": ["smile"]}, "strengths: .* cannot be used; input should be a valid dictionary"),
        ({"layers": [1, 2, 3]}, r"layers: \[1, 2, 3\] is no layer range; give two numbers"),
        ({"layers": [300, 900]}, "the layer range 300-900 holds none of this generator's layers; their sides are 4, 8"),
        ({"layers": [0.5, 2]}, r"layers\[0\]: 0.5 cannot be used; input should be a valid integer"),
        ({"step": 0.001}, "step 0.001 is no length of a step; give 0.01 or more"),
        ({"method": "magic"}, "magic: no such method; use gradctrl, interfacegan"),
        ({"keep": ["hat"]}, "hat: no such attribute"),
        ({"keep": "age"}, "keep: 'age' cannot be used; input should be a valid list"),
        ({"put_back": "yes"}, "put_back: 'yes' cannot be used; input should be a valid boolean"),
        ({"controls": handle_file(session)}, r"sample-7\.session\.safetensors: "),
        ({"controls": handle_file(other_controls)}, r"others\.safetensors: these controls are for the space"),
        ({"session": None}, "session: None is not a file; upload one"),
    )]


def test_each_wrong_argument_of_an_edit_is_named(client: Client, sample: tuple[str, str], services: Services,
                                                 tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    others = tmp_path / "others.safetensors"
    smile = services.models.controls["smile"]
    save_directions(others, [smile], spaces={"w": Space.of("w", torch.randn(4, services.models.generator.w_dim))})
    for given, message in bad_edits(sample[0], str(others)):
        with pytest.raises(AppError, match=message) as caught:
            client.predict(**given, api_name="/edit")
        assert str(files.private_dir()) not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_each_wrong_photo_sample_and_label_is_named(client: Client, astronaut_file: Path, two_faces: Path,
                                                    tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain, text = tmp_path / "plain.png", tmp_path / "note.txt"
    Image.new("RGB", (200, 200), "white").save(plain)
    text.write_text("no photo")
    labels = {str(seed): "beard" if seed % 2 else "none" for seed in range(20)}
    train = {"name": "beard", "classes": ["none", "beard"], "labels": labels, "api_name": "/train_control"}
    for given, message in (
        ({"photo": handle_file(text), "api_name": "/find_faces"}, r"note\.txt: .*save the photo as JPEG"),
        ({"photo": handle_file(plain), "api_name": "/invert"}, r"plain\.png: no face was found"),
        ({"photo": handle_file(two_faces), "face": 2, "api_name": "/invert"},
         r"two\.png: there is no face 2; choose one with the argument face"),
        ({"photo": handle_file(two_faces), "face": -1, "api_name": "/invert"}, "there is no face -1"),
        ({"photo": handle_file(two_faces), "preset": "slow", "api_name": "/invert"},
         "preset: 'slow' cannot be used; input should be 'fast', 'balanced' or 'faithful'"),
        ({"seed": -1, "api_name": "/sample"}, "seed -1, truncation 0.7: give a seed from 0 to 4294967295"),
        ({"seed": 2 ** 32, "api_name": "/sample"}, "give a seed from 0"),
        ({"seed": 1, "truncation": 2, "api_name": "/sample"}, "a truncation from 0 to 1.5"),
        ({"seed": "one", "api_name": "/sample"}, "seed: 'one' cannot be used; input should be a valid integer"),
        ({"seed": True, "api_name": "/sample"}, "seed: True cannot be used; input should be a valid integer"),
        ({"photos": [], "strengths": {"smile": 1}, "api_name": "/batch"}, "photos: 0 files were given; give 1 to 500"),
        ({"photos": [handle_file(plain)], "strengths": {}, "api_name": "/batch"}, "the edit changes nothing"),
        ({"photos": handle_file(plain), "strengths": {"smile": 1}, "api_name": "/batch"},
         "photos: .* cannot be used; input should be a valid list"),
        (train | {"labels": labels | {"3": "moustache"}}, "beard: 'moustache' is none of its classes"),
        (train | {"labels": labels | {"-3": "beard"}}, "labels: '-3' is not the seed of a sample"),
        (train | {"labels": dict(list(labels.items())[:8])}, "at least 10 samples of each class are needed"),
        (train | {"name": "smile"}, "smile: there is a control of this name already"),
        (train | {"classes": ["beard"]}, "2 to 6 classes are needed"),
    ):
        with pytest.raises(AppError, match=message) as caught:
            client.predict(**given)
        assert str(files.private_dir()) not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_each_wrong_session_is_named(client: Client, sample: tuple[str, str], astronaut_file: Path,
                                     tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    from editing import SampleSource

    session = load_session(sample[0])
    strange, far = tmp_path / "strange.session.safetensors", tmp_path / "far.session.safetensors"
    save_session(strange, replace(session, generator="0" * 64))
    save_session(far, replace(session, source=SampleSource(seed=10 ** 12)))
    for path, message in ((strange, "this session was saved with generator 000000000000"),
                          (far, "seed 1000000000000, truncation 1: give a seed"),
                          (astronaut_file, r"astronaut\.jpg: ")):
        with pytest.raises(AppError, match=message) as caught:
            client.predict(handle_file(path), {"smile": 1}, api_name="/edit")
        assert str(files.private_dir()) not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def answer(demo: gr.Blocks, name: str, data: list[Any]) -> str:
    """What an endpoint answers to data that gradio_client would not send."""
    asked = httpx.post(f"{demo.local_url}gradio_api/call/{name}", json={"data": data}).json()
    return httpx.get(f"{demo.local_url}gradio_api/call/{name}/{asked['event_id']}", timeout=30).text


def test_no_file_of_this_machine_or_of_a_visitor_can_be_named(demo: gr.Blocks, astronaut_file: Path) -> None:
    """Gradio lets a path pass that does not say that it is a file."""
    shown = files.for_browser(np.asarray(Image.open(astronaut_file)), "0123456789abcdef0123456789abcdef")
    kept = files.private_dir() / "inversions" / "kept.jpg"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(astronaut_file.read_bytes())
    tagged = {"_type": "gradio.FileData"}
    for path in (str(astronaut_file), shown, str(kept), f"{files.private_dir()}/api/../inversions/kept.jpg"):
        for file in ({"path": path}, {"path": path, "url": path}, {"path": path, "meta": {}}):
            assert "is not on this server" in answer(demo, "find_faces", [file])
        told = answer(demo, "find_faces", [{"path": path, "meta": tagged}])
        assert "event: error" in told
        assert "box" not in told
    kept.unlink()


def test_what_an_endpoint_gave_can_be_given_without_another_upload(demo: gr.Blocks) -> None:
    told = answer(demo, "sample", [5, 0.7])
    session = json.loads(told.partition("data: ")[2])[0]
    plain = [answer(demo, "edit", [session, {"age": 1}, *[None] * 7]) for _ in range(2)]
    assert all("event: complete" in told for told in plain)
    for _ in range(2):  # An upload would be gone the second time.
        edited = answer(demo, "edit", [session, {"smile": 1}, None, None, None, None, True, True, None])
        assert "event: complete" in edited


def test_uploads_go_once_they_were_read_and_results_after_an_hour(client: Client, astronaut_file: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    def uploads() -> list[Path]:
        return [path for path in files.private_dir().glob("*/private.jpg") if len(path.parent.name) == 64]

    monkeypatch.setattr(arguments, "GRACE", 0.5)
    private = astronaut_file.with_name("private.jpg")
    private.write_bytes(astronaut_file.read_bytes())
    client.predict(handle_file(private), api_name="/find_faces")
    for _ in range(50):
        if not uploads():
            break
        time.sleep(0.1)
    assert uploads() == []
    results = [path for path in (files.private_dir() / "api").rglob("*") if path.is_file()]
    assert results
    assert all(path.stat().st_mode & 0o077 == 0 or files.private_dir().stat().st_mode & 0o077 == 0
               for path in results)
    for path in results:
        os.utime(path, (time.time() - KEPT_SECONDS - 60,) * 2)
    tidy(files.private_dir(), KEPT_SECONDS)
    assert [path for path in (files.private_dir() / "api").rglob("*") if path.is_file()] == []


def test_the_same_photo_of_several_callers_at_once(demo: gr.Blocks, astronaut_file: Path) -> None:
    jobs = [client_of(demo).submit(handle_file(astronaut_file), api_name="/find_faces") for _ in range(3)]
    assert len({json.dumps(job.result(60)) for job in jobs}) == 1


@pytest.mark.parametrize(("value", "hint", "right"), [
    (2.0, Whole, 2), (1, FiniteFloat, 1.0), ([1, 2.0], list[Whole], [1, 2]), (None, list[Whole] | None, None),
    ("x", str, "x"), ({"a": 1}, dict[str, FiniteFloat], {"a": 1.0}), (False, bool, False), ("fast", Preset, "fast"),
])
def test_right_values_come_as_their_type(value: Any, hint: Any, right: Any) -> None:
    found = checked(value, hint, "it")
    assert found == right
    assert type(found) is type(right)


@pytest.mark.parametrize(("value", "hint"), [
    (1.5, Whole), (True, Whole), ("1", Whole), (None, Whole), (float("inf"), Whole), (float("nan"), FiniteFloat),
    (float("inf"), FiniteFloat), ("1", FiniteFloat), (False, FiniteFloat), (1, bool), (1, str),
    ({"a": 1}, list[Whole]), ([1], dict[str, FiniteFloat]), ([[1]], list[Whole]), ("slow", Preset), ([], Preset),
    pytest.param(10 ** 400, FiniteFloat, id="huge"),
])
def test_wrong_values_are_refused_by_name(value: Any, hint: Any) -> None:
    with pytest.raises(InputError, match=r"^it"):
        checked(value, hint, "it")


@pytest.mark.slow
def test_the_examples_of_the_docs_run(bundled_models: None, astronaut_file: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(app.__file__).parent / "docs" / "api.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert all(f'api_name="/{name}"' in code for name in
               ("find_faces", "invert", "sample", "edit", "batch", "train_control"))
    (tmp_path / "me.jpg").write_bytes(astronaut_file.read_bytes())
    (tmp_path / "note.txt").write_text("no photo")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    with served(Services(device="cpu")) as demo:
        exec(compile(code.replace("http://127.0.0.1:7860", demo.local_url), "docs/api.md", "exec"), found)
    said = capsys.readouterr().out
    assert "0; [" in said
    assert "me.jpg done" in said
    assert "note.txt failed" in said
    assert "smle: no such attribute in controls.safetensors; there are gender, smile, eyeglasses" in said
    assert pixels(found["edited"]).shape == pixels("me.jpg").shape
    assert pixels(found["older"]).shape == pixels(found["brighter"]).shape == (1024, 1024, 3)
    corner = np.s_[:200, :200]
    assert pixels(found["brighter"])[corner].mean() > pixels(found["face"])[corner].mean()


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("sh") is None, reason="there is no curl here")
def test_the_docs_example_with_curl_runs(demo: gr.Blocks, astronaut_file: Path, tmp_path: Path) -> None:
    text = (Path(app.__file__).parent / "docs" / "api.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "me.jpg").write_bytes(astronaut_file.read_bytes())
    code = code.replace("http://127.0.0.1:7860", demo.local_url.rstrip("/")).replace("python3", sys.executable)
    result = subprocess.run(["sh", "-euc", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "event: complete" in result.stdout
    assert json.loads(result.stdout.partition("data: ")[2])[0][0]["number"] == 0


def test_torch_is_as_it_was(client: Client) -> None:
    before = torch.get_num_threads()
    client.predict(1, api_name="/sample")
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("place", ["inversion.paste._warped", "inversion.photo.metadata_options",
                                   "page.api.endpoints.effect_of"])
def test_too_little_memory_is_told_and_the_page_lives(place: str, client: Client, monkeypatch: pytest.MonkeyPatch,
                                                      from_photo: tuple[str, str, dict[str, Any]]) -> None:
    """While a face is put back, while the picture is written, while the edit is measured."""
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(place, fails)
        with pytest.raises(AppError, match=r"out of memory \(of this machine\); end other programs"):
            client.predict(handle_file(from_photo[0]), {"smile": 1}, api_name="/edit")
    assert client.predict(handle_file(from_photo[0]), {"smile": 1}, api_name="/edit")[1]["recipe"]
