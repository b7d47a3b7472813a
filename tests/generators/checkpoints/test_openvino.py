"""MobileStyleGAN's OpenVINO files: they mean what a plain re-computation says; damaged and hostile ones are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from cli import main
from generators import MobileStyleGAN, load
from generators.checkpoints import openvino, read
from tests.generators.checkpoints import openvino_files as files
from weights.errors import InputError

FOLDER = "GRADCTRL_OPENVINO_STUDENT"  # Names the folder of the author's four files.


def test_pictures_are_those_of_the_graph(tmp_path: Path) -> None:
    mapping, synthesis = files.write_export(tmp_path)
    generator = load(tmp_path)
    assert isinstance(generator, MobileStyleGAN)
    assert (generator.num_ws, generator.sides) == (6, (8, 16, 32))
    z = generator.draw_z(range(3))
    w = files.map_z(mapping, z)
    assert torch.allclose(generator.mapping(z), w, atol=1e-5)
    expected = torch.cat([files.draw(synthesis, row[None]) for row in w])
    assert torch.allclose(generator.render(w), expected, atol=1e-5 * float(expected.abs().max()))
    mean = generator.sample(range(4000)).mean(dim=0)
    assert torch.allclose(generator.neutral(), mean, atol=0.1)


def test_convert_takes_the_folder_or_its_xml(tmp_path: Path) -> None:
    files.write_export(tmp_path)
    outs = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for source, out in zip((tmp_path, tmp_path / "SynthesisNetwork.xml"), outs, strict=True):
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(source), str(out), "--half"])
        assert ended.value.code == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert load(outs[0]).architecture == "mobilestylegan"


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(path)
    for word in words:
        assert word in str(caught.value), caught.value
    assert "\n" not in str(caught.value)


ENTITY = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(("old", "new", "words"), [
    ("<net ", f"{ENTITY}<net ", "declares a document type"),
    ("<net ", '<!DOCTYPE net SYSTEM "file:///etc/passwd"><net ', "declares a document type"),
    ("</layers>", "", "damaged XML"),
    ('element_type="f32"', 'element_type="f16"', "numbers of the type 'f16'"),
    ('offset="16"', 'offset="999999999999"', "does not lie within the .bin file"),
    ('offset="16"', 'offset="-8"', "the offset '-8'"),
    ('offset="16"', 'offset="1e3"', "the offset '1e3'"),
    ('size="576"', 'size="580"', "does not lie within the .bin file"),
    ('shape="12, 12"', 'shape="12, 0"', "the shape '12, 0'"),
    ('shape="12, 12"', 'shape="999999999, 999999999, 999999999"', "does not lie within the .bin file"),
    ('shape="12, 12"', 'shape="12, 6, 2"', "mapping.fc0.weight has the shape [12, 6, 2]"),
    ('from-layer="2"', 'from-layer="99"', "an edge between layers that are not there"),
    ('id="4"', 'id="2"', "two layers of one id"),
    ('type="MatMul"', 'type="Relu"', "not MobileStyleGAN"),
    ('type="PReLU"', 'type="Relu"', "leaky ReLUs"),
])
def test_a_changed_graph_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    files.write_export(tmp_path)
    graph = tmp_path / "MappingNetwork.xml"
    text = graph.read_text()
    assert old in text
    graph.write_text(text.replace(old, new, 1))
    refused(tmp_path, str(tmp_path), words)


def test_missing_and_short_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, "MappingNetwork.bin: cannot be read")
    files.write_export(tmp_path)
    numbers = tmp_path / "SynthesisNetwork.bin"
    content = numbers.read_bytes()
    numbers.write_bytes(content[:-4])
    refused(tmp_path, "SynthesisNetwork.xml", "to_img.bias' does not lie within")
    numbers.write_bytes(content[:-4] + b"\0\0\xc0\x7f")
    refused(tmp_path, "synthesis.to_img.bias holds NaN")


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_export(tmp_path)
    for name, words in (("LARGEST_GRAPH", "xml: larger than 1000 bytes"), ("LARGEST_NUMBERS", "bin: larger than")):
        with monkeypatch.context() as patch:
            patch.setattr(openvino, name, 1000)
            refused(tmp_path, words)
    # Constants that all point to the same numbers would otherwise make a small file take any amount of memory.
    constants = [(f"c{index}", "Add", torch.zeros(100)) for index in range(20)]
    graph = files.write_graph(tmp_path / "MappingNetwork.xml", constants)
    graph.write_text(graph.read_text().replace('offset="16"', 'offset="24"'))
    graph.with_suffix(".bin").write_bytes(graph.with_suffix(".bin").read_bytes()[:6000])
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "LARGEST_NUMBERS", 6000)
        refused(tmp_path, "does not lie within")


def test_synthesis_of_another_network(tmp_path: Path) -> None:
    files.write_export(tmp_path)
    torch.manual_seed(0)
    constants = files.synthesis_constants()
    for changed, words in (
            ([each for each in constants if "weight_dw" not in each[0]],
             "depthwise is missing"),
            ([*constants, ("m.odd.modulation.bias", "Add", torch.zeros(1, 3))], "synthesis.odd.modulation.bias"),
            ([*constants, constants[0]], "two weights synthesis."),
            ([each for each in constants if each[0] != "m.input.input"], "synthesis.const is missing"),
            ([each for each in constants if each[0] != "noise1conv2"], "synthesis.layers.1.conv2.noise has"),
            ([(name, user, value[:, :6] if name.endswith("up.modulation.bias") else value)
              for name, user, value in constants], "6 feature maps, which are not four bands"),
            ([(name, user, value[:, :4] if name.endswith("up.modulation.bias") else value)
              for name, user, value in constants], "up.modulation.bias has the shape [4]")):
        files.write_graph(tmp_path / "SynthesisNetwork.xml", changed)
        refused(tmp_path, words)


def test_web_pages_are_still_told(tmp_path: Path) -> None:
    page = tmp_path / "a.pkl"
    page.write_text('<?xml version="1.0"?><!DOCTYPE html><html></html>')
    refused(page, "a web page (HTML)")


def test_the_authors_own_files_render_as_openvino_renders_them() -> None:
    """Float32, eight latents, within 1e-4 of the range of the pictures."""
    runtime = pytest.importorskip("openvino")
    if FOLDER not in os.environ:
        pytest.skip(f"{FOLDER} names no folder")
    folder, core = Path(os.environ[FOLDER]), runtime.Core()
    mapping, synthesis = (core.compile_model(core.read_model(folder / f"{name}.xml"), "CPU",
                                             {"INFERENCE_PRECISION_HINT": "f32"})
                          for name in ("MappingNetwork", "SynthesisNetwork"))
    generator = load(folder)
    for z in generator.draw_z(range(8)):
        w = torch.from_numpy(mapping(z[None].numpy())[0].copy())
        assert torch.allclose(generator.mapping(z[None]), w, atol=1e-4)
        picture = torch.from_numpy(synthesis(w.numpy())[0].copy())
        with torch.no_grad():
            error = (generator.render(w) - picture).abs().max()
        assert error <= 1e-4 * (picture.max() - picture.min())
