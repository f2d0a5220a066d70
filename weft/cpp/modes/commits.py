"""Mode `commits`: how files changed. A document is a chain: a file as it was, then what commit after commit did to it.

// src/queue.cpp
(the file)
// commit: Close the queue before its threads
--- src/queue.cpp
+++ src/queue.cpp
@@ -10,7 +10,8 @@
...
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from weft.cpp.document import Document
from weft.cpp.tokens import CountTokens

_CONTEXTS = (20, 3)
"""Lines around a change, for one whose file is too long to stand before it; the most that fits is taken."""
_BESIDE_FILE = 3
"""Lines around a change whose file stands before it."""


@dataclass(frozen=True)
class Change:
    """What one commit did to one file."""

    path: str
    old: bytes
    """Before; empty for a new file."""

    new: bytes
    """After; empty for one that was removed."""

    message: str
    licences: tuple[str, ...] = ()


@dataclass
class _Chain:
    """A document that may still grow."""

    path: str
    last: bytes
    """The file behind the last step."""
    text: bytes
    tokens: int
    licences: set[str] = field(default_factory=set)


def commit_documents(
    changes: Iterable[Change], project: str, *, max_tokens: int, count_tokens: CountTokens, left_out: Counter[str]
) -> Iterator[Document]:
    """A document for each chain of changes of a file that fits into the budget.

    Args:
        changes: From the oldest to the newest.
        project: Its name.
        max_tokens: Of a document.
        count_tokens: Tokens of a text.
        left_out: Takes the changes that fit nowhere.
    """
    chains: dict[str, _Chain] = {}
    for change in changes:
        chain = chains.get(change.path)
        if chain is not None and chain.last == change.old:
            longer = chain.text + b"\n" + _step(change, _BESIDE_FILE)
            tokens = count_tokens(longer)
            if tokens <= max_tokens:
                chain.text, chain.tokens, chain.last = longer, tokens, change.new
                chain.licences.update(change.licences)
                continue
        if chain is not None:
            yield _document(chains.pop(change.path), project)
        begun = _begin(change, max_tokens, count_tokens)
        if begun is None:
            left_out["change longer than the budget"] += 1
        else:
            chains[change.path] = begun
    for path in sorted(chains):
        yield _document(chains[path], project)


def _begin(change: Change, max_tokens: int, count_tokens: CountTokens) -> _Chain | None:
    """The first step with the file before it; without it, where that is too long; None where nothing fits."""
    head = b"// " + change.path.encode() + b"\n"
    if change.old:
        old = change.old if change.old.endswith(b"\n") else change.old + b"\n"
        texts = [head + old + _step(change, _BESIDE_FILE), *(_step(change, lines) for lines in _CONTEXTS)]
    else:
        texts = [_comment(change.message) + head + change.new]
    for text in texts:
        tokens = count_tokens(text)
        if tokens <= max_tokens:
            return _Chain(change.path, change.new, text, tokens, set(change.licences))
    return None


def _step(change: Change, lines: int) -> bytes:
    """The message as a comment, and the unified diff."""
    path = change.path.encode()
    diff = difflib.diff_bytes(
        difflib.unified_diff,
        change.old.splitlines(keepends=True),
        change.new.splitlines(keepends=True),
        path,
        path,
        n=lines,
    )
    return _comment(change.message) + b"".join(line if line.endswith(b"\n") else line + b"\n" for line in diff)


def _comment(message: str) -> bytes:
    lines = message.strip().splitlines() or ["(no message)"]
    first, *others = (line.rstrip().rstrip("\\") for line in lines)  # a backslash would continue the comment
    return "".join([f"// commit: {first}\n", *(f"// {line}".rstrip() + "\n" for line in others)]).encode(
        errors="replace"
    )


def _document(chain: _Chain, project: str) -> Document:
    return Document(
        chain.text,
        n_tokens=chain.tokens,
        project=project,
        paths=(chain.path,),
        spans=(),
        licences=tuple(sorted(chain.licences)),
        mode="commits",
        kind="cut",
    )
