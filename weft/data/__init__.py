"""Documents from anywhere, turned into tokens, packed into rows and dealt out in an order that any restart repeats.

Nothing here imports torch until a `Batch` is made.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
