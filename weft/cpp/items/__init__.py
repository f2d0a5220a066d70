"""Bytes of a C or C++ file -> its items, losslessly."""

from .item import Item
from .split import split

__all__ = ["Item", "split"]
