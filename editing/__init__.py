"""Editing: the Editor, strips, videos and recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weights.lazy import exports

if TYPE_CHECKING:
    from editing.edit import Edit as Edit
    from editing.editor import Edited as Edited
    from editing.editor import Editor as Editor
    from editing.recipe import RECIPE_KEY as RECIPE_KEY
    from editing.recipe import PhotoSource as PhotoSource
    from editing.recipe import Recipe as Recipe
    from editing.recipe import SampleSource as SampleSource
    from editing.recipe import load_recipe as load_recipe
    from editing.recipe import parse_recipe as parse_recipe
    from editing.recipe import reproduce as reproduce
    from editing.recipe import save_recipe as save_recipe
    from editing.session import Session as Session
    from editing.session import load_session as load_session
    from editing.session import save_session as save_session
    from editing.strips import edit_each as edit_each
    from editing.strips import frames as frames
    from editing.strips import join as join
    from editing.strips import strip as strip
    from editing.video import save_video as save_video

_HOMES = {
    "Edit": "edit", "Edited": "editor", "Editor": "editor", "RECIPE_KEY": "recipe", "PhotoSource": "recipe",
    "Recipe": "recipe", "SampleSource": "recipe", "load_recipe": "recipe", "parse_recipe": "recipe",
    "reproduce": "recipe", "save_recipe": "recipe", "Session": "session", "load_session": "session",
    "save_session": "session", "edit_each": "strips", "frames": "strips", "join": "strips", "strip": "strips",
    "save_video": "video",
}
__all__ = list(_HOMES)
__getattr__ = exports(__name__, _HOMES)
