"""Documents in which a reader meets a definition before its use, as near to compilable as can be."""

from .documents import documents

__all__ = ["documents"]
