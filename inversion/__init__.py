"""From a photo to a latent and back: decoding, faces and alignment, perceptual distance, projector, paste-back."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
