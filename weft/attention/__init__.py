"""Attention layers as plain ``nn.Module``s: native sparse, sliding window, latent and full, under one protocol.

Importing this package imports no torch; the modules arrive when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
