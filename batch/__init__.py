"""Many photos edited in one go: the job, a worker's part of it, the driver with its journal, and where workers run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
