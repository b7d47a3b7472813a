"""From a photo to an edited photo: the Editor, strips, videos, recipes and sessions."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
