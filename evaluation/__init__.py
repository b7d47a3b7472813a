"""The paper's evaluation protocol: samples near the boundaries, edited, and judged by their pictures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
