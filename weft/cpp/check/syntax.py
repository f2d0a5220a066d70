"""What the checks ask of a parsed text: where its functions' bodies are, and whether it has any function or type."""

from __future__ import annotations

import functools
import re
from typing import Any

_BODIES = "(function_definition body: (compound_statement) @body)"
_GROUPS = re.compile(rb"^[ \t]*#[ \t]*(if|el|endif)", re.MULTILINE)
_DEFINITIONS = """
(function_definition) @definition
(class_specifier body: (_)) @definition
(struct_specifier body: (_)) @definition
(union_specifier body: (_)) @definition
(enum_specifier body: (_)) @definition
"""


def function_bodies(text: bytes) -> list[tuple[int, int]]:
    """(start, end) of each function's body, braces included, in order; none of a body that the grammar misreads.

    Behind a macro that it does not know it takes a namespace for a function without parameters, and a function whose
    head stands in both branches of an `#if` it ends too late: those are left out.
    """
    parser, bodies, _ = _tools()
    found = _captures(bodies, parser.parse(text).root_node).get("body", [])
    spans = [(node.start_byte, node.end_byte) for node in found if not node.has_error and _has_parameters(node)]
    return sorted((start, end) for start, end in spans if _holds_whole_groups(text[start:end]))


def is_trivial(text: bytes) -> bool:
    """True for a text that defines no function and no type: nothing of it can be out of order."""
    parser, _, definitions = _tools()
    return not _captures(definitions, parser.parse(text).root_node)


def _holds_whole_groups(body: bytes) -> bool:
    """Whether each `#if` in it has its `#endif` there, and each `#else` its `#if`."""
    depth = 0
    for directive in _GROUPS.findall(body):
        depth += {b"if": 1, b"endif": -1}.get(directive, 0)
        if depth < (1 if directive == b"el" else 0):
            return False
    return depth == 0


def _has_parameters(body: Any) -> bool:
    node = body.parent.child_by_field_name("declarator")
    while node is not None and node.type not in ("function_declarator", "operator_cast"):
        node = node.child_by_field_name("declarator") or next(iter(node.named_children), None)
    return node is not None


@functools.cache
def _tools() -> tuple[Any, Any, Any]:
    import tree_sitter
    import tree_sitter_cpp

    language = tree_sitter.Language(tree_sitter_cpp.language())
    return (
        tree_sitter.Parser(language),
        tree_sitter.Query(language, _BODIES),
        tree_sitter.Query(language, _DEFINITIONS),
    )


def _captures(query: Any, node: Any) -> dict[str, list[Any]]:
    import tree_sitter

    return tree_sitter.QueryCursor(query).captures(node)
