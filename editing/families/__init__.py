"""Other families of directions, with the surface of GradCtrl's controls: InterFaceGAN, GANSpace and StyleSpace.

The baselines that GradCtrl is measured against; each can be used for editing too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from editing.families.files import load_family as load_family
    from editing.families.files import save_family as save_family
    from editing.families.ganspace import fit_components as fit_components
    from editing.families.ganspace import ganspace_candidates as ganspace_candidates
    from editing.families.interfacegan import fit_interfacegan as fit_interfacegan
    from editing.families.linear import FAMILIES as FAMILIES
    from editing.families.linear import LinearControl as LinearControl
    from editing.families.linear import recombine as recombine
    from editing.families.pictures import pick_by_pictures as pick_by_pictures
    from editing.families.stylespace import stylespace_candidates as stylespace_candidates

_HOMES = {
    "load_family": "files", "save_family": "files", "fit_components": "ganspace", "ganspace_candidates": "ganspace",
    "fit_interfacegan": "interfacegan", "FAMILIES": "linear", "LinearControl": "linear", "recombine": "linear",
    "pick_by_pictures": "pictures", "stylespace_candidates": "stylespace",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
