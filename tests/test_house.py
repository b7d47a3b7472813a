"""The house: imports go down only, each heavy guest has one room, and importing a package stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("app", "cli", "page", "commands", "batch", "evaluation", "editing", "learning", "directions", "gradctrl",
          "inversion", "generators", "weights")  # From the roof to the ground.
NEVER = {"gradctrl": {"inversion", "generators"}}  # Beside that imports go down only.
TOOLS = ("tools", "benchmarks", "tests")  # May import all of the house; nothing imports them.
ROOMS = {
    "dlib": {"inversion/faces.py"}, "lpips": {"inversion/perceptual.py"}, "av": {"editing/video.py"},
    "cv2": {"inversion/*"}, "gradio": {"app.py", "page/*"},
    "sklearn": {"directions/boundaries.py", "directions/estimators.py"},
    "click": {"cli.py", "commands/*"}, "pillow_heif": {"inversion/decoding.py"},
    "onnxruntime": {"learning/scorers/models.py"},
    "matplotlib": {"evaluation/plots.py"}, "ray": {"batch/ray_cluster.py"},
}


@cache
def modules() -> dict[str, tuple[str, ast.Module]]:
    """Path and syntax tree of every module, by its dotted name."""
    found = {}
    for path in [*ROOT.glob("*.py"), *(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))]:
        file = path.relative_to(ROOT).as_posix()
        found[file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = file, ast.parse(path.read_text())
    return found


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever it stands, for type hints too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def roots(tree: ast.Module) -> set[str]:
    return {name.split(".")[0] for name in imported(tree)}


def neighbours(name: str) -> set[str]:
    """The modules of the house that a module imports; a package's lazy names count as the modules that define them."""
    found = set()
    for target in imported(modules()[name][1]):
        package, _, last = target.rpartition(".")
        homes = lazy_names(package)
        found.add(f"{package}.{homes[last]}" if last in homes else target)
    return {target for target in found if target in modules() and target != name and not lazy_names(target)}


@cache
def lazy_names(package: str) -> dict[str, str]:
    """The public names of a package with the submodules that define them, as its stub tells."""
    stub = ROOT.joinpath(*package.split("."), "__init__.pyi") if package else None
    if stub is None or not stub.is_file():
        return {}
    return {alias.name: node.module for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)
            and node.module for alias in node.names}


def test_every_folder_has_its_floor() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*FLOORS, *TOOLS} - {"app", "cli"}


def test_imports_go_down_only() -> None:
    upward = []
    for name, (file, tree) in modules().items():
        floor = name.split(".")[0]
        below = {*FLOORS[FLOORS.index(floor):]} - NEVER.get(floor, set())
        upward += [f"{file} imports {other}" for other in roots(tree) & {*FLOORS, *TOOLS} - below]
    assert upward == []


def test_no_modules_import_each_other() -> None:
    """No circles of any length, not for type hints either."""
    graph = {name: neighbours(name) for name in modules()}
    while leaves := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert {name: sorted(others & graph.keys()) for name, others in graph.items()} == {}


def test_gradctrl_needs_torch_alone() -> None:
    known = {name: roots(tree) - {"gradctrl", "weights", "torch", *sys.stdlib_module_names}
             for name, (_, tree) in modules().items() if name.startswith("gradctrl.")}
    assert {name: found for name, found in known.items() if found} == {}


@pytest.mark.parametrize("guest", ROOMS)
def test_each_heavy_guest_has_one_room(guest: str) -> None:
    homes = {file for file, tree in modules().values() if guest in roots(tree)}
    assert {file for file in homes if not any(fnmatch(file, room) for room in ROOMS[guest])} == set()


@pytest.mark.parametrize(("statement", "unwanted"), [
    ("import gradctrl, inversion, generators, directions, learning, editing, evaluation, batch, weights",
     "torch,numpy,gradio,dlib,lpips,torchvision,cv2,av,PIL"),
    ("import gradctrl; gradctrl.trajectory, gradctrl.fit_examples", "gradio,dlib,lpips,torchvision,cv2,av,PIL"),
    ("import generators; generators.load", "gradio,dlib,lpips,torchvision,cv2,av"),
    ("import generators; generators.load()", "torch._dynamo"),  # Seconds at each start.
    ("import inversion; inversion.open_photo, inversion.find_faces", "gradio,dlib,lpips,torchvision,torch"),
    ("import editing; editing.Editor", "gradio,dlib,lpips,torchvision,av,sklearn"),
    ("from directions import fit_interfacegan, stylespace_candidates",
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

    with pytest.raises(AttributeError, match="nonsense"):
        _ = gradctrl.nonsense  # type: ignore[attr-defined]
