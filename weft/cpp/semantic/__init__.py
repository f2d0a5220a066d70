"""What names really refer to, by libclang: overloads, methods, operators, templates. Optional and slow, but exact."""

from .clang import Clang
from .index import FileIndex, SemanticIndex, Symbol, Use, semantic_index
from .meanings import meanings
from .serve import Unread
from .told import Told
from .uses import Declared, Reference, references
from .worker import Limits

__all__ = [
    "Clang",
    "Declared",
    "FileIndex",
    "Limits",
    "Reference",
    "SemanticIndex",
    "Symbol",
    "Told",
    "Unread",
    "Use",
    "meanings",
    "references",
    "semantic_index",
]
