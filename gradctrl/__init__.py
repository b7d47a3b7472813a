"""GradCtrl: gradient-masked, multi-directional controls on w (Chen et al., ECCV 2022).

Knows latents only: no pixels, no generator.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
