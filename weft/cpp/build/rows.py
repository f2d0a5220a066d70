"""A document as a row of a shard."""

from __future__ import annotations

from typing import Any

import pyarrow

from weft.cpp.document import Document

SCHEMA = pyarrow.schema(
    [
        ("text", pyarrow.string()),
        ("n_tokens", pyarrow.int32()),
        ("project", pyarrow.string()),
        ("paths", pyarrow.list_(pyarrow.string())),
        (
            "spans",
            pyarrow.list_(
                pyarrow.struct([("path", pyarrow.string()), ("start", pyarrow.int64()), ("end", pyarrow.int64())])
            ),
        ),
        ("licences", pyarrow.list_(pyarrow.string())),
        ("mode", pyarrow.string()),
        ("kind", pyarrow.string()),
        ("parse_errors", pyarrow.int32()),
        ("compiles", pyarrow.bool_()),
        ("oversize", pyarrow.bool_()),
        ("content_hash", pyarrow.string()),
    ]
)
"""Of every shard; the text comes first, it is what training reads."""


def facts_of(document: Document) -> dict[str, Any]:
    """Everything of a row but its text, JSON-able."""
    return {
        "n_tokens": document.n_tokens,
        "project": document.project,
        "paths": list(document.paths),
        "spans": [{"path": span.path, "start": span.start, "end": span.end} for span in document.spans],
        "licences": list(document.licences),
        "mode": document.mode,
        "kind": document.kind,
        "parse_errors": document.parse_errors,
        "compiles": document.compiles,
        "oversize": document.oversize,
        "content_hash": document.content_hash,
    }
