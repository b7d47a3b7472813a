"""What every source of scores that looks at pictures has in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from directions.methods import NAME
from weights.errors import InputError

CLASS = re.compile(r"[^\s,:=][^,:=]*")  # What separates names in the options of the command line is left out.


class ImageScorer(Protocol):
    """An image classifier of one or more attributes."""

    @property
    def name(self) -> str:
        """What reports call it: "bundled image classifier"."""

    @property
    def attributes(self) -> Mapping[str, tuple[str, ...]]:
        """The classes of each attribute; of a binary one (negative, positive)."""

    @property
    def ordered(self) -> frozenset[str]:
        """The attributes whose classes are steps of one scale: left, front, right."""

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits of pictures [N, 3, R, R] in [-1, 1] (values outside are clipped, as in a picture file).

        By attribute [N, C], float32, on the device of the pictures; for a binary attribute column 0 is 0 and column 1
        the logit of the positive class. Gradients flow through it to the pictures, but for ONNX.

        Raises:
            InputError: the classifier cannot be used on such pictures, or gives NaN.
        """


def check_names(where: object, attribute: str, classes: tuple[str, ...]) -> None:
    """Refuse names that a control or an option of the command line could not have.

    Args:
        where: The file that they come from, for messages.
    Raises:
        InputError: the message names the file and the name.
    """
    if not NAME.fullmatch(attribute):
        raise InputError(where, f"{attribute!r} cannot be an attribute's name",
                         "use lower-case letters of any language, digits and _, beginning with a letter")
    wrong = [name for name in classes if not CLASS.fullmatch(name)]
    if wrong or len(set(classes)) != len(classes) or len(classes) < 2:
        raise InputError(where,
                         f"{attribute} needs two or more different classes, with names without , : and =, not "
                         f"{list(classes)}", "rename them")
