"""What an edit writes: the picture, its recipe, strip and video."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console import Outputs, Run, note, progress_bar
from commands.edit_inputs import EditInput
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from editing import ChosenFace, Edit, Editor

RECIPE = ".recipe.json"
VIDEO_FRAMES = 24        # One way.
VIDEO_SIDE = 512         # Of them, and
STRIP_SIDE = 256         # of a strip's pictures, in pixels, where the generator draws such.
STRIP_PICTURES = 9
STRIP_REACH = 2.0        # Strengths of a strip, both ways; less where a control's limits are narrower.
MAX_TAG = 80             # Characters of a file name that tell the edit.


def write_edit(editor: Editor, given: Sequence[EditInput], edit: Edit, outputs: Outputs, options: dict[str, Any],
               run: Run, *, with_recipe: bool) -> None:
    """Edit the faces of one input and write all that was asked for; those of one photo go into one picture."""
    from editing import Recipe, save_recipe
    from editing.recipe import recipe_texts
    from inversion import save_picture

    pasted, ending = _is_pasted(given[0], options), options["ending"]
    tag = _tag(edit, options["targets"])
    crop = "-crop" if given[0].face and not pasted else ""
    together = pasted and len(given) > 1
    plans = [{"picture": None if together else f"{one.stem}{tag}{crop}.{ending}",
              "recipe": f"{one.stem}{tag}{crop}{RECIPE}" if with_recipe else None,
              "strip": f"{one.stem}{tag}-strip.png" if options["with_strip"] else None,
              "video": f"{one.stem}{tag}.{options['video']}" if options["video"] else None} for one in given]
    claimed = iter(outputs.claim(*filter(None, [f"{given[0].whole}{tag}.{ending}" if together else None,
                                                *(name for plan in plans for name in plan.values())])))
    whole = next(claimed) if together else None
    paths = [{key: next(claimed) for key, name in plan.items() if name} for plan in plans]

    photo = given[0].face.photo if given[0].face else None
    recipes: list[Recipe] = []
    pixels = photo.pixels if photo is not None else None
    for one, path in zip(given, paths, strict=True):
        if run.stopped:
            break
        with run.attempt():
            latent, source = one.latent()
            editor.set_latent(latent)
            its_edit = _with_targets(editor, edit, options["targets"], one.stem)
            recipe = Recipe.of(source, editor.generator, editor.controls, its_edit) if source else None
            picture = editor.edit(its_edit)
            if pasted and one.face is not None and pixels is not None:
                pixels = picture = _put_back(editor, one.face, picture, pixels)
            recipes += [recipe] if recipe else []
            if "picture" in path:
                outputs.write(path["picture"], partial(
                    save_picture, picture=picture, metadata=recipe_texts([recipe] if recipe else []),
                    mark=options["mark"], like=photo if pasted else None))
            if recipe is None:
                note(f"{one.stem}: no recipe is stored, as none could make this again: the inversion was stopped, or "
                     "the latent is given without its photo (--photo) or seed (--seed)")
            elif "recipe" in path:
                outputs.write(path["recipe"], partial(save_recipe, recipe=recipe))
            _write_more(editor, its_edit, path, outputs, options)
    if whole is not None and photo is not None and pixels is not photo.pixels and pixels is not None:
        outputs.write(whole, partial(save_picture, picture=pixels, metadata=recipe_texts(recipes), mark=options["mark"],
                                     like=photo))


def _write_more(editor: Editor, edit: Edit, paths: Mapping[str, Path], outputs: Outputs,
                options: dict[str, Any]) -> None:
    """The strip and the video of an edit, if they were asked for."""
    from editing import frames, save_video
    from inversion import save_picture

    if "strip" in paths:
        outputs.write(paths["strip"], partial(save_picture, picture=strips(editor, edit), mark=options["mark"]))
    if "video" in paths:
        with progress_bar(VIDEO_FRAMES, "video", unit="frame") as bar:
            def show(count: int) -> None:
                bar.update(count - bar.n)

            drawn = frames(editor, edit, VIDEO_FRAMES, side=editor.generator.side_for(VIDEO_SIDE), on_frame=show)
        outputs.write(paths["video"], partial(save_video, pictures=drawn))


def check_centred(editor: Editor, edit: Edit) -> None:
    """Refuse an edit that --centred does not change.

    Raises:
        InputError: none of its strengths is of a direction that knows where the mean lies.
    """
    if all(direction.centre_of(target) is None
           for direction, target in (editor.controls.output_of(name) for name in edit.strengths)):
        raise InputError("--centred", "changes nothing here, where no direction knows the mean of W",
                         "leave it out, or set one of GANSpace's (`gradctrl discover edits`)")


def check_through(editor: Editor, name: str, edit: Edit) -> None:
    """Refuse what `write_through` would refuse, before the long work.

    Raises:
        InputError: no such attribute, or settings that the editor refuses.
    """
    for class_name in editor.controls.control(name).classes:
        editor.check(edit.with_strengths({editor.key_of(f"{name}:{class_name}"): 0.01}))


def write_through(editor: Editor, given: EditInput, name: str, edit: Edit, outputs: Outputs,
                  options: dict[str, Any]) -> None:
    """Write a picture of each class of an attribute, and all of them side by side.

    No recipe is written: a picture is several edits, one after the other.
    """
    import numpy as np

    from editing.increments import through
    from inversion import save_picture

    pasted = _is_pasted(given, options)
    control = editor.controls.control(name)
    ending = f"-crop.{options['ending']}" if given.face and not pasted else f".{options['ending']}"
    stems = [f"{given.stem}-{in_file_name(f'{name}:{class_name}')}" for class_name in control.classes]
    *paths, strip_path = outputs.claim(*(f"{stem}{ending}" for stem in stems), f"{given.stem}-{name}-strip.png")
    latent, _ = given.latent()
    editor.set_latent(latent)
    before = int(control.predict(editor.states(control, layers=edit.layers))[0])
    note(f"{given.stem}: {name} is {control.classes[before]}")
    pictures = [editor.render(edited, with_tone=control.keeps_tone)[0] for edited in through(editor, name, edit)]
    face = given.face if pasted else None
    for path, picture in zip(paths, pictures, strict=True):
        outputs.write(path, partial(
            save_picture, picture=_put_back(editor, face, picture, face.photo.pixels) if face else picture,
            mark=options["mark"], like=face.photo if face else None))
    outputs.write(strip_path, partial(save_picture, picture=np.concatenate(pictures, axis=1), mark=options["mark"]))


def check_targets(editor: Editor, edit: Edit, targets: Sequence[str]) -> None:
    """Refuse classes of --to that cannot be reached together, before the long work.

    Raises:
        InputError: an unknown class, or an attribute that is to be changed in two ways.
    """
    changed = [name.partition(":")[0] for name in edit.strengths]
    for name in targets:
        key = editor.key_of(name)
        if key.partition(":")[0] in changed:
            raise InputError(name, "its attribute is to be changed in two ways", "give it once")
        changed.append(key.partition(":")[0])
        editor.check(edit.with_strengths({key: 0.01}))


def _with_targets(editor: Editor, edit: Edit, targets: Sequence[str], stem: str) -> Edit:
    """The edit with the strengths at which the editor's latent reaches the targets of --to, each for itself.

    Raises:
        InputError: a target is out of reach.
    """
    if not targets:
        return edit
    from directions.edit import MOST_STRENGTH
    from editing.increments import REMEDY, round_up

    strengths = dict(edit.strengths)
    for name in targets:
        strength = float(round_up(editor.strengths_to(name, edit))[0])
        if not abs(strength) <= MOST_STRENGTH:
            far = f"even strength {MOST_STRENGTH:g}" if math.isfinite(strength) else "the longest way"
            raise InputError(stem, f"{name} is out of reach, {far} does not get there", REMEDY)
        note(f"{stem}: {name} reached at strength {strength:g}" if strength else f"{stem}: {name} is there already")
        strengths[editor.key_of(name)] = strength
        warn_beyond(editor, editor.key_of(name), strength)
    together = edit.with_strengths(strengths)
    _warn_missed(editor, stem, targets, together)
    return together


def warn_beyond(editor: Editor, name: str, strength: float) -> None:
    """Tell of a strength at which pictures may fall apart."""
    if not strength:
        return
    direction, target = editor.controls.output_of(name)
    low, high = direction.limits_of(target)
    if not low <= strength <= high:
        note(f"Warning: {name}={strength:g}: beyond {low:g} to {high:g} pictures may fall apart")


def _warn_missed(editor: Editor, stem: str, targets: Sequence[str], edit: Edit) -> None:
    """Tell of targets that are reached alone, but not together with the other changes."""
    edited = editor.displace(edit)
    for name in targets:
        control, class_index = editor.find(name, edit)
        x = editor.states(control, edited, layers=edit.layers)
        if len(edit.strengths) > 1 and float(control.score_of(x, class_index)) < control.margin(class_index):
            note(f"Warning: {stem}: {name} is not reached together with the other changes; set its strength by hand")


def _tag(edit: Edit, targets: Sequence[str]) -> str:
    """For file names: -smile+1.5-hair-blond+1-to-old."""
    tag = "".join(f"-{in_file_name(name)}{strength:+g}" for name, strength in edit.strengths.items())
    tag += "".join(f"-to-{in_file_name(name)}" for name in targets)
    short = sha256(tag.encode()).hexdigest()[:8]
    count = len(edit.strengths) + len(targets)
    return tag if len(tag) <= MAX_TAG else f"-{count}-attributes-{short}"


def in_file_name(name: str) -> str:
    """An attribute and its class without what a file's name should not have: hair-blond."""
    return re.sub(r"[^\w.+-]+", "-", name)


def _is_pasted(given: EditInput, options: dict[str, Any]) -> bool:
    """Whether the face is put back into its photo: where there is one, unless --crop says otherwise."""
    if options["paste"] and given.face is None:
        raise InputError(given.stem, "no photo to put the face back into",
                         "give it with --photo, or leave out --paste")
    return given.face is not None and options["paste"] is not False


def _put_back(editor: Editor, face: ChosenFace, edited: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The photo, as far as its other faces are edited in these pixels, with the edited face in it."""
    photo = replace(face.photo, pixels=pixels)
    return replace(face, photo=photo).paste_back(editor.edit({}))(edited)


def strips(editor: Editor, edit: Edit) -> np.ndarray:
    """A row for each attribute, over the strengths between which its pictures stay good."""
    import numpy as np

    from editing import strip

    rows = []
    for name in edit.strengths:
        direction, target = editor.controls.output_of(name)
        low, high = direction.limits_of(target)
        strengths = np.linspace(max(low, -STRIP_REACH), min(high, STRIP_REACH), STRIP_PICTURES).tolist()
        rows.append(strip(editor, name, strengths, edit, side=editor.generator.side_for(STRIP_SIDE)))
    return np.concatenate(rows)
