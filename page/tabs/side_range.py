"""A slider with two ends, for a range of layers by the sides of their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from weights.errors import InputError

# Two sliders over one track; either pushes the other before it. What is shown while one is dragged is not the value
# yet: setting that draws the template anew.
_TEMPLATE = """<fieldset>
  <legend>Layers <output>${value.join(' to ')}</output></legend>
  <div class="track" style="--last: ${sides.length - 1}; --from: ${sides.indexOf(value[0])};
                            --to: ${sides.indexOf(value[1])}">
    <input type="range" aria-label="Layers from" aria-valuetext="${value[0]} pixels" min="0" max="${sides.length - 1}"
           step="1" value="${sides.indexOf(value[0])}">
    <input type="range" aria-label="Layers to" aria-valuetext="${value[1]} pixels" min="0" max="${sides.length - 1}"
           step="1" value="${sides.indexOf(value[1])}">
  </div>
  <small>pixels: small ones move shapes, large ones colours</small>
</fieldset>"""
_SCRIPT = """
const ends = () => [...element.querySelectorAll('input')];
const chosen = () => ends().map(input => props.sides[Number(input.value)]);
element.addEventListener('input', event => {
  event.stopPropagation();
  const [first, last] = ends(), track = element.querySelector('.track').style;
  if (Number(first.value) > Number(last.value)) (event.target == first ? last : first).value = event.target.value;
  track.setProperty('--from', first.value);
  track.setProperty('--to', last.value);
  element.querySelector('output').textContent = chosen().join(' to ');
  ends().forEach((input, end) => input.setAttribute('aria-valuetext', `${chosen()[end]} pixels`));
});
element.addEventListener('change', event => {
  event.stopPropagation();
  const end = ends().indexOf(event.target);
  props.value = chosen();
  trigger('release');
  requestAnimationFrame(() => ends()[end]?.focus({preventScroll: true}));
});
"""


def side_range(**options: Any) -> gr.HTML:
    """The slider. Its value is [first, last], sides of features in pixels; `release` comes when one end is let go.

    A function, since of a class of components Gradio writes a stub beside the module.

    Args:
        options: Of `gr.HTML`.
    """
    return gr.HTML([4, 4], sides=[4], html_template=_TEMPLATE, js_on_load=_SCRIPT, **options)


def shown(sides: Sequence[int], first: int, last: int) -> dict[str, Any]:
    """An update of the slider: all sides that there are, and the two ends."""
    update: dict[str, Any] = gr.update(value=[first, last], sides=[*sides])
    return update


def read(value: object) -> tuple[int, int]:
    """The two ends of what a browser or another program has sent.

    Raises:
        InputError: it is no two whole numbers.
    """
    if not isinstance(value, list) or len(value) != 2 or not all(type(side) is int for side in value):
        raise InputError("Layers", f"{value!r} is no range", "give two sides of features in pixels")
    return value[0], value[1]
