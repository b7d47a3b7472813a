"""What an edit writes: the picture, its recipe, strip and video."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from commands.console import Outputs, note, wrote
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


def write_edit(editor: Editor, given: EditInput, edit: Edit, outputs: Outputs, options: dict[str, Any], *,
               with_recipe: bool) -> None:
    """Edit one input and write all that was asked for."""
    from editing import RECIPE_KEY, Recipe, frames, save_recipe, save_video
    from inversion import save_picture

    _check_paste(given, options)
    name = f"{given.stem}{_tag(edit, options['targets'])}"
    whole = f"{name}-photo" if options["paste"] else name
    names = {"picture": f"{whole}.{options['ending']}", "recipe": f"{whole}{RECIPE}" if with_recipe else None,
             "strip": f"{name}-strip.png" if options["with_strip"] else None,
             "video": f"{name}.{options['video']}" if options["video"] else None}
    wanted = [key for key, value in names.items() if value]
    paths = dict(zip(wanted, outputs.claim(*(value for value in names.values() if value)), strict=True))

    latent, source = given.latent()
    editor.set_latent(latent)
    edit = _with_targets(editor, edit, options["targets"], given.stem)
    recipe = Recipe.of(source, editor.generator, editor.controls, edit) if source else None
    face = given.face if options["paste"] else None
    save_picture(paths["picture"], _put_back(editor, face, editor.edit(edit)),
                 metadata={RECIPE_KEY: recipe.to_json()} if recipe else None, mark=options["mark"],
                 like=face.photo if face else None)
    wrote(paths["picture"])
    if recipe is None:
        note(f"{given.stem}: no recipe is stored, as none could make this again: the inversion was stopped, or the "
             "latent is given without its photo (--photo) or seed (--seed)")
    elif "recipe" in paths:
        save_recipe(paths["recipe"], recipe)
        wrote(paths["recipe"])
    if "strip" in paths:
        save_picture(paths["strip"], _strips(editor, edit), mark=options["mark"])
        wrote(paths["strip"])
    if "video" in paths:
        save_video(paths["video"], frames(editor, edit, VIDEO_FRAMES, side=editor.generator.side_for(VIDEO_SIDE)))
        wrote(paths["video"])


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

    _check_paste(given, options)
    control = editor.controls.control(name)
    ending = f"-photo.{options['ending']}" if options["paste"] else f".{options['ending']}"
    stems = [f"{given.stem}-{in_file_name(f'{name}:{class_name}')}" for class_name in control.classes]
    *paths, strip_path = outputs.claim(*(f"{stem}{ending}" for stem in stems), f"{given.stem}-{name}-strip.png")
    latent, _ = given.latent()
    editor.set_latent(latent)
    before = int(control.predict(editor.states(control, layers=edit.layers))[0])
    note(f"{given.stem}: {name} is {control.classes[before]}")
    pictures = [editor.render(edited, with_tone=control.keeps_tone)[0] for edited in through(editor, name, edit)]
    face = given.face if options["paste"] else None
    for path, picture in zip(paths, pictures, strict=True):
        save_picture(path, _put_back(editor, face, picture), mark=options["mark"], like=face.photo if face else None)
        wrote(path)
    save_picture(strip_path, np.concatenate(pictures, axis=1), mark=options["mark"])
    wrote(strip_path)


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
    low, high = editor.controls.find(name.partition(":")[0]).limits
    if strength and not low <= strength <= high:
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


def _check_paste(given: EditInput, options: dict[str, Any]) -> None:
    if options["paste"] and given.face is None:
        raise InputError(given.stem, "no photo to put the face back into",
                         "give it with --photo, or leave out --paste")


def _put_back(editor: Editor, face: ChosenFace | None, edited: np.ndarray) -> np.ndarray:
    """The picture, or with a face the whole photo."""
    return edited if face is None else face.paste_back(editor.edit({}))(edited)


def _strips(editor: Editor, edit: Edit) -> np.ndarray:
    """A row for each attribute, over the strengths between which its pictures stay good."""
    import numpy as np

    from editing import strip

    rows = []
    for name in edit.strengths:
        low, high = editor.controls.find(name.partition(":")[0]).limits
        strengths = np.linspace(max(low, -STRIP_REACH), min(high, STRIP_REACH), STRIP_PICTURES).tolist()
        rows.append(strip(editor, name, strengths, edit, side=editor.generator.side_for(STRIP_SIDE)))
    return np.concatenate(rows)
