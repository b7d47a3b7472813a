"""A slider with two ends, for a range of layers by the sides of their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from weights.errors import InputError

# Two sliders over one track; either pushes the other before it. What is shown while one is dragged is not the value
# yet: setting that draws the template anew. All is in the value: Gradio forgets other properties of what is updated
# before it has been in sight.
_TEMPLATE = """<fieldset>
  <legend>Layers <output>${value.ends.join(' to ')}</output></legend>
  <div class="track" style="--last: ${value.sides.length - 1}; --from: ${value.sides.indexOf(value.ends[0])};
                            --to: ${value.sides.indexOf(value.ends[1])}">
    <input type="range" aria-label="Layers from" aria-valuetext="${value.ends[0]} pixels" min="0"
           max="${value.sides.length - 1}" step="1" value="${value.sides.indexOf(value.ends[0])}">
    <input type="range" aria-label="Layers to" aria-valuetext="${value.ends[1]} pixels" min="0"
           max="${value.sides.length - 1}" step="1" value="${value.sides.indexOf(value.ends[1])}">
  </div>
  <small>pixels: small ones move shapes, large ones colours</small>
</fieldset>"""
_SCRIPT = """
const inputs = () => [...element.querySelectorAll('input')];
const chosen = () => inputs().map(input => props.value.sides[Number(input.value)]);
element.addEventListener('input', event => {
  event.stopPropagation();
  const [first, last] = inputs(), track = element.querySelector('.track').style;
  if (Number(first.value) > Number(last.value)) (event.target == first ? last : first).value = event.target.value;
  track.setProperty('--from', first.value);
  track.setProperty('--to', last.value);
  element.querySelector('output').textContent = chosen().join(' to ');
  inputs().forEach((input, end) => input.setAttribute('aria-valuetext', `${chosen()[end]} pixels`));
});
// Drawing anew changes attributes alone; what was dragged once does not follow them.
watch('value', () => inputs().forEach((input, end) => {
  input.value = props.value.sides.indexOf(props.value.ends[end]);
}));
element.addEventListener('change', event => {
  event.stopPropagation();
  const end = inputs().indexOf(event.target);
  props.value = {...props.value, ends: chosen()};
  trigger('release');
  requestAnimationFrame(() => inputs()[end]?.focus({preventScroll: true}));
});
"""


def side_range(**options: Any) -> gr.HTML:
    """The slider; `release` comes when one of its ends is let go.

    A function, since of a class of components Gradio writes a stub beside the module.

    Args:
        options: Of `gr.HTML`.
    """
    return gr.HTML(value_of([4], 4, 4), html_template=_TEMPLATE, js_on_load=_SCRIPT, **options)


def value_of(sides: Sequence[int], first: int, last: int) -> dict[str, list[int]]:
    """The slider's value: all sides of features that there are, in pixels, and the two ends."""
    return {"sides": [*sides], "ends": [first, last]}


def read(value: object) -> tuple[int, int]:
    """The two ends of what a browser or another program has sent.

    Raises:
        InputError: it is no two whole numbers.
    """
    ends = value.get("ends") if isinstance(value, dict) else None
    if not isinstance(ends, list) or len(ends) != 2 or not all(type(side) is int for side in ends):
        raise InputError("Layers", f"{ends!r} is no range", "give two sides of features in pixels")
    return ends[0], ends[1]
