"""Weft: language models whose layers are woven from several kinds of attention.

Importing this package imports no torch, probes no device and reads no environment variable.
"""

from weft._version import __version__

__all__ = ["__version__"]
