"""What says how much of an attribute is in a picture: image classifiers, and labels given by people."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
