"""The methods by which directions are found and edits move, by name; without torch, as the command line lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from weights.errors import InputError

# Of a direction, a control, an attribute, or what is compared: letters of any script, digits and _; of Latin capitals
# none, since names are parts of files' names.
NAME = re.compile(r"(?![\d_])[^\s\x00-/:-^`{-\x9f]+")
SETS = ("ganspace", "navigan")  # Names before the colon of directions that come in sets: "ganspace:bald".
MethodName = Literal["gradctrl", "interfacegan", "ganspace", "stylespace", "sefa", "navigan"]
Moves = Literal["w", "styles", "weights"]
Contender = Literal["gradctrl", "paper", "interfacegan", "ganspace", "stylespace"]
CONTENDERS: tuple[Contender, ...] = get_args(Contender)
"""What an evaluation compares: the methods, and GradCtrl once more as its paper describes it."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How directions were found."""

    title: str                      # As people write it.
    paper: str
    moves: Moves                    # What of a generator they move: latents, or its weights.
    file: str                       # Name in the manifest of the bundled controls of this method.


METHODS: dict[str, Method] = {
    "gradctrl": Method(title="GradCtrl", paper="Chen et al. 2022, arXiv 2209.00698", moves="w",
                       file="bundled-controls"),
    "interfacegan": Method(title="InterFaceGAN", paper="Shen et al. 2020, arXiv 2005.09635", moves="w",
                           file="bundled-interfacegan"),
    "ganspace": Method(title="GANSpace", paper="Härkönen et al. 2020, arXiv 2004.02546", moves="w",
                       file="bundled-ganspace"),
    "stylespace": Method(title="StyleSpace", paper="Wu et al. 2021, arXiv 2011.12799", moves="styles",
                         file="bundled-stylespace"),
    "sefa": Method(title="SeFa", paper="Shen and Zhou 2021, arXiv 2007.06600", moves="w", file="bundled-sefa"),
    "navigan": Method(title="NaviGAN", paper="Cherepkov et al. 2021, arXiv 2011.13786", moves="weights",
                      file="bundled-navigan"),
}


def method_of(name: str) -> Method:
    """The method of a name.

    Raises:
        InputError: there is none.
    """
    if name not in METHODS:
        raise InputError(name, "no such method", f"use {', '.join(METHODS)}")
    return METHODS[name]
