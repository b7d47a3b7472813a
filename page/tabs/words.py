"""Numbers and states in words, as HTML or plain text. What comes from a user's file is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

import inversion
from directions import Control, Direction
from editing import Edit
from inversion import SAME_PERSON, Face, Inversion
from page.jobs.measuring import NOTICED, Effect, Measure
from page.jobs.suggestions import End
from page.state.models import EditingModels
from page.state.visitor import EditSubject

ESTIMATES = (f"Estimates of how pictures look, by the bundled image classifier where it knows the attribute, else by "
             f"the slider's own scores: below {round(100 * NOTICED)} points a difference says little.")

PRESETS = {"fast": "fast: a likeness", "balanced": "balanced: nearer", "faithful": "faithful: the person"}


def address(path: str | Path) -> str:
    """Where the browser finds a file that the page may show, for an attribute in HTML."""
    return f"/gradio_api/file={quote(str(path))}"


def faces_in_words(faces: Sequence[Face], chosen: int | None) -> str:
    """How many faces were found, and which is chosen."""
    if len(faces) == 1:
        return "1 face found." if chosen is not None else "1 face found, too small to edit."
    many = f"{len(faces)} faces found, numbered from the largest."
    if chosen is None:
        return f"{many} Choose one: click it, or its number below."
    return (f"{many} Face {chosen + 1} is chosen: to edit another, click it, or its number below. All edits go into "
            "one picture.")


def identity_in_words(distance: float) -> str:
    """What the distance between the face descriptors of crop and inversion means."""
    digits = 2 if abs(distance - SAME_PERSON) > 0.005 else 4  # Never "0.60 (below 0.6)".
    if distance < SAME_PERSON:
        return f"same person by dlib: distance {distance:.{digits}f} (below {SAME_PERSON})"
    return f"a likeness, not the same person by dlib: distance {distance:.{digits}f} ({SAME_PERSON} or more)"


def numbers(subject: EditSubject) -> str:
    """How near the inversion came, and what is off with it, as HTML; nothing for a sample."""
    found = subject.inversion
    if found is None:
        return "<p class='numbers'>A face of nobody, drawn by the generator.</p>"
    if found.identity is None:
        said = "Ready."
    elif found.identity < SAME_PERSON:
        said = "Ready: this is the same person."
    else:
        said = "Ready, but it is a likeness more than the same person."
    return (f"<details class='numbers'><summary>{said}</summary>"
            f"{escape(_numbers_of(found, subject.from_cache))}</details>" + warnings_in_words(found.warnings))


def veil(picture: str | Path) -> str:
    """A photo under a veil, while its face is prepared, as HTML."""
    return (f"<div class='veil'><img src='{address(picture)}' alt='Your photo, while its face is prepared'>"
            "<span aria-hidden='true'></span></div>")


def without_photo(name: str) -> str:
    """What a session says that was saved without its photo, as HTML."""
    return (f"<div class='hint' role='status'>The session of {escape(name)} was saved without its photo: you see the "
            "face alone. Choose the photo again to put the face back into it.</div>")


def _numbers_of(found: Inversion, from_cache: bool) -> str:
    seconds = "kept from before" if from_cache else f"{found.seconds:.0f}\N{NO-BREAK SPACE}s"
    parts = [f"LPIPS {found.lpips:.3f}", seconds]
    if found.identity is not None:
        parts.insert(0, f"Inversion: {identity_in_words(found.identity)}")
    if found.stopped:
        parts.append(f"stopped at step {found.steps} of {found.settings.all_steps}, "
                     "so the recipe's picture will differ a little from this one")
    return " · ".join(parts)


def problem(message: str) -> str:
    """A message about something that cannot be used, as HTML. It may hold a file's name, so all of it is escaped."""
    return f"<div class='problem' role='alert'>{escape(message)}</div>"


def title_of(name: str) -> str:
    """A control's name as a label: "hair_colour" is "Hair colour"."""
    return name.replace("_", " ").capitalize()


def scale_of(control: Direction) -> str:
    """What the two ends of a slider are; nobody has named those of a direction without classes."""
    low, high = control.classes[:2] if isinstance(control, Control) else ("-", "+")
    return f"{low} ← → {high}".replace("_", " ")


def face_in_words(face: Face) -> str:
    """How large a face is, and how it is held."""
    parts = [f"It is {face.size:.0f} pixels across"]
    if abs(face.yaw) >= 10:
        parts.append(f"turned about {abs(face.yaw):.0f} degrees to the {'right' if face.yaw > 0 else 'left'}")
    if abs(face.roll) >= 5:
        parts.append(f"tilted {abs(face.roll):.0f} degrees")
    return ", ".join(parts) + "."


def warnings_in_words(warnings: Sequence[str]) -> str:
    """What is off with a face, as an HTML list; nothing where nothing is."""
    items = "".join(f"<li>{escape(text)}.</li>" for text in warnings)
    return f"<ul class='warnings'>{items}</ul>" if items else ""


def unchanged_in_words() -> str:
    """What stands in the place of an edit's effect where there is no edit, as HTML."""
    return "<p class='said' role='status'>Nothing is changed yet: move a slider, or take a suggestion.</p>"


def edit_in_words(edit: Edit) -> str:
    """What an edit changes: "smile +2, hair: blond +1"; with what it keeps, if that was chosen."""
    parts = [f"{name.replace('_', ' ').replace(':', ': ')} {strength:+g}".replace("-", "\N{MINUS SIGN}")
             for name, strength in edit.strengths.items() if strength]
    words = ", ".join(parts) or "nothing"
    if edit.keep and parts:
        words += f"; keeping {', '.join(name.replace('_', ' ') for name in edit.keep)}"
    return words


def effect_in_words(effect: Effect, edit: Edit) -> str:
    """What an edit did, as HTML: in a sentence what is sure, and folded below it all numbers."""
    said = [_outcome(measure, edit) for measure in effect.measures if measure.asked]
    also = [_change(measure) for measure in effect.unwanted]
    if also:
        said.append(f"{'Also looks' if said else 'Looks'} different: {', '.join(also)}.")
    if effect.identity >= SAME_PERSON:
        said.append("It may no longer look like the same person.")
    rows = "".join(_effect_row(measure) for measure in effect.measures)
    who = "the same person" if effect.identity < SAME_PERSON else "another person"
    return (f"<p class='said' role='status'>{escape(' '.join(said) or f'Changed: {edit_in_words(edit)}.')}</p>"
            f"<details class='numbers'><summary>Details</summary><p>{escape(edit_in_words(edit))}. Identity distance "
            f"{effect.identity:.2f}: {who} by dlib.</p><table class='effect'><thead><tr><th>"
            f"Attribute</th><th>Before</th><th>After</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p>{ESTIMATES}</p></details>")


def _outcome(measure: Measure, edit: Edit) -> str:
    """Whether an attribute that was to change did, as far as the judge can tell: "Eyeglasses (none): yes."."""
    towards, title, none = _towards(measure, edit), title_of(measure.attribute), "no change that can be told"
    if towards is None:
        return f"{title}: {'changed' if measure.changed else none}."
    if len(measure.classes) > 2:
        title += f" ({measure.classes[towards]})"
    if measure.after[towards] - measure.before[towards] >= NOTICED:
        return f"{title}: {'yes' if measure.after[towards] == max(measure.after) else 'a little'}."
    return f"{title}: {'as before' if measure.before[towards] == max(measure.before) else none}."


def _towards(measure: Measure, edit: Edit) -> int | None:
    """The class that an edit asks for; None: there is none that a picture could be told by."""
    strengths = [(name.partition(":")[2], float(value)) for name, value in edit.strengths.items()
                 if name.partition(":")[0] == measure.attribute and value]
    if not strengths:
        return None
    wanted, strength = max(strengths, key=lambda item: abs(item[1]))
    if wanted:
        return measure.classes.index(wanted) if strength > 0 else None
    return int(strength > 0)


def _change(measure: Measure) -> str:
    """How an attribute changed that was not to: "age (young before, now old)"; where neither leads, its name alone."""
    name = measure.attribute.replace("_", " ")
    was, now = (measure.classes[shares.index(max(shares))] for shares in (measure.before, measure.after))
    return name if was == now else f"{name} ({was} before, now {now})"


def _effect_row(measure: Measure) -> str:
    kind = "asked" if measure.asked else "unwanted" if measure.changed else "same"
    which = measure.leading
    cells = "".join(f"<td>{100 * share:.0f}%<span class='bar'><span style='width:{100 * share:.0f}%'></span></span>"
                    "</td>" for share in (measure.before[which], measure.after[which]))
    name = f"{title_of(measure.attribute)}: {measure.classes[which]}"
    return f"<tr class='{kind}'><th scope='row'>{escape(name)}</th>{cells}</tr>"


def time_in_words(seconds: float | None) -> str:
    """A time as people say it; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min"


def presets_in_words(models: EditingModels) -> list[tuple[str, str]]:
    """The presets with the time that they take on this machine, where that is known yet."""
    times = {name: time_in_words(models.timing.seconds(inversion.PRESETS[name])) for name in PRESETS}
    return [(f"{text} ({times[name]})" if times[name] else text, name) for name, text in PRESETS.items()]


def full_size(before: str, after: str) -> str:
    """Both pictures with all of their pixels, in a dialog that is closed, as HTML."""
    return (f"<dialog id='full-dialog' aria-label='The picture at its full size'><div class='stack'>"
            f"<img class='after' src='{address(after)}' alt='The picture after the edit'>"
            f"<img class='before' src='{address(before)}' alt='The picture before the edit'></div>"
            "<form method='dialog'><button type='button' class='hold'>Hold: before</button>"
            "<button type='button' class='zoom'>Zoom</button><button>Close</button></form></dialog>")


def ends_as_style(ends: Mapping[str, Mapping[bool, End]]) -> str:
    """A style sheet with small pictures for both ends of sliders, by the names of their controls, as HTML."""
    rules = "".join(f"#control-{name}{{{''.join(_end(end, upper) for upper, end in sides.items())}}}"
                    for name, sides in ends.items())
    return f"<style>{rules}</style>"


def _end(end: End, upper: bool) -> str:
    data = io.BytesIO()
    Image.fromarray(end.picture).save(data, "JPEG", quality=85)
    return f"--{'high' if upper else 'low'}:url(data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()});"
