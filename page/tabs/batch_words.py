"""A batch in words and as a table: HTML for the tab Batch. All that comes from a file's name is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from batch.job import ENDED, Row
from editing import Edit
from page.tabs.words import address, edit_in_words, identity_in_words

Pictures = Mapping[tuple[int, int], tuple[Path, Path]]  # Thumbnails before and after, by a row's file and face.
STATE_WORDS = {"waiting": "waiting", "finding": "finding the face", "inverting": "inverting", "editing": "editing",
               "done": "done", "failed": "failed", "cancelled": "cancelled"}
NO_EDIT = ("Nothing yet: no slider of the tab <b>Edit</b> is moved. Move one there and come back, or choose a recipe.")
EMPTY = ("<div class='batch-empty'>Each photo gets a line here, with its state, its face before and after, and the "
         "reason if it fails.</div>")


def edit_line(edit: Edit | None, *, recipe: str = "") -> str:
    """What a batch will do, as HTML.

    Args:
        edit: None: no recipe was chosen yet.
        recipe: The name of the recipe's file, if it comes from one.
    """
    if edit is None:
        return "<p class='batch-edit'>Choose a recipe below: its JSON, or a picture that was downloaded here.</p>"
    if not edit.changes:
        return f"<p class='batch-edit'>{NO_EDIT}</p>"
    where = f" <span>from {escape(recipe)}</span>" if recipe else ""
    return f"<p class='batch-edit'><b>{escape(edit_in_words(edit))}</b>{where}</p>"


def chosen_line(names: Sequence[str]) -> str:
    """Which files were chosen, as HTML; nothing for none."""
    if not names:
        return ""
    zips = sum(name.lower().endswith(".zip") for name in names)
    latents = sum(name.lower().endswith(".safetensors") for name in names)
    photos = len(names) - zips - latents
    parts = [_many(count, word) for count, word in ((photos, "photo"), (zips, "ZIP"), (latents, "latent")) if count]
    listed = ", ".join(escape(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"<p class='batch-chosen' role='status'><b>{' and '.join(parts)} chosen</b>: {listed}</p>"


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def counts(rows: Sequence[Row]) -> tuple[int, int, int, int]:
    """Of a batch's files: all, done, failed and cancelled. A file is done if one of its faces is."""
    states: dict[int, set[str]] = {}
    for row in rows:
        states.setdefault(row.index, set()).add(row.state)
    ended = [faces for faces in states.values() if faces <= set(ENDED)]
    done = sum("done" in faces for faces in ended)
    failed = sum("done" not in faces and "failed" in faces for faces in ended)
    return len(states), done, failed, len(ended) - done - failed


def seconds_left(rows: Sequence[Row], seconds: float) -> float:
    """An estimate from the files that ended in so many seconds; infinite before there is anything to go by."""
    total, *ended = counts(rows)
    running = [row for row in rows if row.state == "inverting" and row.step > 1]
    if sum(ended):
        return seconds / sum(ended) * (total - sum(ended))
    if running:
        return (seconds + running[0].seconds_left) * total - seconds
    return math.inf


def time_in_words(seconds: float) -> str:
    """Seconds to come, in words that seldom change."""
    if seconds == math.inf:
        return "estimating the time left"
    if seconds < 55:
        return f"about {max(math.ceil(seconds / 5) * 5, 5)} s left"
    if seconds < 90 * 60:
        return f"about {max(round(seconds / 60), 1)} min left"
    return f"about {seconds / 3600:.1f} h left"


def progress(rows: Sequence[Row], seconds: float, *, ahead: int = 0, stopping: bool = False) -> str:
    """A running batch as HTML: a bar, how many are done, and what is being done now.

    Args:
        rows: As they are now; none before the photos were counted.
        seconds: Since the start.
        ahead: Inversions of other visitors that come first.
        stopping: Whether it was cancelled, and ends after the step that runs.
    """
    if not rows:
        return "<div class='running'><progress></progress><span role='status'>Looking at the files…</span></div>"
    total, done, failed, _ = counts(rows)
    running = next((row for row in rows if row.state not in (*ENDED, "waiting")), None)
    part = running.step / running.steps if running and running.state == "inverting" and running.steps else 0
    words = f"{done} of {total} done" + (f", {failed} failed" if failed else "")
    words += ", cancelling…" if stopping else f", {time_in_words(seconds_left(rows, seconds))}"
    now = ""
    if ahead and not stopping:
        now = f"waiting for {_many(ahead, 'inversion')} of others"
    elif running:
        now = f"{escape(running.name)}: {STATE_WORDS[running.state]}"
        if running.state == "inverting" and running.steps:
            now += f", step {running.step} of {running.steps}"
    return (f"<div class='running'><progress max='{total}' value='{done + failed + part:.2f}' aria-label='Batch'>"
            f"</progress><span role='status'>{words}</span><span class='batch-now'>{now or '&nbsp;'}</span></div>")


def outcome(rows: Sequence[Row]) -> str:
    """How a batch ended, as HTML."""
    total, done, failed, cancelled = counts(rows)
    words = f"{done} of {total} done"
    words += f", {failed} failed: the reason stands in the table" if failed else ""
    if cancelled:
        words = f"Cancelled: {words}; {cancelled} not done"
    after = " Download all puts pictures, latents and the table into a ZIP." if done else ""
    return f"<p class='batch-outcome' role='status'><b>{words}.</b>{after}</p>"


def table(rows: Sequence[Row], pictures: Pictures) -> str:
    """A line for each row, with its thumbnails once it is done, as HTML."""
    if not rows:
        return ""
    lines = "".join(_line(row, pictures.get((row.index, row.face))) for row in rows)
    return ("<table class='batch-rows'><caption>The photos of the batch</caption><thead><tr><th scope='col'>Photo</th>"
            "<th scope='col'>Before</th><th scope='col'>After</th><th scope='col'>State</th></tr></thead>"
            f"<tbody>{lines}</tbody></table>")


def _line(row: Row, pictures: tuple[Path, Path] | None) -> str:
    name = escape(row.name)
    face = f"<small>face {row.face + 1} of {row.faces}</small>" if row.faces > 1 else ""
    cells = "".join(f"<td class='batch-{which}'>{_picture(path, f'{which.capitalize()} the edit: {name}')}</td>"
                    for which, path in zip(("before", "after"), pictures or (None, None), strict=True))
    kind = row.state if row.state in (*ENDED, "waiting") else f"busy batch-{row.state}"
    return (f"<tr><th scope='row'><span>{name}</span>{face}</th>{cells}"
            f"<td class='batch-state'><b class='batch-{kind}'>{STATE_WORDS[row.state]}</b>{_details(row)}</td>"
            "</tr>")


def _picture(path: Path | None, words: str) -> str:
    if path is None:
        return "<i aria-hidden='true'></i>"
    where = address(path)
    return (f"<a href='{where}' target='_blank' rel='noopener' title='Open it large'>"
            f"<img src='{where}' alt='{words}' width='72' height='72'></a>")


def _details(row: Row) -> str:
    if row.state in ("failed", "cancelled"):
        return f"<small>{escape(row.reason)}</small>" if row.state == "failed" else ""
    if row.state != "done":
        return ""
    words = "" if row.identity is None else f"<small>{escape(identity_in_words(row.identity))}</small>"
    if row.warnings:
        listed = "".join(f"<li>{escape(text)}.</li>" for text in row.warnings)
        words += (f"<details><summary>{_many(len(row.warnings), 'warning')}</summary>"
                  f"<ul>{listed}</ul></details>")
    return words
