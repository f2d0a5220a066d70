"""What names really refer to, by libclang: overloads, methods, operators, templates. Optional and slow, but exact."""

from .clang import Clang
from .index import FileIndex, SemanticIndex, Symbol, Use, semantic_index
from .uses import Declared, Reference, references

__all__ = [
    "Clang",
    "Declared",
    "FileIndex",
    "Reference",
    "SemanticIndex",
    "Symbol",
    "Use",
    "references",
    "semantic_index",
]
