"""The command edit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.console import Outputs, Run, note
from commands.edit_inputs import edit_inputs, is_latent
from commands.edit_outputs import check_targets, check_through, warn_beyond, write_edit, write_through
from commands.options import (
    INVERSION_SETTINGS,
    change_options,
    controls_option,
    face_option,
    file_options,
    inversion_options,
    model_options,
    open_generator,
    out_options,
    person_options,
    result_options,
)

if TYPE_CHECKING:
    from editing import Editor


@click.command()
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path), metavar="[INPUT]...")
@change_options
@result_options
@file_options
@face_option
@inversion_options
@person_options
@out_options
@controls_option
@model_options
@click.pass_context
def edit(ctx: click.Context, inputs: tuple[Path, ...], recipe_file: Path | None, photo_file: Path | None,
         generator: str, controls: str, device: str, threads: int | None, out: Path, overwrite: bool,
         **options: Any) -> None:
    """Change faces: smile, age, hair colour and more.

    INPUT is a photo, or the .latent.safetensors of `gradctrl invert`; with --seed and no INPUT, a synthetic person.
    Writes NAME-smile+1.5.png (with --paste NAME-smile+1.5-photo.png), and beside it the recipe, which makes the same
    picture again and is also stored in the picture. With --through it writes NAME-pose-left.png and so on for each
    class, and NAME-pose-strip.png with all of them.

    An inversion takes most of the time. To try many edits of a photo, run `gradctrl invert` once and edit its latent.

    \b
    Examples:
      gradctrl edit me.jpg --set smile=1.5 --paste
      gradctrl edit me.jpg --set age=1 --set pose=-0.5 --keep gender,smile --strip
      gradctrl edit me.latent.safetensors --photo me.jpg --set age=-1 --paste
      gradctrl edit --seed 3 --set smile=-1 --video gif
      gradctrl edit me.latent.safetensors --to smile --to age:old
      gradctrl edit me.latent.safetensors --through pose
      gradctrl edit me.jpg --recipe me-smile+1.5.recipe.json
    """
    from editing import Edit, load_recipe

    _check_usage(ctx, inputs, recipe_file, photo_file, options)
    recipe = load_recipe(recipe_file) if recipe_file else None
    outputs = Outputs(out, [*inputs, *(path for path in (recipe_file, photo_file) if path)], overwrite)
    edit = recipe.edit if recipe else Edit(
        strengths=dict(options["assignments"]),
        **{name: options[name] for name in ("keep", "layers", "step", "method")})
    named = ctx.get_parameter_source("controls") is click.core.ParameterSource.COMMANDLINE
    if edit.method is not None and not named:
        controls = edit.method
    editor = _make_editor(generator, controls, device, threads)
    if recipe is not None:
        recipe.check(editor)
    editor.check(edit)
    check_targets(editor, edit, options["targets"])
    for name, strength in edit.strengths.items():
        warn_beyond(editor, name, strength)
    if options["through"]:
        check_through(editor, options["through"], edit)
    run = Run()
    input_of = edit_inputs(run, editor, recipe, photo_file, options)
    for path in run.over(inputs or (Path(),)):
        with run.attempt():
            given = input_of(path if inputs else None)
            if options["through"]:
                write_through(editor, given, options["through"], edit, outputs, options)
            else:
                write_edit(editor, given, edit, outputs, options, with_recipe=recipe is None)
    run.finish()


def _check_usage(ctx: click.Context, inputs: Sequence[Path], recipe_file: Path | None, photo_file: Path | None,
                 options: dict[str, Any]) -> None:
    names = [*(name for name, _ in options["assignments"]), *options["targets"]]
    if recipe_file:
        of_recipe = {"assignments": "--set", "targets": "--to", "through": "--through", "method": "--method",
                     "keep": "--keep", "layers": "--layers", "step": "--step", "face": "--face",
                     "preset_name": "--preset", "truncation": "--truncation", **INVERSION_SETTINGS}
        given = [flag for name, flag in of_recipe.items()
                 if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"the recipe says it all; leave out {', '.join(given)}")
        if photo_file:
            raise click.UsageError("give the recipe's photo as INPUT, in place of --photo")
        return
    if options["through"]:
        given = [flag for flag, value in (("--set", options["assignments"]), ("--to", options["targets"]),
                                          ("--strip", options["with_strip"]), ("--video", options["video"])) if value]
        if given:
            raise click.UsageError(f"--through writes a picture of each class and a strip; leave out "
                                   f"{', '.join(given)}")
    elif not names:
        raise click.UsageError("say what to change, as in --set smile=1.5; `gradctrl attributes` lists what can be")
    if len(set(names)) < len(names):
        raise click.UsageError("an attribute is set twice; give each one once")
    if not inputs and options["seed"] is None:
        raise click.UsageError("give a photo or a .latent.safetensors, or --seed N for a synthetic person")
    if not inputs and options["paste"]:
        raise click.UsageError("a synthetic person has no photo to be put back into; leave out --paste")
    if photo_file and (len(inputs) != 1 or not is_latent(inputs[0])):
        raise click.UsageError("--photo goes with one .latent.safetensors as INPUT")


def _make_editor(generator: str, controls: str, device: str, threads: int | None) -> Editor:
    from directions import load
    from editing import Editor

    loaded = load(controls)
    if not loaded.spaces:
        note(f"Warning: {controls}: does not say which space it belongs to; with another generator edits mean nothing")
    return Editor(open_generator(generator, device, threads), loaded)
