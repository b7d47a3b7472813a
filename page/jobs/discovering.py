"""What the tab Discover works with: collections of directions that nobody labelled, moved together on a face."""

from __future__ import annotations

import csv
import math
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from directions import ALL_LAYERS, Control, Controls, Direction, LinearDirection, load_components, save
from directions.combining import combined
from directions.components import Components, ComponentSettings
from directions.files import NAMED
from directions.finding import cached_components, find_components
from directions.holding import held_still
from directions.methods import NAME
from directions.named import DirectionSet, ganspace_components
from generators import Generator
from page.jobs.editing import edited_picture, preview_picture
from page.jobs.executors import InversionQueue
from page.jobs.inverting import WAY, Waiting, giving_way, in_turn
from page.jobs.measuring import Effect, effect_of
from page.jobs.opening import sample_subject
from page.state.discovery import MEAN, OWN, SAMPLE, SHOWN, Collection, Discovery
from page.state.models import EditingModels
from page.state.visitor import EditSubject, Visitor
from weights.errors import InputError
from weights.store import path_of

NEAREST, FARTHEST = 3, 20   # Standard deviations to either side: of the widest component, and at most.
TRUNCATION = 0.7            # Of samples, as in GANSpace's figures.
COMPONENTS, SEFA = "components", "sefa"      # Names of collections; those of sets are the sets' own.
FILE, LAYER = "file", "layer"                # The visitor's own file, and the layer that the visitor has searched.
LAYER_SAMPLES, LAYER_COUNT = 2000, 40        # Of a search on the page: some minutes on two cores.
SEFA_COUNT = 40
TITLES = {COMPONENTS: "GANSpace: 80 components of W", SEFA: "Sefa: what the layers' styles react to most",
          "ganspace": "GANSpace: edits that its authors named", "navigan": "NaviGAN: directions in the weights",
          FILE: "Your own file", LAYER: "The layer that you searched"}
NOTICEABLE = 0.3            # Standard deviations of a score from which an effect is told.
LINK = re.compile(r"(?P<collection>[a-z]+);(?P<amounts>(?:\d+=-?[\d.]+,?)*);(?P<layers>\d+:\d+)?;(?P<centred>[01])"
                  r";(?P<who>sample|mean)(?P<seed>\d*)")


@dataclass(frozen=True)
class SearchProgress:
    """How far a search for components is."""

    done: int        # Samples,
    total: int       # in all.
    seconds: float   # So far.


def collections(models: EditingModels) -> list[str]:
    """The names of the collections that fit a generator."""
    generator = models.generator
    names = [COMPONENTS] if ganspace_components().space.matches(generator.space) else []
    names += [SEFA] if "styles" in generator.spaces else []
    for name, read in NAMED.items():
        try:
            read().check(generator)
        except InputError:
            continue
        names.append(name)
    return names


def offered(discovery: Discovery, models: EditingModels) -> list[str]:
    """The names of all collections that there are for a visitor: those of a former generator's W are none."""
    kept = [each for each in (discovery.own, discovery.searched) if each is not None]
    return [*collections(models), *(each.name for each in kept
                                    if each.space is not None and each.space.matches(models.generator.space))]


def open_collection(name: str, models: EditingModels) -> Collection:
    """A collection by its name.

    Raises:
        InputError: there is none that fits the generator.
    """
    if name not in collections(models):
        raise InputError(name, "there are no such directions for this generator", "choose others")
    if name == COMPONENTS:
        return of_components(COMPONENTS, ganspace_components(), component_hints())
    if name == SEFA:
        return of_components(SEFA, _sefa(models.generator), {})
    found = NAMED[name]()[name]
    assert isinstance(found, DirectionSet)
    return Collection(found, tuple(str(each.report.get("does", "")) for each in found.members.values()), step=0.05)


def _sefa(generator: Generator) -> Components:
    """SeFa's closed form, of all layers: no pictures are drawn for it."""
    settings = ComponentSettings(analysis="sefa", count=min(SEFA_COUNT, generator.w_dim))
    return find_components(generator, settings)


def of_components(name: str, components: Components, hints: Mapping[int, str]) -> Collection:
    """Components as a collection: strength 1 is one standard deviation.

    All of them can be moved as far in W as the widest by 3 standard deviations; much farther there are no faces.
    """
    farthest = NEAREST * float(components.deviations.max())
    reach = [float(min(max(round(farthest / max(float(each), 1e-6)), NEAREST), FARTHEST))
             for each in components.deviations]
    members = {(called := f"component_{number}"): replace(components.direction(number, name=called),
                                                         limits=(-far, far)) for number, far in enumerate(reach)}
    return Collection(DirectionSet(name=name, members=members, sha256=""),
                      tuple(hints.get(number, "") for number in range(len(components))), step=0.25,
                      space=components.space)


@cache
def component_hints() -> dict[int, str]:
    """What each bundled component moves most, as `gradctrl discover explore` measured it."""
    hints = {}
    with open(path_of("ganspace-effects"), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            told = {name: float(row[name]) for name in list(row)[5:]}
            most = sorted(told, key=lambda name: -abs(told[name]))[:3]
            hints[int(row["component"])] = ", ".join(f"{name.replace(':', ' ')} {told[name]:+.1f}" for name in most
                                                     if abs(told[name]) >= NOTICEABLE)
    return hints


def choose(discovery: Discovery, name: str, models: EditingModels) -> None:
    """Look at another collection; what was moved is let go.

    Raises:
        InputError: there is none that fits.
    """
    kept = {FILE: discovery.own, LAYER: discovery.searched}.get(name)
    if kept is not None:
        discovery.collection = kept
    else:
        discovery.collection = open_collection(name, models)
    discovery.page, discovery.amounts = 0, {}


def subject_of(visitor: Visitor, models: EditingModels) -> EditSubject:
    """Whose face is moved: the visitor's, a sample, or the mean of all.

    Raises:
        InputError: the visitor has none.
    """
    discovery = visitor.discovery
    if discovery.who == OWN:
        if visitor.subject is None:
            raise InputError(None, "there is no face of yours here yet", "bring a photo in the tab Edit first, or "
                             "choose a sample")
        return visitor.subject
    generator = models.generator
    name = MEAN if discovery.who == MEAN else f"sample-{discovery.seed}"
    kept = visitor.discovered
    if kept is None or (kept.name, kept.generator) != (name, generator.identity):
        truncation = 0.0 if discovery.who == MEAN else TRUNCATION
        kept = visitor.discovered = replace(sample_subject(generator, discovery.seed, truncation), name=name)
    return kept


_MODELS: weakref.WeakKeyDictionary[EditingModels, tuple[Collection, EditingModels]] = weakref.WeakKeyDictionary()


def models_with(collection: Collection, models: EditingModels) -> EditingModels:
    """The visitor's models, whose edits may name the directions of a collection; the same ones again and again."""
    known = _MODELS.get(models)
    if known is None or known[0] is not collection:
        found = Controls([collection.found], spaces=models.generator.spaces, source=collection.name)
        own = models.controls
        controls = Controls([*own.values()], spaces=own.spaces, source=own.source,
                            sets={**own.sets, collection.name: lambda: found})
        known = _MODELS[models] = collection, models.with_controls(controls)
    return known[1]


def moved_picture(visitor: Visitor, models: EditingModels, *, quick: bool) -> np.ndarray:
    """The face as it is moved now: uint8 [s, s, 3], small while a slider moves."""
    discovery = visitor.discovery
    assert discovery.collection is not None
    draw = preview_picture if quick else edited_picture
    return draw(models_with(discovery.collection, models), subject_of(visitor, models), discovery.edit)


def effect_of_moves(visitor: Visitor, models: EditingModels) -> Effect:
    """What the directions did to the face, by the image classifier and dlib."""
    discovery = visitor.discovery
    assert discovery.collection is not None
    return effect_of(models_with(discovery.collection, models), subject_of(visitor, models), discovery.edit,
                     moved_picture(visitor, models, quick=False))


def found_direction(discovery: Discovery, name: str, hold: Sequence[str], models: EditingModels) -> Direction:
    """All that is moved as one direction with a name.

    Args:
        discovery: What is moved.
        name: What it is to be called; spaces and capital letters are made to fit.
        hold: Controls whose scores are to stay.
        models: The visitor's.
    Raises:
        InputError: no name that can be used, or one that is there already; nothing is moved; what is moved cannot be
            put together, or cannot be held still.
    """
    called = re.sub(r"[\s-]+", "_", (name or "").strip().lower())
    if not NAME.fullmatch(called):
        raise InputError(name or "the name", "cannot be the name of a slider" if name else "is missing",
                         "use letters, digits and _, as in wide_eyes")
    if called in models.controls or called in TITLES:
        raise InputError(called, "is there already", "take another name")
    assert discovery.collection is not None
    parts = [(discovery.collection.directions[number], amount) for number, amount in discovery.amounts.items()
             if amount]
    made = combined(parts, name=called, layers=discovery.layers)
    if not hold:
        return made
    if not isinstance(made, LinearDirection):
        raise InputError(called, "moves weights, along which no score can be held still", "hold nothing still")
    kept: list[Control] = [models.controls.control(each) for each in hold]
    return held_still(made, kept, models.generator.sample(range(1000)).float().cpu())


def take_up(discovery: Discovery, name: str, hold: Sequence[str], models: EditingModels) -> EditingModels:
    """The visitor's models with what is moved as one more slider.

    Raises:
        InputError: as `found_direction`.
    """
    made = found_direction(discovery, name, hold, models)
    return models.with_controls(models.controls.joined(Controls([made], spaces=models.generator.spaces,
                                                                 source=made.name)))


def export(discovery: Discovery, name: str, hold: Sequence[str], models: EditingModels, path: Path) -> None:
    """Write what is moved as a file of directions.

    Raises:
        InputError: as `found_direction`.
    """
    save(path, [found_direction(discovery, name, hold, models)], spaces=models.generator.spaces)


def open_file(path: str | Path, name: str, models: EditingModels) -> Collection:
    """The components of a visitor's own file.

    Raises:
        InputError: not a file of components, or for another generator; the message names it.
    """
    try:
        found = load_components(path)
        found.check(models.generator)
        return of_components(FILE, found, {})
    except InputError as error:
        raise error.about(name) from error


class _Ended(Exception):
    """A search was to end."""


def search_layer(discovery: Discovery, layer: str, models: EditingModels, inversions: InversionQueue,
                 after: InversionQueue) -> Iterator[Waiting | SearchProgress]:
    """Find components of a layer, yielding how far it is; in the end they are what the visitor looks at.

    They are kept as those of `gradctrl discover components` are. `Discovery.end_search` ends it, and so does closing
    the iterator; that leaves everything as it was. It waits among `inversions`, and lets those of `after` go first.

    Raises:
        InputError: there is no such layer, memory does not suffice, or too many wait.
    """
    settings = ComponentSettings(layer=layer, analysis="incremental", samples=LAYER_SAMPLES, count=LAYER_COUNT)
    stop, generator = discovery.begin_search(), models.generator

    def work(should_stop: Callable[[], bool], on_step: Callable[[SearchProgress], None]) -> Components | None:
        begin, is_over = time.monotonic(), giving_way(should_stop, WAY)

        def on_samples(done: int, total: int) -> None:
            on_step(SearchProgress(done, total, time.monotonic() - begin))
            if is_over():
                raise _Ended

        try:
            return cached_components(generator, settings, on_step=on_samples)[0]
        except _Ended:
            return None

    found = yield from in_turn(inversions, work, stop, after=after)
    if found is not None and discovery.stop is stop:
        discovery.searched = of_components(LAYER, found, {})
        choose(discovery, LAYER, models)


def link_of(discovery: Discovery) -> str:
    """What is moved, for the address of the page; of one's own face nothing is told but that."""
    assert discovery.collection is not None
    amounts = ",".join(f"{number}={amount:g}" for number, amount in sorted(discovery.amounts.items()) if amount)
    layers = "" if discovery.layers is None else f"{discovery.layers[0]}:{discovery.layers[1]}"
    who = MEAN if discovery.who == MEAN else f"{SAMPLE}{discovery.seed}"
    return f"{discovery.collection.name};{amounts};{layers};{int(discovery.centred)};{who}"


def follow_link(discovery: Discovery, link: str, models: EditingModels) -> None:
    """Take up what somebody's link says.

    Raises:
        InputError: it cannot be read, or names what is not there.
    """
    told = LINK.fullmatch(link[:2000])
    if told is None:
        raise InputError("discover", "the link cannot be read", "ask for it again")
    try:
        amounts = {int(number): float(amount) for number, _, amount in
                   (part.partition("=") for part in told["amounts"].split(",") if part)}
    except ValueError as error:
        raise InputError("discover", "the link holds what is no number", "ask for it again") from error
    choose(discovery, told["collection"], models)
    assert discovery.collection is not None
    if any(number >= len(discovery.collection) for number in amounts):
        raise InputError("discover", f"there are {len(discovery.collection)} such directions, from 0", "ask again")
    for number, amount in amounts.items():
        low, high = discovery.collection.reach(number)
        discovery.amounts[number] = min(max(amount, low), high)
    layers = [int(part) for part in (told["layers"] or "").split(":") if part]
    discovery.layers = (layers[0], layers[1]) if layers else None
    if discovery.layers is not None:
        models.generator.rows(discovery.layers)
    discovery.centred, discovery.who = told["centred"] == "1", told["who"]
    discovery.seed = int(told["seed"][:9] or 0)
    discovery.page = min(amounts, default=0) // SHOWN


def sides(generator: Generator) -> list[int]:
    """The sides of features at which layers begin, in pixels."""
    return [4 * 2 ** power for power in range(int(math.log2(generator.img_resolution)) - 1)]


def layers_between(first: int, last: int, generator: Generator) -> tuple[int, int] | None:
    """The layer range from features of one side to those of another; None: all of them.

    Raises:
        InputError: the first is larger than the last.
    """
    if first > last:
        raise InputError("Layers", f"{first} to {last} pixels is no range", "choose the smaller one first")
    if first == 4 and last == generator.img_resolution:
        return None
    return first, last * 2 if last < generator.img_resolution else ALL_LAYERS[1]
