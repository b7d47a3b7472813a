"""From a photo to a latent and back: decoding, faces and alignment, perceptual distance, projector, paste-back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from inversion.alignment import FaceTooSmallError as FaceTooSmallError
    from inversion.alignment import align as align
    from inversion.alignment import quad_of as quad_of
    from inversion.cache import InversionCache as InversionCache
    from inversion.faces import SAME_PERSON as SAME_PERSON
    from inversion.faces import Face as Face
    from inversion.faces import NoFaceError as NoFaceError
    from inversion.faces import SeveralFacesError as SeveralFacesError
    from inversion.faces import choose_face as choose_face
    from inversion.faces import describe as describe
    from inversion.faces import describe_crop as describe_crop
    from inversion.faces import find_faces as find_faces
    from inversion.faces import identity_distance as identity_distance
    from inversion.limits import limits_of_face as limits_of_face
    from inversion.limits import limits_of_inversion as limits_of_inversion
    from inversion.limits import with_warnings as with_warnings
    from inversion.paste import PasteBack as PasteBack
    from inversion.paste import paste_back as paste_back
    from inversion.paste import paste_mask as paste_mask
    from inversion.perceptual import PerceptualDistance as PerceptualDistance
    from inversion.photo import Photo as Photo
    from inversion.photo import open_photo as open_photo
    from inversion.photo import photo_from_array as photo_from_array
    from inversion.photo import read_picture_metadata as read_picture_metadata
    from inversion.photo import save_picture as save_picture
    from inversion.projector import Progress as Progress
    from inversion.projector import Projector as Projector
    from inversion.record import Inversion as Inversion
    from inversion.record import load_inversion as load_inversion
    from inversion.record import save_inversion as save_inversion
    from inversion.settings import DEFAULT_PRESET as DEFAULT_PRESET
    from inversion.settings import PRESETS as PRESETS
    from inversion.settings import ProjectorSettings as ProjectorSettings
    from inversion.settings import preset as preset

_HOMES = {
    "align": "alignment", "FaceTooSmallError": "alignment", "quad_of": "alignment", "SAME_PERSON": "faces",
    "Face": "faces", "NoFaceError": "faces", "SeveralFacesError": "faces", "describe": "faces",
    "choose_face": "faces", "describe_crop": "faces", "find_faces": "faces", "identity_distance": "faces",
    "PasteBack": "paste", "paste_back": "paste", "paste_mask": "paste", "PerceptualDistance": "perceptual",
    "Photo": "photo", "open_photo": "photo", "photo_from_array": "photo", "read_picture_metadata": "photo",
    "save_picture": "photo",
    "Progress": "projector", "Projector": "projector", "Inversion": "record", "load_inversion": "record",
    "save_inversion": "record", "InversionCache": "cache", "DEFAULT_PRESET": "settings", "PRESETS": "settings",
    "ProjectorSettings": "settings", "preset": "settings", "limits_of_face": "limits",
    "limits_of_inversion": "limits", "with_warnings": "limits",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
