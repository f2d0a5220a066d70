"""Which licences a file stands under, and whether a build may use it.

Evidence in order: the SPDX line in its head, the words of its head, the licence file nearest above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_HEAD_BYTES = 4096
_SPDX = re.compile(rb"SPDX-License-Identifier:\s*([A-Za-z0-9.+\-() ]+)")
_IDENTIFIER = re.compile(r"[A-Za-z0-9.+\-]+")
_WORDS = re.compile(rb"[^a-z0-9]+")

_PHRASES: tuple[tuple[bytes, str], ...] = (
    (b"gnu affero general public license version 3", "AGPL-3.0-only"),
    (b"gnu affero general public license", "AGPL-3.0-only"),
    (b"gnu lesser general public license version 3", "LGPL-3.0-only"),
    (b"gnu lesser general public license version 2 1", "LGPL-2.1-only"),
    (b"gnu lesser general public license", "LGPL-2.1-only"),
    (b"gnu library general public license", "LGPL-2.0-only"),
    (b"gnu general public license version 3", "GPL-3.0-only"),
    (b"gnu general public license version 2", "GPL-2.0-only"),
    (b"gnu general public license", "GPL-2.0-only"),
    (b"apache license version 2 0 with llvm exceptions", "Apache-2.0 WITH LLVM-exception"),
    (b"apache license version 2 0", "Apache-2.0"),
    (b"mozilla public license v 2 0", "MPL-2.0"),
    (b"mozilla public license version 2 0", "MPL-2.0"),
    (b"boost software license version 1 0", "BSL-1.0"),
    (b"creative commons zero", "CC0-1.0"),
    (b"cc0 1 0 universal", "CC0-1.0"),
    (b"this is free and unencumbered software released into the public domain", "Unlicense"),
    (b"permission to use copy modify and or distribute this software for any purpose", "ISC"),
    (b"this software is provided as is without any express or implied warranty in no event will the authors", "Zlib"),
    (b"this software is provided as is without any express or implied warranty in no event shall the authors", "Zlib"),
    (b"permission is hereby granted free of charge to any person obtaining a copy of this software", "MIT"),
    (b"licensed under the mit license", "MIT"),
    (b"redistributions in binary form must reproduce", "BSD-2-Clause"),
)
"""What a licence says of itself, in lower case with one space for everything else; the first hit of a family counts."""

_BSD_THIRD = (b"neither the name", b"may be used to endorse or promote")
_OR_LATER = (b"or at your option any later version", b"either version")


@dataclass(frozen=True)
class LicencePolicy:
    """What a build may use, by SPDX identifier."""

    allow: tuple[str, ...] = ()
    """Only these; empty: all, also files without any sign of a licence."""

    deny: tuple[str, ...] = ()
    """Never these."""

    def refusal(self, licences: Iterable[str]) -> str | None:
        """Why a file under all of `licences` may not be used; None if it may."""
        licences = tuple(licences)
        denied = [name for name in licences if name in self.deny]
        if denied:
            return f"licence denied ({denied[0]})"
        if self.allow and not licences:
            return "licence unknown"
        outside = [name for name in licences if name not in self.allow] if self.allow else []
        return f"licence not allowed ({outside[0]})" if outside else None


def licences_of(text: bytes, path: str, by_folder: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """SPDX identifiers of a file, sorted.

    Args:
        text: The file.
        path: Below its project.
        by_folder: Folder ("" for the root) -> what its licence files say.
    """
    found = licences_in(text[:_HEAD_BYTES])
    folder = path
    while not found and folder:
        folder = folder.rpartition("/")[0]
        found = by_folder.get(folder, ())
    return found


def licences_in(text: bytes) -> tuple[str, ...]:
    """SPDX identifiers that a head or a licence file names or quotes, sorted."""
    named: set[str] = set()
    for match in _SPDX.finditer(text):
        named |= _identifiers(match[1].decode("ascii"))
    if named:
        return tuple(sorted(named))
    lower = text.lower()
    if b"licen" not in lower and b"redistribut" not in lower and b"permission" not in lower and b"cc0" not in lower:
        return ()
    words = _WORDS.sub(b" ", lower)
    families: dict[str, str] = {}
    for phrase, name in _PHRASES:
        if phrase in words:
            families.setdefault(_family(name), name)
    return tuple(sorted(_refined(name, words) for name in families.values()))


def _identifiers(expression: str) -> set[str]:
    """The licences of an SPDX expression; an exception stays with its licence."""
    words = [word for word in _IDENTIFIER.findall(expression) if word.upper() not in ("AND", "OR")]
    found: list[str] = []
    for word in words:
        if found and (word.upper() == "WITH" or found[-1].upper().endswith(" WITH")):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return set(found)


def _family(name: str) -> str:
    return "GPL" if "GPL" in name else name.partition("-")[0]


def _refined(name: str, words: bytes) -> str:
    if name == "BSD-2-Clause" and any(clause in words for clause in _BSD_THIRD):
        return "BSD-3-Clause"
    if "GPL" in name and any(phrase in words for phrase in _OR_LATER):
        return name.replace("-only", "-or-later")
    return name
