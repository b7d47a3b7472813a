"""Readers of generator files, our own and other people's; no pickle is ever run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
