"""Many project trees out of a few: real trees written again under other names, each time with other identifiers.

What is repeated would be dropped as a duplicate. So every word that is no keyword, no name of the standard library and
no part of an include gets an ending of its own in each copy, everywhere alike: the code keeps its shape, its includes
and its references, and shares hardly a token with the other copies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from weft.cpp.decode import decode
from weft.cpp.discover import discover

_KEYWORDS = (
    "alignas alignof and_eq asm auto bitand bitor bool break case catch char char16_t char32_t char8_t class "
    "co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype "
    "default define defined delete double dynamic_cast elif else endif enum error explicit export extern false "
    "float for friend goto if ifdef ifndef include inline int long mutable namespace new noexcept not_eq nullptr "
    "operator or_eq pragma private protected public register reinterpret_cast requires return short signed sizeof "
    "static static_assert static_cast struct switch template this thread_local throw true try typedef typeid "
    "typename undef union unsigned using virtual void volatile wchar_t while xor_eq final override size_t uint8_t "
    "uint16_t uint32_t uint64_t int8_t int16_t int32_t int64_t once std main NULL "
)
_KEPT = frozenset(word.encode() for word in _KEYWORDS.split())
_STANDARD = re.compile(rb"\bstd::(\w+)")
_TOKEN = re.compile(
    rb'^[ \t]*#[ \t]*include[^\n]*|//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|[A-Za-z_]\w\w+',
    re.DOTALL | re.MULTILINE,
)

Tree = dict[str, bytes]
"""Path -> text."""


def read_trees(roots: Sequence[Path]) -> dict[str, Tree]:
    """The C++ files of each tree, by the tree's name.

    Raises:
        ValueError: there are none.
    """
    trees = {}
    for root in roots:
        found = {path: decode((root / path).read_bytes()) for path, _ in discover(root).files}
        trees[root.name] = {path: one.text for path, one in found.items() if one.reason is None}
    if not any(trees.values()):
        raise ValueError(f"no C++ file lies in {', '.join(map(str, roots))}; see benchmarks/cpp_projects.py for trees")
    return trees


def write_copies(trees: dict[str, Tree], target: Path, *, files: int) -> tuple[list[Path], int]:
    """Copies below `target` until there are so many files.

    Args:
        trees: What is repeated, all of it before anything comes twice.
        target: A folder; made.
        files: How many.

    Returns:
        The copies' folders, and the bytes of all files.
    """
    roots, size, left = [], 0, files
    for number, name, tree in _endless(trees):
        root = target / f"{name}-{number}"
        roots.append(root)
        standard = frozenset(word for text in tree.values() for word in _STANDARD.findall(text))
        for path, text in list(tree.items())[:left]:
            written = renamed(text, b"_%x" % number, standard) if number else text
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(written)
            size += len(written)
            left -= 1
        if not left:
            return roots, size
    raise AssertionError("unreachable: the trees never end")


def renamed(text: bytes, ending: bytes, standard: frozenset[bytes]) -> bytes:
    """The text with the ending behind each word of three letters or more, except in includes, comments and strings.

    Args:
        text: C++.
        ending: What makes the words other words.
        standard: Words that stay as they are, beside the keywords.
    """

    def of(found: re.Match[bytes]) -> bytes:
        word = found[0]
        if not (word[:1].isalpha() or word[:1] == b"_") or word in _KEPT or word in standard:
            return word
        return word + ending

    return _TOKEN.sub(of, text)


def _endless(trees: dict[str, Tree]) -> Iterator[tuple[int, str, Tree]]:
    number = 0
    while True:
        for name, tree in trees.items():
            if tree:
                yield number, name, tree
        number += 1
