"""Models woven from attention layers: the configuration, the decoder, presets and their description.

Importing this package imports no torch; `ModelConfig`, `preset` and `preset_names` do not need it either.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
