"""What a batch does, as it travels to its workers and comes back: the job, its photos, and what became of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from directions import Edit
from directions.methods import METHODS
from inversion.settings import DEFAULT_PRESET, PRESETS, ProjectorSettings
from weights.errors import InputError
from weights.hashing import sha256_of
from weights.store import is_known, path_of

if TYPE_CHECKING:
    import numpy as np

State = Literal["waiting", "finding", "inverting", "editing", "done", "failed", "cancelled"]
Faces = Literal["largest", "all", "like"]
Output = Literal["photo", "crop", "latent"]
ENDED = ("done", "failed", "cancelled")
ENDINGS = ("png", "jpg", "webp")
OUTPUTS = ("photo", "crop", "latent")
PICTURES, LATENTS, TABLE, ROWS, EDIT = "pictures", "latents", "batch.csv", "batch.jsonl", "edit.json"
JOURNAL, SHEETS = "journal.jsonl", "sheets"


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """What is done to each photo, and by which models. It can be pickled and holds nothing large."""

    edit: Edit = field(default_factory=Edit)
    settings: ProjectorSettings = PRESETS[DEFAULT_PRESET]  # Of the inversions.
    generator: str = "bundled"       # As for `generators.load`,
    class_name: str = ""             # of this class, as for `generators.class_index`; "": its first, or it has none;
    controls: str = "bundled"        # and `directions.load`.
    generator_hash: str = ""         # Of these files (`hash_of`); a worker refuses others. "": any.
    controls_hash: str = ""
    device: str = "cpu"
    only: Literal["", "invert", "edit"] = ""  # One of the two stages: to latents, or from latents on.
    faces: Faces = "largest"         # Which of each photo; "like": the one that looks like the reference.
    reference: tuple[float, ...] = ()  # dlib's descriptor of that face, 128 numbers (`inversion.describe`).
    outputs: tuple[Output, ...] = ("photo", "latent")  # The photo with its faces put back, each face alone, its latent.
    ending: str = "png"              # Of the pictures' names, and so their format: png, jpg or webp.
    mark: bool = False               # Say in each picture's file that a generator edited it (`save_picture`).
    measure: bool = True             # Compare each edited face with the photo's: identity and the controls' scores.
    share_pivot: bool = False        # The first photo of each folder is where the folder's other inversions begin, and
                                     # they share its tuning: frames of one person.
    at_once: int = 1                 # Faces inverted together; more pay on a GPU and hardly change a result.
    thumbnails: bool = True          # Keep small pictures before and after, for the contact sheets.

    def __post_init__(self) -> None:
        for value, known, what in ((self.ending, ENDINGS, "pictures are saved as"),
                                   (self.faces, ("largest", "all", "like"), "faces are"),
                                   (self.only, ("", "invert", "edit"), "stages are")):
            if value not in known:
                raise InputError(value, f"{what} {', '.join(filter(None, known))}", "choose one of these")
        if not self.outputs or set(self.outputs) - {*OUTPUTS}:
            raise InputError(None, f"outputs are {', '.join(OUTPUTS)}", "choose some of these")
        if self.only != "invert" and not self.edit.changes:
            raise InputError(None, "the edit changes nothing, as all strengths are 0", "set one and begin again")
        if self.only == "invert" and "latent" not in self.outputs:
            raise InputError(None, "inverting alone gives latents, and these are not wanted", "keep the latents")
        if self.faces == "like" and len(self.reference) != 128:
            raise InputError(None, "there is no reference face", "give a photo of the person")
        if self.share_pivot and (self.faces == "all" or self.only == "edit" or "latent" not in self.outputs):
            raise InputError(None, "a shared pivot is the latent of one person, kept while photos are inverted",
                             "choose the largest face or the one like a reference, and keep the latents")
        if self.at_once < 1:
            raise InputError(f"{self.at_once} faces at once", "is not possible", "use 1 or more")

    def to_json(self) -> dict[str, Any]:
        """All that the results depend on: not where they are computed, nor how many at a time."""
        data = {**asdict(replace(self, edit=Edit(strengths={"any": 1.0}))), "edit": self.edit.to_json()}
        for name in ("device", "at_once", "thumbnails") + ("generator",) * bool(self.generator_hash) \
                + ("controls",) * bool(self.controls_hash) + ("class_name",) * (not self.class_name):
            del data[name]
        return data

    @property
    def hash(self) -> str:
        """SHA-256 of `to_json`: results of one hash belong together."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class BatchPhoto:
    """A file of a batch: a photo, or what is none, with the reason; or the latents of a photo's faces."""

    name: str                 # As people are told of it: with the folders below the one that was given.
    path: Path | None = None  # None: it cannot be read, for the reason; or there are only its latents.
    reason: str = ""
    own: bool = False         # Whether the file is the batch's own copy, which is removed once it was read.
    latents: tuple[Path, ...] = ()  # Of its faces, the largest first.

    @property
    def file(self) -> Path | None:
        """The file that tells whether it is still the same: the photo, or its first latent."""
        return self.latents[0] if self.latents else self.path


@dataclass(frozen=True, kw_only=True)
class BatchTask:
    """A photo that is handed to a worker."""

    index: int            # Of the photo, from 0.
    photo: BatchPhoto
    stem: str             # Begins the names of its results, below `pictures/` and `latents/`.
    pivot: str = ""       # The latent that it shares, relative to the batch's folder; "": none.


@dataclass(frozen=True, eq=False, kw_only=True)
class Row:
    """How far a batch is with one face of one file."""

    index: int                     # Of the file, from 0.
    name: str                      # The file's.
    state: State = "waiting"
    face: int = 0                  # Of the file, from 0, the largest.
    faces: int = 0                 # That the file has; 0 until they are found.
    reason: str = ""               # Why it failed, in one line.
    step: int = 0                  # Of the inversion, while it runs.
    steps: int = 0
    seconds_left: float = 0.0
    lpips: float | None = None     # These of the inversion, when it is done.
    identity: float | None = None  # Distance of dlib's descriptors between the crop and the inversion's picture;
    edited_identity: float | None = None  # between the crop and the edited picture.
    before: Mapping[str, float] = field(default_factory=dict)  # The controls' scores, by the names of the strengths,
    after: Mapping[str, float] = field(default_factory=dict)   # before the edit and after it.
    seconds: float | None = None   # That the inversion took; shared by those of a group.
    kept: bool = False             # Whether the inversion was there already.
    warnings: tuple[str, ...] = ()
    picture: str = ""              # Written results, relative to the batch's folder.
    latent: str = ""
    pivot: str = ""                # The latent that the inversion shares, perhaps its own.
    node: str = ""                 # The machine of a cluster that made it.
    thumbnails: tuple[np.ndarray, np.ndarray] | None = None  # Before and after, uint8 [h, w, 3], once it is done.

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps of a row that has ended: all that is not as in a new one."""
        left_out = ("index", "step", "steps", "seconds_left", "thumbnails")
        new = Row(index=0, name="")
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        return {name: value for name, value in data.items() if value != getattr(new, name)}

    @staticmethod
    def from_json(data: Mapping[str, Any], index: int) -> Row:
        """What `to_json` wrote."""
        return Row(index=index, **{**data, "warnings": tuple(data.get("warnings", ()))})


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What became of a task. One that has not ended is to be done another time."""

    task: BatchTask
    rows: tuple[Row, ...]
    unfinished: Literal["", "cancelled", "no room"] = ""
    sha256: str = ""  # Of the photo's file.


class JobError(InputError):
    """The job itself cannot be done, whichever the photo."""


def hash_of(source: str, kind: str = "generator") -> str:
    """SHA-256 over the files that a generator or controls are read from; nothing is loaded.

    Args:
        source: As for `generators.load` or `directions.load`.
        kind: "generator" or "controls".
    Raises:
        InputError: there is no such file.
    """
    digest = hashlib.sha256()
    parts = source.split("+") if kind == "controls" and not Path(source).exists() else [source]
    for part in parts:
        name = "bundled-generator" if part == "bundled" else part
        if kind == "controls":
            name = METHODS["gradctrl"].file if part == "bundled" else METHODS[part].file if part in METHODS else part
        path = path_of(name) if is_known(name) else Path(name)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        try:
            digest.update("".join(sha256_of(file) for file in files).encode())
        except OSError as error:
            raise InputError(part, f"cannot be read ({error.strerror or error})", "check the path") from error
    return digest.hexdigest()


def check_files(job: BatchJob) -> None:
    """Refuse files that are others than the job names.

    Raises:
        InputError: naming the file.
    """
    for kind, source, wanted in (("generator", job.generator, job.generator_hash),
                                 ("controls", job.controls, job.controls_hash)):
        if wanted and hash_of(source, kind) != wanted:
            raise InputError(source, f"is another {kind} here than the batch was begun with",
                             "give every machine the same files")
