"""The command batch."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from commands.checks import check_controls, check_files, check_generator
from commands.console import Run, note, one_line, progress_bar, wrote
from commands.options import (
    INVERSION_SETTINGS,
    SEED,
    class_option,
    controls_option,
    how_options,
    model_options,
    picture_options,
    set_option,
    settings_of,
    settings_options,
    several,
)
from weights.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

    from batch import BatchJob, BatchPhoto, BatchResult, Row
    from batch.pool import Executor
    from directions import Edit

OF_EDIT = {"assignments": "--set", "like_file": "--like", "keep": "--keep", "layers": "--layers", "step": "--step",
           "method": "--method", "centred": "--centred"}
OF_INVERSION = {"preset_name": "--preset", "faces": "--faces", "like_face": "--like-face", "latents": "--latents",
                "share_pivot": "--share-pivot", "list_file": "--list", **INVERSION_SETTINGS}

what_options = several(
    set_option,
    click.option("--like", "like_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Edit as a recipe does: a .recipe.json, a picture that this program wrote, a batch's edit.json."),
    how_options,
    click.option("--only", type=click.Choice(["invert", "edit"]),
                 help="One stage alone: invert photos to latents; or edit the latents of such a folder or its ZIP."),
    click.option("--photos", "photos_folder", type=click.Path(path_type=Path), metavar="FOLDER",
                 help="With --only edit: the photos that were inverted, to put the faces back into them."))
which_options = several(
    click.option("--list", "list_file", type=click.Path(path_type=Path), metavar="FILE",
                 help="Also take the photos whose paths stand in a text file, one a line."),
    click.option("--faces", type=click.Choice(["largest", "all"]), default="largest",
                 help="Which faces of each photo."),
    click.option("--like-face", type=click.Path(path_type=Path), metavar="PHOTO",
                 help="Of each photo the face that looks like the largest one of this photo; others are left alone."),
    click.option("--share-pivot", is_flag=True,
                 help="The photos of a folder are numbered frames of one person: each inversion begins at that of the "
                      "first frame and shares its tuning."))
where_options = several(
    click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
                 help="Where the results go; what is done there already is not done again."),
    click.option("--resume/--no-resume", default=True, show_default=True,
                 help="Go on in a folder that has results of the same command; else refuse it."),
    click.option("--beside", is_flag=True,
                 help="If FOLDER has results of other settings, take FOLDER-2, FOLDER-3 and so on."),
    click.option("--retry-failed", is_flag=True, help="Try again what has failed in an earlier run."),
    click.option("--latents/--no-latents", default=True, show_default=True,
                 help="Keep each face's latent, of which other edits take moments (7 MB each)."),
    click.option("--sheets/--no-sheets", default=True, show_default=True,
                 help="Write contact sheets: faces before and after."),
    click.option("--measure/--no-measure", default=True, show_default=True,
                 help="Compare each edited face with the photo's: identity and the controls' scores."),
    click.option("--zip", "with_zip", is_flag=True, help="Also pack the results into FOLDER.zip."))
how_many_options = several(
    click.option("--workers", type=click.IntRange(min=1), metavar="N",
                 help="Photos that are worked on at once, each by a process of its own.  [default: one a GPU, or one "
                      "a processor]"),
    click.option("--executor", "executor_name", type=click.Choice(["serial", "processes", "ray"]),
                 help="Where they work: in this process, in others of this machine, on Ray.  [default: ray with "
                      "--address, serial with --workers 1, else processes]"),
    click.option("--address", metavar="ADDRESS", help="Of a running Ray cluster, or auto."),
    click.option("--shared/--per-node", default=True,
                 help="On a cluster: all machines see FOLDER; or each keeps its results in a folder of that path."),
    click.option("--at-once", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
                 help="Faces that a worker inverts together; 8 and more pay on a GPU."))


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@what_options
@which_options
@picture_options
@where_options
@how_many_options
@settings_options
@click.option("--seed", type=SEED, default=0, help="Of the inversions.")
@controls_option
@class_option
@model_options
@click.pass_context
def batch(ctx: click.Context, inputs: tuple[str, ...], **options: Any) -> None:
    """Edit folders of photos, on every core or a cluster.

    INPUT is a folder, with all below it; a photo; a pattern such as "holiday/**/*.jpg"; or a ZIP. Results keep the
    sub-folders and names: OUT/pictures/SUB/NAME-edited.png, OUT/latents/SUB/NAME.latent.safetensors, and of all photos
    together batch.csv and batch.jsonl, edit.json and contact sheets. A photo that cannot be edited is told of in the
    table, and stops nothing.

    The same command goes on where it was, whatever ended it. Ctrl-C finishes what is in hand; again, it aborts.

    \b
    Examples:
      gradctrl batch holiday --set smile=1 --out smiling
      gradctrl batch holiday --only invert --preset fast --out inverted
      gradctrl batch inverted --only edit --photos holiday --set age=1 --out older
      gradctrl batch frames --share-pivot --set smile=1 --out film
      gradctrl batch photos --set smile=1 --out out --address auto
    """
    _check_usage(ctx, inputs, options)
    if options["method"] is not None and not _given(ctx, {"controls": ""}):
        options["controls"] = options["method"]
    check_files(options["list_file"], options["like_file"], options["like_face"], options["photos_folder"])
    check_generator(options["generator"])
    check_controls(options["controls"], [name for name, _ in options["assignments"]], options["keep"] or ())
    job = _job_of(options)
    from batch.driver import folder_beside, run
    from batch.journal import settings_in

    out = folder_beside(options["out"], job) if options["beside"] else options["out"]
    if not options["resume"] and settings_in(out) is not None:
        raise InputError(out, "holds results already", "choose another folder, or let the batch go on (--resume)")
    command = Run()
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="gradctrl-", ignore_cleanup_errors=True)
        photos = _photos_of(inputs, options, out, Path(stack.enter_context(temporary), "photos"))
        bar = stack.enter_context(progress_bar(len(photos), "photos", unit="photo"))
        stack.enter_context(command.stoppable())
        result = run(job, photos, out, executor=_executor_of(options), on_row=_Progress(bar),
                     should_stop=lambda: command.stopped, retry_failed=options["retry_failed"])
    _tell(result, command.stopped)
    if options["with_zip"]:
        from batch.zips import pack

        wrote(pack(out, out.with_name(f"{out.resolve().name}.zip")))
    command.failed = result.count("failed") + result.count("cancelled")
    command.finish()


def _given(ctx: click.Context, flags: dict[str, str]) -> list[str]:
    """Those of some options that were typed."""
    return [flag for name, flag in flags.items()
            if name in ctx.params and ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]


def _check_usage(ctx: click.Context, inputs: tuple[str, ...], options: dict[str, Any]) -> None:
    only, names = options["only"], [name for name, _ in options["assignments"]]
    if not inputs and not options["list_file"]:
        raise click.UsageError("give a folder, photos, or a list of them with --list")
    if only == "invert" and (idle := _given(ctx, {**OF_EDIT, "photos_folder": "--photos", "paste": "--paste/--crop"})):
        raise click.UsageError(f"--only invert edits nothing; leave out {', '.join(idle)}")
    if only == "edit" and (idle := _given(ctx, OF_INVERSION)):
        raise click.UsageError(f"--only edit takes the latents as they are; leave out {', '.join(idle)}")
    if only == "edit" and len(inputs) != 1:
        raise click.UsageError("--only edit takes one folder, that of a batch with --only invert, or its ZIP")
    if only != "edit" and options["photos_folder"]:
        raise click.UsageError("--photos goes with --only edit; give photos as INPUT")
    if only == "edit" and options["paste"] and not options["photos_folder"]:
        raise click.UsageError("to put faces back, --only edit needs the photos: give them with --photos")
    if only != "invert" and not names and not options["like_file"]:
        raise click.UsageError("say what to change, as in --set smile=1.5; `gradctrl attributes` lists what can be")
    idle = _given(ctx, {name: flag for name, flag in OF_EDIT.items() if name != "like_file"})
    if options["like_file"] and idle:
        raise click.UsageError(f"the recipe says it all; leave out {', '.join(idle)}")
    if len(set(names)) < len(names):
        raise click.UsageError("an attribute is set twice; give each one once")
    if options["like_face"] and options["faces"] == "all":
        raise click.UsageError("--faces all and --like-face do not go together; give one of them")
    if options["address"] and options["executor_name"] not in (None, "ray"):
        raise click.UsageError("--address is Ray's; leave out --executor")


def _job_of(options: dict[str, Any]) -> BatchJob:
    from batch.job import BatchJob, Output, hash_of

    only: Literal["", "invert", "edit"] = options["only"] or ""
    paste = options["paste"] is not False and (only != "edit" or options["photos_folder"] is not None)
    outputs: list[Output] = [] if only == "invert" else ["photo" if paste else "crop"]
    if options["latents"] and only != "edit":
        outputs.append("latent")
    return BatchJob(
        **({} if only == "invert" else {"edit": _edit_of(options)}), only=only, outputs=tuple(outputs),
        settings=settings_of({**options, "seconds": None}), generator=options["generator"],
        class_name=options["class_name"] or "", generator_hash=hash_of(options["generator"]),
        controls=options["controls"], device=options["device"],
        controls_hash="" if only == "invert" else hash_of(options["controls"], "controls"),
        faces="like" if options["like_face"] else options["faces"], reference=_reference(options["like_face"]),
        ending=options["ending"], mark=options["mark"], measure=options["measure"], share_pivot=options["share_pivot"],
        at_once=options["at_once"], thumbnails=options["sheets"])


def _edit_of(options: dict[str, Any]) -> Edit:
    from directions import Edit

    if options["like_file"]:
        from batch.edits import load_edit

        return load_edit(options["like_file"]).edit
    edit = Edit(strengths=dict(options["assignments"]),
                **{name: options[name] for name in ("keep", "layers", "step", "method", "centred")})
    edit.check()
    return edit


def _reference(photo: Path | None) -> tuple[float, ...]:
    """dlib's descriptor of the largest face of a photo."""
    if photo is None:
        return ()
    from inversion import describe, find_upright, open_photo

    found, faces, _ = find_upright(open_photo(photo, name=str(photo)))
    return tuple(map(float, describe(found, faces[0])))


def _photos_of(inputs: tuple[str, ...], options: dict[str, Any], out: Path, unpacked: Path) -> list[BatchPhoto]:
    from batch.inputs import find_inverted, find_photos, read_list

    if options["only"] == "edit":
        return find_inverted(inputs[0], options["photos_folder"], unpacked=unpacked)
    listed = read_list(options["list_file"]) if options["list_file"] else []
    return find_photos([*inputs, *listed], without=[out], unpacked=unpacked)


def _executor_of(options: dict[str, Any]) -> Executor:
    workers, threads = options["workers"], options["threads"]
    name = options["executor_name"] or ("ray" if options["address"] else "serial" if workers == 1 else "processes")
    if name == "ray":
        from batch.ray_cluster import RayCluster

        return RayCluster(workers, address=options["address"], threads=threads, shared=options["shared"])
    if name == "processes":
        from batch.processes import Processes

        return Processes(workers, threads)
    from batch.worker import Serial
    from commands.options import set_threads

    set_threads(threads)
    return Serial()


class _Progress:
    """Counts the photos that have ended, with their rate and the time left; tells of those that failed."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self.bar, self.begun = bar, False
        self.ended: set[int] = set()

    def __call__(self, row: Row) -> None:
        from batch.job import ENDED

        if row.state not in ENDED:
            if row.state != "waiting" and not self.begun:
                self.begun, self.bar.start_t = True, time.time()
            return
        if row.state == "failed" and (self.begun or not row.warnings):
            self.bar.clear()
            note(f"Error: {one_line(row.name)}: {one_line(row.reason)}")
        if row.index not in self.ended:
            self.ended.add(row.index)
            if not self.begun and not self.bar.disable:
                self.bar.initial += 1  # By an earlier run, and so no part of the rate.
            self.bar.update()


def _tell(result: BatchResult, stopped: bool) -> None:
    from batch.job import ROWS, TABLE

    done, failed, cancelled = (result.count(state) for state in ("done", "failed", "cancelled"))
    new = done + failed - result.skipped
    rate = f", {new / result.seconds * 3600:.0f} an hour" if new > 0 else ""
    note(f"{done} done ({result.skipped} were already), {failed} failed; {result.seconds:.0f} s{rate}")
    if cancelled:
        why = "stopped" if stopped else "ended"
        note(f"{why}: {cancelled} photos were not done; the same command goes on with them")
    wrote(result.folder / TABLE, result.folder / ROWS)
