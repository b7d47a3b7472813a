"""The house: imports go down only, each heavy guest has one room, and importing a package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "weights": set(), "stylegan2": {"weights"}, "gradctrl": {"stylegan2", "weights"},
    "inversion": {"stylegan2", "weights"}, "editing": {"inversion", "gradctrl", "stylegan2", "weights"},
    "commands": {"app", "editing", "inversion", "gradctrl", "stylegan2", "weights"},  # Of cli.py, a front door.
}
ROOMS = {
    "dlib": {"inversion/faces.py"}, "lpips": {"inversion/perceptual.py"}, "av": {"editing/video.py"},
    "cv2": {"inversion/paste.py", "inversion/alignment.py", "inversion/faces.py", "inversion/blending.py",
            "inversion/colours.py"}, "gradio": {"app.py", "page/*"},
    "sklearn": {"editing/families/svm.py"},
    "click": {"cli.py", "commands/*"}, "onnxruntime": {"editing/scorers/models.py"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    paths = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    for path in [*paths, *ROOT.glob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("weights/training/"):  # Tools that make the bundled files; nothing imports them.
            yield name, ast.parse(path.read_text())


def imported(tree: ast.Module) -> set[str]:
    """Top-level names of every import in a module, wherever it stands."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_imports_go_down_only() -> None:
    upward = [f"{name} imports {other}" for name, tree in modules() if "/" in name
              for other in imported(tree) & {*MAY_IMPORT, "app", "cli"} - {name.split("/")[0]}
              if other not in MAY_IMPORT[name.split("/")[0]]]
    assert upward == []


def test_gradctrl_knows_no_generator_and_no_pixels() -> None:
    known = {name: imported(tree) & {"stylegan2", "PIL", "numpy", "cv2"} for name, tree in modules()
             if name.startswith("gradctrl/")}
    assert {name: found for name, found in known.items() if found} == {}


@pytest.mark.parametrize("guest", ROOMS)
def test_each_heavy_guest_has_one_room(guest: str) -> None:
    homes = {name for name, tree in modules() if guest in imported(tree)}
    assert {name for name in homes if not any(fnmatch(name, room) for room in ROOMS[guest])} == set()


def test_the_commands_are_for_cli_alone() -> None:
    page = [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in ROOT.glob("page/*.py")]
    importers = {name for name, tree in [*modules(), *page] if "commands" in imported(tree)}
    assert {name for name in importers if not name.startswith("commands/")} == {"cli.py"}


@pytest.mark.parametrize(("statement", "unwanted"), [
    ("import gradctrl, inversion, stylegan2, editing, weights", "torch,numpy,gradio,dlib,lpips,torchvision,cv2,av,PIL"),
    ("import gradctrl; gradctrl.trajectory, gradctrl.load_controls", "gradio,dlib,lpips,torchvision,cv2,av,PIL"),
    ("import stylegan2; stylegan2.load", "gradio,dlib,lpips,torchvision,cv2,av"),
    ("import inversion; inversion.open_photo, inversion.find_faces", "gradio,dlib,lpips,torchvision,torch"),
    ("import editing; editing.Editor", "gradio,dlib,lpips,torchvision,av,sklearn"),
    ("import editing.families", "torch,numpy,sklearn"),
    ("from editing.families import load_family, fit_interfacegan, stylespace_candidates",
     "sklearn,gradio,dlib,lpips,torchvision,av,cv2"),
    ("import cli", "torch,numpy,gradio,dlib,lpips,torchvision,cv2,av,PIL"),
    ("import app", "torch,dlib,lpips,torchvision,cv2,av"),
])
def test_importing_stays_cheap(statement: str, unwanted: str) -> None:
    code = f"{statement}\nimport sys\nprint(sorted(set({unwanted.split(',')!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_unknown_names_of_a_package_are_attribute_errors() -> None:
    import gradctrl
    from weights.lazy import exports

    with pytest.raises(AttributeError, match="nonsense"):
        _ = gradctrl.nonsense  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="rename"):
        exports("package", {"align": "align"})
