"""The command line. Each command reads its options, calls the library and writes files.

Paths of what was written go to stdout, everything else to stderr. Exit codes: 0 fine, 1 something that was given cannot
be used, 2 wrong usage. Nothing heavy is imported before a command needs it, so that --help is quick.
"""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inversion.settings import DEFAULT_PRESET, PRESETS, ProjectorSettings, preset
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from tqdm import tqdm

    from editing import Editor, PhotoSource, Recipe, SampleSource
    from gradctrl import Controls
    from inversion import Face, Inversion, Photo, Projector
    from stylegan2 import Generator

LATENT = ".latent.safetensors"
RECIPE = ".recipe.json"
RECIPE_KEY = "gradctrl"   # Of the recipe in a picture's metadata.
MAX_STRENGTH = 20.0       # Far beyond any face; more would only step for minutes.
MAX_TAG = 80              # Characters of a file name that tell the edit.
VIDEO_FRAMES = 24         # One way.
STRIP_PICTURES = 9
STRIP_REACH = 2.0         # Strengths of a strip, both ways; less where a control's limits are narrower.
SAMPLE_BATCH = 8
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # The next photo could not be written either.


# --- what all commands share ---


class _Commands(click.Group):
    """Turns an InputError into one line on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.ClickException(_line(error)) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).encode("utf-8", "replace").decode().splitlines())


def _note(text: str) -> None:
    click.echo(text, err=True)


def _options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator."""
    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function
    return apply


_generator_option = click.option("--generator", default="bundled", metavar="NAME|FILE",
                                 help="The generator: bundled, a name of `gradctrl weights list`, or a file "
                                      "(.safetensors; NVIDIA's .pkl; rosinality's .pt).")
_controls_option = click.option("--controls", default="bundled", metavar="NAME|FILE",
                                help="Its controls: bundled, a name of `gradctrl weights list`, a .safetensors file, "
                                     "or a folder as GradCtrl's authors publish them.")
_device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                              help="Where to compute; auto takes a GPU if there is one.")
_threads_option = click.option("--threads", type=click.IntRange(min=1),
                               help="CPU threads.  [default: PyTorch's choice]")
_model_options = _options(_generator_option, _device_option, _threads_option)
_out_options = _options(
    click.option("--out", type=click.Path(path_type=Path), default=".", metavar="FOLDER",
                 help="Where the results go; made if it is missing."),
    click.option("--overwrite", is_flag=True, help="Replace results that are there already (never an input)."))
_face_option = click.option("--face", type=click.IntRange(min=0), metavar="N",
                            help="Which face of a photo with several: 0 is the largest.")
_seed = click.IntRange(0, 2**31 - 1)
_inversion_options = _options(
    click.option("--preset", "preset_name", type=click.Choice(list(PRESETS)),
                 help="How hard to look for the person: fast, balanced or faithful (more like the photo, a little "
                      f"harder to edit).  [default: {DEFAULT_PRESET}]"),
    click.option("--steps", type=click.IntRange(min=1), help="Steps of the inversion.  [default: the preset's]"),
    click.option("--space", type=click.Choice(["w", "w+"]),
                 help="w: one latent for the whole picture; w+: one for each layer.  [default: the preset's]"))


def _settings(preset_name: str | None, steps: int | None, space: str | None, seed: int | None) -> ProjectorSettings:
    given = {"steps": steps, "space": space, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    return preset(preset_name or DEFAULT_PRESET, **changes)


def _load_generator(source: str, device: str, threads: int | None) -> Generator:
    import stylegan2

    _set_threads(threads)
    return stylegan2.load(source, device=device)


def _set_threads(threads: int | None) -> None:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _load_controls(source: str) -> Controls:
    from gradctrl import Controls, import_authors, load_controls
    from weights.store import is_known, path_of

    if source == "bundled":
        return load_controls()
    path = path_of(source) if is_known(source) else Path(source)
    folder = path.parent if path.name == "model.pth" else path
    if folder.is_dir():
        return Controls(import_authors(folder), source=source)
    return load_controls(path)


def _bar(total: int, text: str, **more: Any) -> tqdm[Any]:
    """A progress bar on stderr; none where that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=text, disable=None, leave=False, dynamic_ncols=True, **more)


class _Outputs:
    """The files that a run writes: they replace nothing that the user has, unless --overwrite, and an input never.

    Names are claimed before the long work, so that it is not done in vain.
    """

    def __init__(self, folder: Path, inputs: Sequence[Path], overwrite: bool) -> None:
        self.folder, self.inputs, self.overwrite = folder, inputs, overwrite
        self.claimed: list[Path] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise InputError(f"{folder}: cannot write here ({error.strerror or error}); choose another folder with "
                             "--out") from error

    def claim(self, *names: str) -> list[Path]:
        """Paths for files to write.

        Raises:
            InputError: there is such a file already, or it is an input of this run, or another input's result.
        """
        paths = [self.folder / name for name in names]
        try:
            for path in paths:
                self._check(path)
        except OSError as error:  # A name that is too long.
            raise InputError(f"{path}: cannot be a file ({error.strerror or error}); rename the input") from error
        self.claimed += paths
        return paths

    def _check(self, path: Path) -> None:
        if any(_same(path, other) for other in self.inputs):
            raise InputError(f"{path}: is an input itself and is never overwritten; choose another folder with --out")
        if any(_same(path, other) for other in self.claimed):
            raise InputError(f"{path}: is the result of another input of the same name; run them one by one, with "
                             "another --out each")
        if path.is_dir():
            raise InputError(f"{path}: is a folder; rename it, or choose another folder with --out")
        if os.path.lexists(path) and not self.overwrite:
            raise InputError(f"{path}: is there already; choose another folder with --out, or replace it with "
                             "--overwrite")


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def _wrote(*paths: Path) -> None:
    for path in paths:
        click.echo(click.format_filename(path))


class _Run:
    """One command over several inputs: a bad one is reported in one line, and the rest go on."""

    def __init__(self) -> None:
        self.failed = 0
        self.stopped = False  # By Ctrl-C during an inversion.

    def over(self, items: Sequence[Path]) -> Iterator[Path]:
        for count, item in enumerate(items):
            if self.stopped:
                self.failed += 1
                _note(f"stopped: {len(items) - count} of {len(items)} inputs were not done")
                return
            yield item

    @contextmanager
    def attempt(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM:
                raise
            self.failed += 1
            _note(f"Error: {_line(error)}")

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """The first Ctrl-C sets `stopped`; a second one aborts, as one does elsewhere."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
            yield  # In the background of a shell Ctrl-C is not for us.
            return

        def first(number: int, frame: object) -> None:
            self.stopped = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, first)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def finish(self) -> None:
        if self.failed:
            raise click.exceptions.Exit(1)


@dataclass(frozen=True, eq=False)
class _Target:
    """One chosen face of one photo."""

    photo: Photo
    face: Face
    index: int
    stem: str  # Begins the names of its results: the photo's, with the face's number where there are several.


def _open_target(path: Path, index: int | None) -> _Target:
    from inversion import choose_face, find_faces, open_photo

    photo = open_photo(path, name=str(path))
    faces = find_faces(photo)
    face = choose_face(faces, index, name=photo.name)
    return _Target(photo, face, index or 0, path.stem if len(faces) == 1 else f"{path.stem}-face{index}")


def _invert(run: _Run, projector: Projector, targets: Sequence[_Target],
            settings: ProjectorSettings) -> list[Inversion]:
    from inversion import Progress, align

    crops = [align(target.photo, target.face, projector.generator.resolution) for target in targets]
    text = targets[0].stem if len(targets) == 1 else f"{len(targets)} faces"
    with run.stoppable(), _bar(settings.steps, text, unit="step") as bar:
        def show(progress: Progress) -> None:
            bar.set_postfix_str("LPIPS " + " ".join(f"{value:.3f}" for value in progress.lpips[:4]), refresh=False)
            bar.update(progress.step - bar.n)

        found = projector.invert_batch(crops, settings=settings, every=2, on_step=show,
                                       should_stop=lambda: run.stopped)
    records = [record.of_photo(target.photo.sha256, target.face.quad)
               for record, target in zip(found, targets, strict=True)]
    for record, target in zip(records, targets, strict=True):
        _tell(record, target.photo.name)
    return records


def _tell(record: Inversion, name: str) -> None:
    """How an inversion went."""
    from inversion import SAME_PERSON

    identity = "" if record.identity is None else f", identity distance {record.identity:.2f}"
    _note(f"{name}: LPIPS {record.lpips:.3f}{identity}, {record.seconds:.1f} s")
    if record.steps < record.settings.steps:
        _note(f"{name}: stopped after {record.steps} of {record.settings.steps} steps; the best so far is kept")
    if record.identity is not None and record.identity > SAME_PERSON:
        remedy = "try --preset faithful, or" if record.settings.space == "w" else "try"
        _note(f"Warning: {name}: may not look like the person (identity distance {record.identity:.2f}, below "
              f"{SAME_PERSON} is the same person); {remedy} a sharper, more frontal photo")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100,
                                              "show_default": True})
@click.version_option(package_name="gradctrl", prog_name="gradctrl")
def main() -> None:
    """Edit real face photos: the same person smiling, older, with other hair, turned to the side.

    Everything runs on this machine, and with no network: a small generator and its controls come with the program.

    \b
    Examples:
      gradctrl edit me.jpg --set smile=1.5           the face, smiling
      gradctrl edit me.jpg --set smile=1.5 --paste   the whole photo, smiling
      gradctrl attributes                            what can be changed
      gradctrl app                                   the same in a page in your browser

    `gradctrl COMMAND --help` explains a command.
    """


# --- align and invert ---


@main.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@_face_option
@click.option("--all-faces", is_flag=True, help="Cut out every face.")
@click.option("--size", type=click.IntRange(16, 4096), default=256, help="Side of the crop in pixels.")
@_out_options
def align(photos: tuple[Path, ...], face: int | None, all_faces: bool, size: int, out: Path, overwrite: bool) -> None:
    """Cut faces out of photos: level, centred, square.

    Writes PHOTO-face.png; for a photo with several faces PHOTO-face0.png, PHOTO-face1.png and so on, the largest first.

    \b
    Examples:
      gradctrl align me.jpg --size 512
      gradctrl align party.jpg --all-faces --out faces
    """
    from inversion import align as align_face
    from inversion import choose_face, find_faces, open_photo, save_picture

    if all_faces and face is not None:
        raise click.UsageError("--face and --all-faces do not go together; give one of them")
    run, outputs = _Run(), _Outputs(out, photos, overwrite)
    for path in run.over(photos):
        with run.attempt():
            photo = open_photo(path, name=str(path))
            faces = find_faces(photo)
            if not all_faces:
                choose_face(faces, face, name=photo.name)
            for index in range(len(faces)) if all_faces else [face or 0]:
                with run.attempt():
                    number = index if len(faces) > 1 else ""
                    crop = align_face(photo, faces[index], size)
                    [target] = outputs.claim(f"{path.stem}-face{number}.png")
                    save_picture(target, crop)
                    _wrote(target)
    run.finish()


@main.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PHOTO...")
@_face_option
@_inversion_options
@click.option("--batch", type=click.IntRange(min=1), default=1,
              help="Faces inverted at once; more pay on a GPU and change no result.")
@click.option("--seed", type=_seed, default=0, help="Where the search begins; the same seed gives the same result.")
@_out_options
@_model_options
def invert(photos: tuple[Path, ...], face: int | None, preset_name: str | None, steps: int | None, space: str | None,
           batch: int, seed: int, out: Path, overwrite: bool, generator: str, device: str, threads: int | None) -> None:
    """Find the latents whose pictures are the faces in photos.

    Writes PHOTO.latent.safetensors, which `gradctrl edit` takes in place of the photo, and PHOTO-inverted.png. Tells
    how near the picture came: LPIPS (0 is equal), and the identity distance (below 0.6 is the same person).

    Ctrl-C keeps the best so far of the running inversion and ends; again, it aborts.

    \b
    Examples:
      gradctrl invert me.jpg --preset faithful
      gradctrl invert holiday/*.jpg --out latents
    """
    from inversion import Projector, save_inversion, save_picture

    settings = _settings(preset_name, steps, space, seed)
    run, outputs = _Run(), _Outputs(out, photos, overwrite)
    projector = Projector(_load_generator(generator, device, threads), settings)
    waiting: list[tuple[_Target, list[Path]]] = []

    def invert_waiting() -> None:
        batch_now = waiting.copy()
        waiting.clear()
        if not batch_now:
            return
        records = _invert(run, projector, [target for target, _ in batch_now], settings)
        for record, (_, paths) in zip(records, batch_now, strict=True):
            with run.attempt():
                save_inversion(paths[0], record)
                save_picture(paths[1], record.picture)
                _wrote(*paths)

    for path in run.over(photos):
        with run.attempt():
            target = _open_target(path, face)
            waiting.append((target, outputs.claim(f"{target.stem}{LATENT}", f"{target.stem}-inverted.png")))
        if len(waiting) == batch:
            invert_waiting()
    invert_waiting()
    run.finish()


# --- edit ---


@dataclass(frozen=True)
class _Change:
    """What is done to each latent; the fields that `Editor.edit` takes."""

    strengths: dict[str, float]
    keep: Any = None  # dict of channel counts, tuple of names, or None.
    layers: tuple[int, int] | None = None
    step: float | None = None

    @property
    def how(self) -> dict[str, Any]:
        return {"keep": self.keep, "layers": self.layers, "step": self.step}

    @property
    def tag(self) -> str:
        """For file names: -smile+1.5-hair-blond+1."""
        tag = "".join(f"-{name.replace(':', '-')}{strength:+g}" for name, strength in self.strengths.items())
        short = sha256(tag.encode()).hexdigest()[:8]
        return tag if len(tag) <= MAX_TAG else f"-{len(self.strengths)}-attributes-{short}"

    def check(self, editor: Editor) -> None:
        """Refuse what the editor would refuse, before the long work, by a trial at the mean w.

        Raises:
            InputError: an unknown attribute, or a strength or layer range out of reach.
        """
        for name, strength in self.strengths.items():
            if not abs(strength) <= MAX_STRENGTH:
                raise InputError(f"{name}={strength:g}: too strong; 1 flips the attribute of a typical face, use "
                                 f"-{MAX_STRENGTH:g} to {MAX_STRENGTH:g}")
        editor.set_latent(editor.generator.mapping.w_avg)
        editor.edit_latent(self.strengths, **self.how)
        for name, strength in self.strengths.items():
            low, high = editor.controls.find(name.partition(":")[0]).limits
            if not low <= strength <= high:
                _note(f"Warning: {name}={strength:g}: beyond {low:g} to {high:g} pictures may fall apart")


@dataclass(frozen=True)
class _Subject:
    """What is edited. `latent` does the long work, and tells the source for the recipe, or None where none can tell."""

    stem: str
    latent: Callable[[], tuple[Tensor | Inversion, PhotoSource | SampleSource | None]]
    target: _Target | None = None


class _Assignment(click.ParamType):
    """ATTRIBUTE=STRENGTH."""

    name = "attribute=strength"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        attribute, equals, strength = str(value).partition("=")
        try:
            number = float(strength)
        except ValueError:
            number = math.nan
        if not attribute.strip() or not equals or not math.isfinite(number):
            self.fail(f"{value!r}: write ATTRIBUTE=STRENGTH, as in smile=1.5 or hair:blond=1, one for each --set")
        return attribute.strip(), number


class _KeepList(click.ParamType):
    """age,eyeglasses or smile:100,age:50 or none."""

    name = "attributes"

    def convert(self, value: Any, param: click.Parameter | None,
                ctx: click.Context | None) -> tuple[str, ...] | dict[str, int]:
        if not isinstance(value, str):
            return value
        parts = [] if value.strip() == "none" else [part.strip() for part in value.split(",")]
        if all(re.fullmatch(r"[^:\s]+", part) for part in parts):
            return tuple(parts)
        counts = [re.fullmatch(r"([^:\s]+):(\d{1,6})", part) for part in parts]
        if not all(counts):
            self.fail(f"{value!r}: write names (age,eyeglasses), or a channel count for each (age:50,smile:100), or "
                      "none")
        return {found[1]: int(found[2]) for found in counts if found}


class _LayerRange(click.ParamType):
    """START:STOP."""

    name = "start:stop"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", str(value).strip())
        if not found:
            self.fail(f"{value!r}: write START:STOP, as in 2:8")
        return int(found[1]), int(found[2])


@main.command()
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path), metavar="[INPUT]...")
@click.option("--set", "assignments", type=_Assignment(), multiple=True, metavar="ATTRIBUTE=STRENGTH",
              help="What to change and how much; may be given several times. 1 flips the attribute of a typical face, "
                   "-1 goes as far the other way. `gradctrl attributes` lists them.")
@click.option("--keep", type=_KeepList(), metavar="LIST",
              help="What must stay: age,eyeglasses; or with channel counts smile:100,age:50; or none.  [default: each "
                   "control's own list]")
@click.option("--layers", type=_LayerRange(), metavar="START:STOP",
              help="Layers that the edit replaces; early ones shape, late ones colour.  [default: each control's own]")
@click.option("--step", type=click.FloatRange(0.01, 10.0), help="Step length in W.  [default: each control's own]")
@click.option("--paste/--crop", default=False, help="Write the whole photo with the face put back, or the face alone.")
@click.option("--format", "ending", type=click.Choice(["png", "jpg", "webp"]), default="png",
              help="Of the picture; with png the rest of a photo stays bit for bit.")
@click.option("--strip", "with_strip", is_flag=True, help="Also write each attribute at growing strengths.")
@click.option("--video", type=click.Choice(["gif", "mp4"]), help="Also write the way from the source to the edit.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), metavar="FILE",
              help="Make the picture of a recipe again: a .recipe.json, or a picture that this program wrote.")
@click.option("--photo", "photo_file", type=click.Path(path_type=Path), metavar="FILE",
              help="The photo that a .latent.safetensors was inverted from, for --paste and for the recipe.")
@_face_option
@_inversion_options
@click.option("--seed", type=_seed,
              help="Of the inversion (0 unless given); without an INPUT, of a synthetic person.")
@click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=0.7,
              help="Synthetic person: 1 is as varied as the generator can, less is more typical.")
@_out_options
@_controls_option
@_model_options
@click.pass_context
def edit(ctx: click.Context, inputs: tuple[Path, ...], recipe_file: Path | None, photo_file: Path | None,
         generator: str, controls: str, device: str, threads: int | None, out: Path, overwrite: bool,
         **options: Any) -> None:
    """Change faces: smile, age, hair colour and more.

    INPUT is a photo, or the .latent.safetensors of `gradctrl invert`; with --seed and no INPUT, a synthetic person.
    Writes NAME-smile+1.5.png (with --paste NAME-smile+1.5-photo.png), and beside it the recipe, which makes the same
    picture again and is also stored in the picture.

    An inversion takes most of the time. To try many edits of a photo, run `gradctrl invert` once and edit its latent.

    \b
    Examples:
      gradctrl edit me.jpg --set smile=1.5 --paste
      gradctrl edit me.jpg --set age=1 --set hair:blond=1 --keep gender,smile --strip
      gradctrl edit me.latent.safetensors --photo me.jpg --set age=-1 --paste
      gradctrl edit --seed 3 --set smile=-1 --video gif
      gradctrl edit me.jpg --recipe me-smile+1.5.recipe.json
    """
    _check_usage(ctx, inputs, recipe_file, photo_file, options)
    recipe = _read_recipe(recipe_file) if recipe_file else None
    outputs = _Outputs(out, [*inputs, *(path for path in (recipe_file, photo_file) if path)], overwrite)
    editor = _make_editor(generator, controls, device, threads)
    if recipe is not None:
        recipe.check(editor)
        change = _Change(dict(recipe.strengths), recipe.keep, recipe.layers, recipe.step)
    else:
        change = _Change(dict(options["assignments"]), options["keep"], options["layers"], options["step"])
    change.check(editor)
    run = _Run()
    subject_of = _subjects(run, editor, recipe, photo_file, options)
    for path in run.over(inputs or (Path(),)):
        with run.attempt():
            _write_edit(editor, subject_of(path if inputs else None), change, outputs, options,
                        with_recipe=recipe is None)
    run.finish()


def _check_usage(ctx: click.Context, inputs: Sequence[Path], recipe_file: Path | None, photo_file: Path | None,
                 options: dict[str, Any]) -> None:
    names = [name for name, _ in options["assignments"]]
    if recipe_file:
        of_recipe = {"assignments": "--set", "keep": "--keep", "layers": "--layers", "step": "--step",
                     "face": "--face", "preset_name": "--preset", "steps": "--steps", "space": "--space",
                     "seed": "--seed", "truncation": "--truncation"}
        given = [flag for name, flag in of_recipe.items()
                 if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"the recipe says it all; leave out {', '.join(given)}")
        if photo_file:
            raise click.UsageError("give the recipe's photo as INPUT, in place of --photo")
        return
    if not names:
        raise click.UsageError("say what to change, as in --set smile=1.5; `gradctrl attributes` lists what can be")
    if len(set(names)) < len(names):
        raise click.UsageError("an attribute is set twice; give each one once")
    if not inputs and options["seed"] is None:
        raise click.UsageError("give a photo or a .latent.safetensors, or --seed N for a synthetic person")
    if not inputs and options["paste"]:
        raise click.UsageError("a synthetic person has no photo to be put back into; leave out --paste")
    if photo_file and (len(inputs) != 1 or not _is_latent(inputs[0])):
        raise click.UsageError("--photo goes with one .latent.safetensors as INPUT")


def _is_latent(path: Path) -> bool:
    return path.suffix == ".safetensors"


def _read_recipe(path: Path) -> Recipe:
    from editing import load_recipe, parse_recipe
    from inversion import read_picture_metadata

    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        return load_recipe(path)
    text = read_picture_metadata(path).get(RECIPE_KEY)
    if text is None:
        raise InputError(f"{path}: holds no recipe; give a .recipe.json, or a picture as this program wrote it")
    return parse_recipe(text, name=str(path))


def _make_editor(generator: str, controls: str, device: str, threads: int | None) -> Editor:
    from editing import Editor

    found = _load_controls(controls)
    if found.generator_hash is None:
        _note(f"Warning: {controls}: does not say which generator it belongs to; with another one edits mean nothing")
    return Editor(_load_generator(generator, device, threads), found)


def _subjects(run: _Run, editor: Editor, recipe: Recipe | None, photo_file: Path | None,
              options: dict[str, Any]) -> Callable[[Path | None], _Subject]:
    """The function that makes a subject of each input (None: of a synthetic person)."""
    from editing import SampleSource
    from inversion import Projector

    projector = Projector(editor.generator)

    def subject_of(path: Path | None) -> _Subject:
        if recipe is not None:
            return _recipe_subject(run, projector, editor, recipe.source, path)
        if path is None:
            return _sample_subject(editor, SampleSource(seed=options["seed"], truncation=options["truncation"]))
        if _is_latent(path):
            return _latent_subject(editor, path, photo_file)
        settings = _settings(options["preset_name"], options["steps"], options["space"], options["seed"])
        return _photo_subject(run, projector, _open_target(path, options["face"]), settings)

    return subject_of


def _recipe_subject(run: _Run, projector: Projector, editor: Editor, source: PhotoSource | SampleSource,
                    path: Path | None) -> _Subject:
    from editing import SampleSource

    if isinstance(source, SampleSource):
        if path is not None:
            raise InputError(f"{path}: the recipe is of a synthetic person; leave the input out")
        return _sample_subject(editor, source)
    if path is None or _is_latent(path):
        raise InputError(f"the recipe edits the photo with SHA-256 {source.photo[:12]}; give that photo as INPUT")
    target = _open_target(path, source.face)
    if target.photo.sha256 != source.photo:
        raise InputError(f"{path}: this is not the recipe's photo (SHA-256 {source.photo[:12]}, this one has "
                         f"{target.photo.sha256[:12]}); give the file that was edited")
    return _photo_subject(run, projector, target, source.inversion)


def _photo_subject(run: _Run, projector: Projector, target: _Target, settings: ProjectorSettings) -> _Subject:
    def latent() -> tuple[Inversion, PhotoSource | None]:
        [record] = _invert(run, projector, [target], settings)
        return record, _source_of(record, target)

    return _Subject(target.stem, latent, target)


def _sample_subject(editor: Editor, source: SampleSource) -> _Subject:
    return _Subject(f"sample{source.seed}",
                    lambda: (editor.generator.sample([source.seed], truncation=source.truncation)[0], source))


def _latent_subject(editor: Editor, path: Path, photo_file: Path | None) -> _Subject:
    from inversion import load_inversion

    record = load_inversion(path, generator=editor.generator)
    target = _target_of(record, path, photo_file) if photo_file else None
    return _Subject(path.name.removesuffix(".safetensors").removesuffix(".latent"),
                    lambda: (record, _source_of(record, target) if target else None), target)


def _target_of(record: Inversion, path: Path, photo_file: Path) -> _Target:
    """The face of the photo that an inversion is of."""
    import numpy as np

    from inversion import find_faces, open_photo

    photo = open_photo(photo_file, name=str(photo_file))
    if photo.sha256 != record.photo_hash:
        raise InputError(f"{photo_file}: is not the photo that {path} was inverted from; give that photo")
    for index, face in enumerate(find_faces(photo)):
        if np.abs(face.quad - np.array(record.quad)).max() < 0.01 * face.size:
            return _Target(photo, face, index, path.stem)
    raise InputError(f"{photo_file}: the face of {path} is not found in it; invert the photo again")


def _source_of(record: Inversion, target: _Target) -> PhotoSource | None:
    """What a recipe says of an inversion; None for one that was stopped, as no settings make it again."""
    from editing import PhotoSource

    if record.steps < record.settings.steps:
        return None
    return PhotoSource(photo=target.photo.sha256, face=target.index, inversion=record.settings)


def _write_edit(editor: Editor, subject: _Subject, change: _Change, outputs: _Outputs, options: dict[str, Any], *,
                with_recipe: bool) -> None:
    """Edit one subject and write all that was asked for."""
    from editing import frames, save_recipe, save_video
    from inversion import save_picture

    if options["paste"] and subject.target is None:
        raise InputError(f"{subject.stem}: no photo to put the face back into; give it with --photo, or leave out "
                         "--paste")
    name = f"{subject.stem}{change.tag}"
    whole = f"{name}-photo" if options["paste"] else name
    names = {"picture": f"{whole}.{options['ending']}", "recipe": f"{whole}{RECIPE}" if with_recipe else None,
             "strip": f"{name}-strip.png" if options["with_strip"] else None,
             "video": f"{name}.{options['video']}" if options["video"] else None}
    wanted = [key for key, value in names.items() if value]
    paths = dict(zip(wanted, outputs.claim(*(value for value in names.values() if value)), strict=True))

    latent, source = subject.latent()
    editor.set_latent(latent)
    recipe = _recipe_of(editor, source, change) if source else None
    save_picture(paths["picture"], _picture(editor, subject.target if options["paste"] else None, change),
                 metadata={RECIPE_KEY: recipe.to_json()} if recipe else None)
    _wrote(paths["picture"])
    if recipe is None:
        _note(f"{subject.stem}: no recipe is stored, as none could make this again: the inversion was stopped, or the "
              "latent is given without its photo (--photo) or seed (--seed)")
    elif "recipe" in paths:
        save_recipe(paths["recipe"], recipe)
        _wrote(paths["recipe"])
    if "strip" in paths:
        save_picture(paths["strip"], _strips(editor, change))
        _wrote(paths["strip"])
    if "video" in paths:
        save_video(paths["video"], frames(editor, change.strengths, VIDEO_FRAMES, **change.how))
        _wrote(paths["video"])


def _recipe_of(editor: Editor, source: PhotoSource | SampleSource, change: _Change) -> Recipe:
    from editing import Recipe

    return Recipe(source=source, generator=editor.generator.hash, controls=editor.controls.hash,
                  strengths=change.strengths, **change.how)


def _picture(editor: Editor, target: _Target | None, change: _Change) -> np.ndarray:
    """The edited crop, or with a target the whole photo."""
    from inversion import paste_back

    edited = editor.edit(change.strengths, **change.how)
    return edited if target is None else paste_back(target.photo, target.face, edited, original=editor.edit({}))


def _strips(editor: Editor, change: _Change) -> np.ndarray:
    """A row for each attribute, over the strengths between which its pictures stay good."""
    import numpy as np

    from editing import strip

    rows = []
    for name in change.strengths:
        low, high = editor.controls.find(name.partition(":")[0]).limits
        strengths = np.linspace(max(low, -STRIP_REACH), min(high, STRIP_REACH), STRIP_PICTURES).tolist()
        rows.append(strip(editor, name, strengths, **change.how))
    return np.concatenate(rows)


# --- attributes and samples ---


@main.command()
@_controls_option
def attributes(controls: str) -> None:
    """List what can be changed, and what each change leaves alone.

    \b
    Example:
      gradctrl attributes
    """
    for control in _load_controls(controls).values():
        names = [control.name] if control.binary else [f"{control.name}:{name}" for name in control.classes]
        meaning = f"{control.classes[0]} (-) to {control.classes[1]} (+)" if control.binary else "one class at a time"
        kept = ", ".join(f"{name} {count}" for name, count in control.keep.items()) or "nothing"
        low, high = control.limits
        click.echo(f"{'  '.join(names)}\n    {meaning}; good from {low:g} to {high:g}; layers "
                   f"{control.layers[0]}:{control.layers[1]}\n    keeps (channels): {kept}")
    click.echo("\nUse them as in: gradctrl edit me.jpg --set NAME=1", err=True)


@main.command()
@click.option("--count", type=click.IntRange(1, 100_000), default=8, help="How many.")
@click.option("--seed", type=_seed, default=0, help="Seed of the first; the others follow.")
@click.option("--truncation", type=click.FloatRange(0.0, 1.5), default=0.7,
              help="1: as varied as the generator can; less is more typical.")
@click.option("--sheet", is_flag=True, help="Also write all of them as one picture.")
@_out_options
@_model_options
def sample(count: int, seed: int, truncation: float, sheet: bool, out: Path, overwrite: bool, generator: str,
           device: str, threads: int | None) -> None:
    """Draw synthetic people.

    Writes sampleSEED.png and sampleSEED.latent.safetensors for each seed. `gradctrl edit --seed SEED` edits the same
    person.

    \b
    Example:
      gradctrl sample --count 8 --seed 3 --sheet --out people
    """
    from inversion import Inversion, save_inversion, save_picture
    from stylegan2 import to_pixels

    seeds = range(seed, seed + count)
    outputs = _Outputs(out, [], overwrite)
    sheet_path = outputs.claim(f"samples{seeds[0]}-{seeds[-1]}.png") if sheet else []
    paths = [outputs.claim(f"sample{number}.png", f"sample{number}{LATENT}") for number in seeds]
    model = _load_generator(generator, device, threads)
    pictures: list[np.ndarray] = []
    with _bar(count, "samples", unit="sample") as bar:
        for start in range(0, count, SAMPLE_BATCH):
            latents = model.sample(seeds[start:start + SAMPLE_BATCH], truncation=truncation)
            rendered = to_pixels(model.render(latents))
            for latent, picture, (picture_path, latent_path) in zip(latents, rendered, paths[start:], strict=False):
                save_picture(picture_path, picture)
                save_inversion(latent_path, Inversion(  # Its own crop: nothing was lost in finding it.
                    latent=latent.float().cpu(), generator_hash=model.hash, crop=picture, picture=picture, lpips=0.0,
                    mse=0.0, identity=None, seconds=0.0, steps=0))
                _wrote(picture_path, latent_path)
                bar.update()
            if sheet:
                pictures.extend(rendered)
    if sheet_path:
        save_picture(sheet_path[0], _sheet(pictures))
        _wrote(*sheet_path)


def _sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures in rows, about as many rows as columns, white where there are too few."""
    import numpy as np

    from editing import join

    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    grid = np.full((rows * columns, *pictures[0].shape), 255, np.uint8)
    grid[:len(pictures)] = pictures
    return join(grid.reshape(rows, columns, *pictures[0].shape))


# --- files of weights ---


@main.group("weights")
def weights_group() -> None:
    """List, fetch and check the files that the program can use.

    \b
    Example:
      gradctrl weights list
    """


@weights_group.command("list")
def list_weights() -> None:
    """Show every file: whether it is here, its size, what it is and its licence.

    \b
    Example:
      gradctrl weights list
    """
    from weights.fetch import listing

    for status in listing():
        entry = status.entry
        state = "bundled" if entry.bundled else "here" if status.present else "to fetch"
        state = state if status.present or not entry.bundled else "MISSING"
        size = f"{entry.size / 1e6:.1f} MB" if entry.size else ""
        click.echo(f"{entry.name:26} {state:9} {size:>9}  {entry.what}\n{'':48}{entry.licence}")


@weights_group.command("fetch")
@click.argument("name")
@click.option("--force", is_flag=True, help="Get it again even if it is here.")
def fetch_weights(name: str, force: bool) -> None:
    """Get the file NAME, check its hash and store it.

    \b
    Example:
      gradctrl weights fetch stylegan2-ffhq
    """
    from weights.fetch import fetch

    with _bar(0, name, unit="B", unit_scale=True, unit_divisor=1000) as bar:
        def show(done: int, total: int) -> None:
            if total != (bar.total or 0) or done < bar.n:  # Another file or another source.
                bar.reset(total=total or None)
            bar.update(done - bar.n)

        path = fetch(name, on_progress=show, force=force)
    _wrote(path)


@weights_group.command("verify")
@click.argument("name", required=False)
def verify_weights(name: str | None) -> None:
    """Check the hash of the file NAME, or of all that are here.

    \b
    Example:
      gradctrl weights verify
    """
    from weights.fetch import verify

    found = verify(name)
    for status in found:
        if status.right:
            click.echo(f"{status.entry.name}: right")
        else:
            _note(f"Error: {status.entry.name}: {status.problem}")
    if not all(status.right for status in found):
        raise click.exceptions.Exit(1)


@weights_group.command("path")
@click.argument("name", required=False)
def path_of_weights(name: str | None) -> None:
    """Show where fetched files are stored, or where the file NAME is.

    The environment variable GRADCTRL_CACHE moves the folder.

    \b
    Example:
      gradctrl weights path
    """
    from weights.store import cache_dir, path_of

    _wrote(path_of(name) if name else cache_dir())


@main.command("convert")
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--half", is_flag=True, help="Store in half precision: half the size, almost the same pictures.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there already (never SOURCE).")
def convert_generator(source: str, out: Path, half: bool, overwrite: bool) -> None:
    """Write someone else's generator as safetensors, after which no pickle is needed.

    SOURCE is NVIDIA's .pkl (PyTorch or TensorFlow), rosinality's .pt, or a name of `gradctrl weights list`. Nothing
    that it names is run.

    \b
    Example:
      gradctrl convert ffhq.pkl ffhq.safetensors
    """
    from stylegan2 import convert
    from stylegan2.loading import find

    [path] = _Outputs(out.parent, [find(source)], overwrite).claim(out.name)
    convert(source, path, half=half)
    _wrote(path)


@main.command("app")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="Port of the page.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 lets others on your network in.")
@click.option("--share", is_flag=True, help="Make a public link through Gradio's servers.")
@_controls_option
@_model_options
def start_app(port: int, host: str, share: bool, controls: str, generator: str, device: str,
              threads: int | None) -> None:
    """Start the page in which photos are edited with sliders.

    \b
    Example:
      gradctrl app --port 8000
    """
    from app import launch

    _set_threads(threads)
    launch(host=host, port=port, share=share, generator=generator, controls=_load_controls(controls), device=device)


if __name__ == "__main__":
    main()
