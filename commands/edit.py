"""The command edit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.checks import check_controls, check_files, check_generator, check_inputs, is_latent
from commands.console import Outputs, Run, note
from commands.edit_inputs import edit_inputs
from commands.edit_outputs import (
    check_centred,
    check_targets,
    check_through,
    warn_beyond,
    write_edit,
    write_through,
)
from commands.options import (
    INVERSION_SETTINGS,
    all_faces_option,
    change_options,
    class_option,
    controls_option,
    face_option,
    file_options,
    inversion_options,
    model_options,
    open_controls,
    open_generator,
    out_options,
    person_options,
    result_options,
)

if TYPE_CHECKING:
    from editing import Edit, Editor, Recipe

OF_EDIT = {"assignments": "--set", "targets": "--to", "through": "--through", "method": "--method", "keep": "--keep",
           "layers": "--layers", "step": "--step", "centred": "--centred"}
OF_SOURCE = {"face": "--face", "all_faces": "--all-faces", "preset_name": "--preset", "truncation": "--truncation",
             **INVERSION_SETTINGS}


@click.command()
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path), metavar="[INPUT]...")
@change_options
@result_options
@file_options
@face_option
@all_faces_option
@inversion_options
@person_options
@out_options
@controls_option
@class_option
@model_options
@click.pass_context
def edit(ctx: click.Context, inputs: tuple[Path, ...], recipe_file: Path | None, like_file: Path | None,
         photo_file: Path | None, generator: str, controls: str, class_name: str | None, device: str,
         threads: int | None, out: Path, overwrite: bool, **options: Any) -> None:
    """Change faces: smile, age, hair colour and more.

    INPUT is a photo, or the .latent.safetensors of `gradctrl invert`; with --seed and no INPUT, a synthetic person.
    Writes NAME-smile+1.5.png, the whole photo (with --crop NAME-smile+1.5-crop.png, the face alone), and beside it the
    recipe, which makes the same picture again and is also stored in the picture. With --through it writes
    NAME-pose-left.png and so on for each class, and NAME-pose-strip.png with all of them.

    An inversion takes most of the time. To try many edits of a photo, run `gradctrl invert` once and edit its latent.

    \b
    Examples:
      gradctrl edit me.jpg --set smile=1.5
      gradctrl edit me.jpg --set age=1 --set pose=-0.5 --keep gender,smile --strip
      gradctrl edit party.jpg --all-faces --set smile=1
      gradctrl edit me.latent.safetensors --photo me.jpg --set age=-1
      gradctrl edit --seed 3 --set smile=-1 --video gif
      gradctrl edit me.latent.safetensors --to smile --to age:old
      gradctrl edit me.latent.safetensors --through pose
      gradctrl edit me.jpg --recipe me-smile+1.5.recipe.json
      gradctrl edit you.jpg --like me-smile+1.5.recipe.json
    """
    _check_usage(ctx, inputs, recipe_file, like_file, photo_file, options)
    named = ctx.get_parameter_source("controls") is click.core.ParameterSource.COMMANDLINE
    if options["method"] is not None and not named:
        controls = options["method"]
    given = [path for path in (recipe_file, like_file, photo_file) if path]
    _check_arguments(inputs, given, generator, controls, options)
    outputs = Outputs(out, [*inputs, *given], overwrite)
    recipe, edit = _wanted(recipe_file, like_file, options)
    if edit.method is not None and not named:
        controls = edit.method
    editor = _make_editor(generator, controls, device, threads, class_name, recipe if recipe_file else None)
    if recipe is not None and recipe_file:
        recipe.check(editor)
    elif recipe is not None and recipe.controls != editor.controls.hash:
        note(f"Warning: {like_file}: was made with other controls than {controls}, whose strengths may go farther or "
             "less far")
    editor.check(edit)
    check_targets(editor, edit, options["targets"])
    if options["centred"]:
        check_centred(editor, edit)
    for name, strength in edit.strengths.items():
        warn_beyond(editor, name, strength)
    if options["through"]:
        check_through(editor, options["through"], edit)
    run = Run()
    inputs_of = edit_inputs(run, editor, recipe if recipe_file else None, photo_file, options)
    for path in run.over(inputs or (Path(),)):
        with run.attempt():
            faces = inputs_of(path if inputs else None)
            if options["through"]:
                write_through(editor, faces[0], options["through"], edit, outputs, options)
            else:
                write_edit(editor, faces, edit, outputs, options, run, with_recipe=not recipe_file)
    run.finish()


def _check_usage(ctx: click.Context, inputs: Sequence[Path], recipe_file: Path | None, like_file: Path | None,
                 photo_file: Path | None, options: dict[str, Any]) -> None:
    def used(flags: dict[str, str]) -> list[str]:
        return [flag for name, flag in flags.items()
                if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]

    names = [*(name for name, _ in options["assignments"]), *options["targets"]]
    if recipe_file or like_file:
        idle = used(OF_EDIT | (OF_SOURCE | {"like_file": "--like"} if recipe_file else {}))
        if idle:
            raise click.UsageError(f"the recipe says it all; leave out {', '.join(idle)}")
    if recipe_file:
        if photo_file:
            raise click.UsageError("give the recipe's photo as INPUT, in place of --photo")
        return
    if options["through"]:
        idle = used({"assignments": "--set", "targets": "--to", "with_strip": "--strip", "video": "--video",
                     "all_faces": "--all-faces", "centred": "--centred"})
        if idle:
            raise click.UsageError(f"--through writes a picture of each class and a strip, of one face; leave out "
                                   f"{', '.join(idle)}")
    elif not names and not like_file:
        raise click.UsageError("say what to change, as in --set smile=1.5; `gradctrl attributes` lists what can be")
    if options["all_faces"] and options["face"] is not None:
        raise click.UsageError("--face and --all-faces do not go together; give one of them")
    if len(set(names)) < len(names):
        raise click.UsageError("an attribute is set twice; give each one once")
    if not inputs and options["seed"] is None:
        raise click.UsageError("give a photo or a .latent.safetensors, or --seed N for a synthetic person")
    if not inputs and options["paste"]:
        raise click.UsageError("a synthetic person has no photo to be put back into; leave out --paste")
    if photo_file and (len(inputs) != 1 or not is_latent(inputs[0])):
        raise click.UsageError("--photo goes with one .latent.safetensors as INPUT")


def _check_arguments(inputs: Sequence[Path], given: Sequence[Path], generator: str, controls: str,
                     options: dict[str, Any]) -> None:
    """Refuse what cannot be used, as far as that is seen without PyTorch.

    Raises:
        InputError: naming what was typed.
    """
    from directions import Edit

    check_inputs(inputs)
    check_files(*given)
    check_generator(generator)
    Edit(strengths=dict(options["assignments"]), step=options["step"]).check()
    check_controls(controls, changed=[*(name for name, _ in options["assignments"]), *options["targets"]],
                   kept=[*(options["keep"] or ()), *filter(None, [options["through"]])])


def _wanted(recipe_file: Path | None, like_file: Path | None, options: dict[str, Any]) -> tuple[Recipe | None, Edit]:
    """The recipe that --recipe or --like names, and the edit that is asked for."""
    from editing import Edit, load_recipe

    file = recipe_file or like_file
    if file is not None:
        recipe = load_recipe(file)
        return recipe, recipe.edit
    return None, Edit(strengths=dict(options["assignments"]),
                      **{name: options[name] for name in ("keep", "layers", "step", "method", "centred")})


def _make_editor(generator: str, controls: str, device: str, threads: int | None, class_name: str | None,
                 recipe: Recipe | None) -> Editor:
    """The editor; where a recipe is of another generator, that is told before what controls say of its space."""
    loaded = open_controls(controls)
    if not loaded.spaces:
        note(f"Warning: {controls}: does not say which space it belongs to; with another generator edits mean nothing")
    from editing import Editor

    model = open_generator(generator, device, threads, class_name)
    if recipe is not None:
        recipe.check_generator(model)
    return Editor(model, loaded)
