"""The classes of a class-conditional generator, by number or by name."""

from __future__ import annotations

from difflib import get_close_matches

from generators.base import Generator
from weights.errors import InputError

NEAR = 5         # How many names a message offers.
IMAGENET = 1000  # Classes of ImageNet.


def class_index(generator: Generator, named: int | str) -> int:
    """The number of a class, which `Generator.of_class` takes.

    Args:
        generator: One that knows classes.
        named: A number from 0, as text too, or one of `class_names`, as "tabby"; capitals and underscores do not
            matter.
    Raises:
        InputError: there is no such class; the message has the names that are nearest.
    """
    text = str(named).strip()
    if text.isdecimal() and int(text) < generator.c_dim:
        return int(text)
    if text.isdecimal() or not generator.c_dim:
        raise InputError(None, f"this generator has no class {text}",
                         f"choose one of 0 to {generator.c_dim - 1}" if generator.c_dim else "it draws one class alone")
    names = [_plain(name) for name in class_names(generator)]
    if not names:
        raise InputError(None, f"the classes of this generator have no names, such as {text!r:.60}",
                         f"choose a number from 0 to {generator.c_dim - 1}")
    wanted = _plain(text)
    if wanted in names:
        return names.index(wanted)
    near = [name for name in names if wanted and wanted in name] + get_close_matches(wanted, names, NEAR, 0.5)
    near = list(dict.fromkeys(near))[:NEAR]
    raise InputError(None, f"ImageNet has no class {text!r:.60}",
                     f"the nearest are {', '.join(near)}" if near else "choose a number from 0 to 999")


def class_names(generator: Generator) -> tuple[str, ...]:
    """The names of a generator's classes, in the order of their numbers; (): they have none.

    1,000 classes are taken to be ImageNet's, as BigGAN's are, and have torchvision's names of them.
    """
    if generator.c_dim != IMAGENET:
        return ()
    from torchvision.models import ResNet18_Weights  # Slow to import.

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
