"""What an edit writes: the picture, its recipe, strip and video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.changes import Change, in_file_name
from commands.messages import note, wrote
from commands.outputs import Outputs
from commands.subjects import Subject
from commands.targets import Target
from weights.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from editing import Editor, PhotoSource, Recipe, SampleSource

RECIPE = ".recipe.json"
VIDEO_FRAMES = 24        # One way.
STRIP_PICTURES = 9
STRIP_REACH = 2.0        # Strengths of a strip, both ways; less where a control's limits are narrower.


def write_edit(editor: Editor, subject: Subject, change: Change, outputs: Outputs, options: dict[str, Any], *,
               with_recipe: bool) -> None:
    """Edit one subject and write all that was asked for."""
    from editing import RECIPE_KEY, frames, save_recipe, save_video
    from inversion import save_picture

    _check_paste(subject, options)
    name = f"{subject.stem}{change.tag}"
    whole = f"{name}-photo" if options["paste"] else name
    names = {"picture": f"{whole}.{options['ending']}", "recipe": f"{whole}{RECIPE}" if with_recipe else None,
             "strip": f"{name}-strip.png" if options["with_strip"] else None,
             "video": f"{name}.{options['video']}" if options["video"] else None}
    wanted = [key for key, value in names.items() if value]
    paths = dict(zip(wanted, outputs.claim(*(value for value in names.values() if value)), strict=True))

    latent, source = subject.latent()
    editor.set_latent(latent)
    change = change.found(editor, subject.stem)
    recipe = _recipe_of(editor, source, change) if source else None
    save_picture(paths["picture"], _picture(editor, subject.target if options["paste"] else None, change),
                 metadata={RECIPE_KEY: recipe.to_json()} if recipe else None, mark=options["mark"])
    wrote(paths["picture"])
    if recipe is None:
        note(f"{subject.stem}: no recipe is stored, as none could make this again: the inversion was stopped, or the "
             "latent is given without its photo (--photo) or seed (--seed)")
    elif "recipe" in paths:
        save_recipe(paths["recipe"], recipe)
        wrote(paths["recipe"])
    if "strip" in paths:
        save_picture(paths["strip"], _strips(editor, change), mark=options["mark"])
        wrote(paths["strip"])
    if "video" in paths:
        save_video(paths["video"], frames(editor, change.strengths, VIDEO_FRAMES, **change.how))
        wrote(paths["video"])


def check_through(editor: Editor, name: str, change: Change) -> None:
    """Refuse what `write_through` would refuse, before the long work.

    Raises:
        InputError: no such attribute, or settings that the editor refuses.
    """
    control = editor.controls.find(name)
    editor.set_latent(editor.generator.neutral())
    for class_name in control.classes:
        editor.displace({editor.key_of(f"{name}:{class_name}"): 0.01}, **change.how)


def write_through(editor: Editor, subject: Subject, name: str, change: Change, outputs: Outputs,
                  options: dict[str, Any]) -> None:
    """Write a picture of each class of an attribute, and all of them side by side.

    No recipe is written: a picture is several edits, one after the other.
    """
    import numpy as np

    from editing.increments import through
    from inversion import save_picture

    _check_paste(subject, options)
    control = editor.controls.find(name)
    ending = f"-photo.{options['ending']}" if options["paste"] else f".{options['ending']}"
    stems = [f"{subject.stem}-{in_file_name(f'{name}:{class_name}')}" for class_name in control.classes]
    *paths, strip_path = outputs.claim(*(f"{stem}{ending}" for stem in stems), f"{subject.stem}-{name}-strip.png")
    latent, _ = subject.latent()
    editor.set_latent(latent)
    own = int(control.predict(editor.states(control, layers=change.layers))[0])
    note(f"{subject.stem}: {name} is {control.classes[own]}")
    pictures = [editor.render(edited)[0] for edited in through(editor, name, **change.how)]
    for path, picture in zip(paths, pictures, strict=True):
        save_picture(path, _put_back(editor, subject.target if options["paste"] else None, picture),
                     mark=options["mark"])
        wrote(path)
    save_picture(strip_path, np.concatenate(pictures, axis=1), mark=options["mark"])
    wrote(strip_path)


def _check_paste(subject: Subject, options: dict[str, Any]) -> None:
    if options["paste"] and subject.target is None:
        raise InputError(subject.stem, "no photo to put the face back into",
                         "give it with --photo, or leave out --paste")


def _recipe_of(editor: Editor, source: PhotoSource | SampleSource, change: Change) -> Recipe:
    from editing import Recipe

    return Recipe(source=source, generator=editor.generator.hash, controls=editor.controls.hash,
                  strengths=change.strengths, **change.how)


def _picture(editor: Editor, target: Target | None, change: Change) -> np.ndarray:
    """The edited crop, or with a target the whole photo."""
    return _put_back(editor, target, editor.edit(change.strengths, **change.how))


def _put_back(editor: Editor, target: Target | None, edited: np.ndarray) -> np.ndarray:
    from inversion import paste_back

    return edited if target is None else paste_back(target.photo, target.face, edited, original=editor.edit({}))


def _strips(editor: Editor, change: Change) -> np.ndarray:
    """A row for each attribute, over the strengths between which its pictures stay good."""
    import numpy as np

    from editing import strip

    rows = []
    for name in change.strengths:
        low, high = editor.controls.find(name.partition(":")[0]).limits
        strengths = np.linspace(max(low, -STRIP_REACH), min(high, STRIP_REACH), STRIP_PICTURES).tolist()
        rows.append(strip(editor, name, strengths, **change.how))
    return np.concatenate(rows)
