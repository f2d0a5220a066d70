"""Measures of a trained model: loss and bits per byte, and what a compressor needs. Importing it imports no torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
