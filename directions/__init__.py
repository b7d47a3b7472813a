"""Directions and controls: ways to move a latent, their one file format, and the methods by which they are found."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
