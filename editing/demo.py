"""The demo of the authors of GradCtrl (Chen et al. 2022, repository zikuncshelly/GradCtrl, manipulate.py).

What is followed: random samples truncated to 0.4; from each, 9 steps of 4/9 towards and away from a binary attribute,
and towards each of the first three classes of a multi-class one; for faces the keep list and layer range of each
attribute, for cars and cats layers 6 to 14 and no keep list (`directions.authors` has these with the classifiers).

What is a mistake in their script is not followed:

- z is drawn uniformly from [0, 1); the generator was trained on z ~ N(0, I), which is drawn here.
- For faces the script edits the first three attributes upwards, whichever was asked for: its test whether an attribute
  is multi-class fails where the file of classifiers does not say. Here the attribute is edited that was asked for, both
  ways.
- Its --exclude looks a name up in a text in place of a list, and finds the place of a letter.
- w is repeated for 18 layers, which only the generator of faces has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from directions.authors import DEMO_STEPS
from editing.editor import Editor
from editing.strips import strip

TRUNCATION = 0.4
BOTH_WAYS = tuple(range(-DEMO_STEPS, DEMO_STEPS + 1, 3))  # Steps that are shown, of those that are walked.
ONE_WAY = tuple(range(0, DEMO_STEPS + 1, 3))
CLASSES = 3  # Of a multi-class attribute, how many are shown; the authors' script has this number too.


@dataclass(frozen=True)
class Demo:
    """What a demo consists of: names of files, or files, as the commands take them."""

    generator: str
    controls: str
    attributes: tuple[str, ...]  # That the authors show.
    instead: str = ""            # A generator of the same space, for machines that have not got the other one.


DEMOS = {
    "ffhq": Demo("stylegan2-ffhq", "gradctrl-authors", ("gender", "smile", "eyeglasses", "age"), instead="bundled"),
    "car": Demo("stylegan2-car", "gradctrl-car", ("sky_blue", "grassground", "hubcap_dense")),
    "cat": Demo("stylegan2-cat", "gradctrl-cat", ("color",)),
}


def demo_names(editor: Editor, attribute: str) -> list[str]:
    """What the demo edits for an attribute: itself, or its first three classes ("color:class0")."""
    control = editor.controls.control(attribute)
    return [attribute] if control.binary else [f"{attribute}:{name}" for name in control.classes[:CLASSES]]


def demo_strips(editor: Editor, attribute: str, seed: int, *,
                truncation: float = TRUNCATION) -> Iterator[tuple[str, np.ndarray]]:
    """Edit one random sample as the authors' demo does.

    Args:
        editor: With controls from `directions.import_authors`, and so their settings. Its latent is set.
        attribute: Which one, as "smile".
        seed: Of the sample.
        truncation: psi of the sample.
    Returns:
        For each name of `demo_names` the pictures side by side, uint8 [R, 7 R, 3]: 9, 6 and 3 steps away from the
        attribute, the sample, and 3, 6 and 9 steps towards it; for a class [R, 4 R, 3], the sample and steps towards.

    Raises:
        InputError: no such attribute.
    """
    names = demo_names(editor, attribute)
    editor.set_latent(editor.generator.sample([seed], truncation=truncation)[0])
    for name in names:
        steps = BOTH_WAYS if editor.controls.find(attribute).binary else ONE_WAY
        yield name, strip(editor, name, [step / DEMO_STEPS for step in steps])
