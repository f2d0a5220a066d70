"""What a model's attention did with a text, as one HTML page: collect (torch) -> report (arrays) -> page (HTML)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
