"""From samples and labels to controls: banks of samples, scorers, lessons, calibration."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
