"""Generators of pictures: the interface, the architectures, and readers of other people's files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
