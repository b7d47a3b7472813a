"""Numbers and states in words, as HTML or plain text. What comes from a user's file is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from directions import Control, Direction
from editing import Edit
from inversion import SAME_PERSON, Face, Inversion
from page.jobs.measuring import NOTICED, Effect, Measure
from page.state.visitor import EditSubject

ESTIMATES = (f"Estimates of the controls' own classifiers, which look at the latent, not at the picture: below "
             f"{round(100 * NOTICED)} points a difference says little.")


def faces_in_words(faces: Sequence[Face], chosen: int | None) -> str:
    """How many faces were found, and which is chosen."""
    if len(faces) == 1:
        return "1 face found." if chosen is not None else "1 face found, too small to edit."
    many = f"{len(faces)} faces found, numbered from the largest."
    if chosen is None:
        return f"{many} Choose one: click it, or its number below."
    return f"{many} Face {chosen + 1} is chosen: to edit another, click it, or its number below."


def identity_in_words(distance: float) -> str:
    """What the distance between the face descriptors of crop and inversion means."""
    digits = 2 if abs(distance - SAME_PERSON) > 0.005 else 4  # Never "0.60 (below 0.6)".
    if distance < SAME_PERSON:
        return f"same person by dlib: distance {distance:.{digits}f} (below {SAME_PERSON})"
    return f"a likeness, not the same person by dlib: distance {distance:.{digits}f} ({SAME_PERSON} or more)"


def numbers(subject: EditSubject) -> str:
    """How near the inversion came, and what is off with it, as HTML; nothing for a sample."""
    inversion = subject.inversion
    if inversion is None:
        return "<p class='numbers'>A face of nobody, drawn by the generator.</p>"
    return (f"<p class='numbers'>{escape(_numbers_of(inversion, subject.from_cache))}</p>"
            + warnings_in_words(inversion.warnings))


def _numbers_of(inversion: Inversion, from_cache: bool) -> str:
    seconds = "kept from before" if from_cache else f"{inversion.seconds:.0f}\N{NO-BREAK SPACE}s"
    parts = [f"LPIPS {inversion.lpips:.3f}", seconds]
    if inversion.identity is not None:
        parts.insert(0, f"Inversion: {identity_in_words(inversion.identity)}")
    if inversion.stopped:
        parts.append(f"stopped at step {inversion.steps} of {inversion.settings.all_steps}, "
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
    return "<p class='numbers' role='status'>Nothing is changed yet: move a slider.</p>"


def edit_in_words(edit: Edit) -> str:
    """What an edit changes: "smile +2, hair: blond +1"; with what it keeps, if that was chosen."""
    parts = [f"{name.replace('_', ' ').replace(':', ': ')} {strength:+g}".replace("-", "\N{MINUS SIGN}")
             for name, strength in edit.strengths.items() if strength]
    words = ", ".join(parts) or "nothing"
    if edit.keep and parts:
        words += f"; keeping {', '.join(name.replace('_', ' ') for name in edit.keep)}"
    return words


def effect_in_words(effect: Effect, edit: Edit) -> str:
    """What an edit did, as an HTML table with a sentence above it."""
    who = "the same person" if effect.identity < SAME_PERSON else "another person"
    said = [f"Changed: {edit_in_words(edit)}. Identity distance {effect.identity:.2f}: {who} by dlib."]
    said += [f"{title_of(measure.attribute)} has changed as well." for measure in effect.unwanted]
    rows = "".join(_effect_row(measure) for measure in effect.measures)
    return (f"<p class='numbers' role='status'>{escape(' '.join(said))}</p><table class='effect'><thead><tr><th>"
            f"Attribute</th><th>Before</th><th>After</th></tr></thead><tbody>{rows}</tbody></table>"
            f"<p class='numbers'>{ESTIMATES}</p>")


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
