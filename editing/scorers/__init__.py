"""Sources of semantic scores: the bundled image classifier, classifiers of the user's own, and labels by people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from editing.scorers.bundled import BundledScorer as BundledScorer
    from editing.scorers.bundled import FaceClassifier as FaceClassifier
    from editing.scorers.bundled import load_bundled_scorer as load_bundled_scorer
    from editing.scorers.bundled import load_face_classifier as load_face_classifier
    from editing.scorers.bundled import save_face_classifier as save_face_classifier
    from editing.scorers.files import FileScorer as FileScorer
    from editing.scorers.files import load_file_scorer as load_file_scorer
    from editing.scorers.labels import read_labels as read_labels
    from editing.scorers.protocol import ImageScorer as ImageScorer
    from editing.scorers.scoring import load_scorer as load_scorer
    from editing.scorers.scoring import score_bank as score_bank

_HOMES = {
    "BundledScorer": "bundled", "load_bundled_scorer": "bundled", "FaceClassifier": "bundled",
    "load_face_classifier": "bundled", "save_face_classifier": "bundled", "FileScorer": "files",
    "load_file_scorer": "files", "read_labels": "labels", "ImageScorer": "protocol", "load_scorer": "scoring",
    "score_bank": "scoring",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
