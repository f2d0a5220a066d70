"""What stands in for a definition where its body has no room: a prototype, a class with prototypes."""

from __future__ import annotations

import re

from ..items import Item

_TRIVIA = re.compile(rb"//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_NEEDS_BODY = re.compile(rb"(?i:constexpr|consteval)|\btry\s*$")
_DEDUCED = re.compile(rb"\bauto\b|\bdecltype\s*\(\s*auto\s*\)")
_MACRO_HEAD = re.compile(rb"\s*(?:[A-Z][A-Z0-9_]{3,}\s*\(|\w+\s*\([^()]*\)\s*$)")
_COMMENT_OR_CONSTANT = re.compile(
    rb"(//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?(?:\*/|\Z))"
    rb'|(?:u8|[uUL])?R"[^()\\\s]{0,16}\([\s\S]*?\)[^()\\\s"]{0,16}"'
    rb'|"(?:[^"\\\n]|\\[\s\S])*"?|\d[\w.]*(?:\'[\w.]+)*|\'(?:[^\'\\\n]|\\[\s\S])*\'?'
)
_EMPTY_LINES = re.compile(rb"(?<!\\)\n(?:[ \t\r]*\n)+")
_WORTH_IT = 16
"""Bytes that a stand-in has to save."""

_SMALL_BODY = 240
"""Bytes: constexpr functions up to this size compute constants more often than longer ones, and cost less."""

_LONG_TABLE = 600
"""Bytes: a shorter variable stands as it is."""

_INITIALISED = re.compile(rb"[\w\s:<>,*]*\w\s*(?:\[[^\]]*\]\s*)*=?\s*\{")
_MARKS = re.compile(
    rb"//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?\*/|\"(?:[^\"\\\n]|\\.)*\"|\d[\w.]*(?:'[\w.]+)*|'(?:[^'\\\n]|\\.)*'|([{}(),])"
)
_CLASS_HEAD = re.compile(
    rb"(template\s*<(?:[^<>{};()]|<[^<>{};()]*>)*>\s*)?(?:class|struct|union)\s+(?:[A-Z_]+\s+)?(\w+)\s*(?=final|:|#|$)"
)
_ENUM_HEAD = re.compile(rb"enum\s")
_INITIALISER = re.compile(rb"\{[^;]*\}\s*;\s*(?://[^\n]*\s*)?")
"""Of `int x GUARDED_BY(m) {0};`, which looks like a function; one without a statement needs no shorter form."""

_DIRECTIVE = re.compile(rb"^[ \t]*#", re.MULTILINE)


def stand_in(item: Item, text: bytes, *, lean: bool = False) -> bytes | None:
    """The item without the bodies of its functions; None where nothing shorter would still compile.

    Kept are bodies whose absence the language forbids (a deduced return type), those of functions that a macro opens,
    and those that constants may be computed with. Comments are left out.

    Args:
        item: Of `text`.
        text: The whole file.
        lean: Leave out the bodies of constexpr functions too, which compiles unless they are evaluated.
    """
    short: bytes | None = None
    outside = item.name.startswith("::")  # a member cannot be declared again outside its class
    if item.kind == "function" and not (outside or _MACRO_HEAD.match(text, item.head, max(item.body, item.head))):
        short = prototype(item, text, lean=lean)
    elif item.kind == "variable":
        short = excerpt(item, text)
    elif item.kind == "type" and item.inner >= 0:
        members = (_member(child, text, lean, item.name) for child in item.children)
        short = b"".join([text[item.head : item.inner], *members, text[item.tail : item.end]])
    whole = text[item.start : item.end]
    short = without_comments(text[item.head : item.end] if short is None else short)
    return short if len(short) + _WORTH_IT < len(whole) else None


def bare(item: Item, text: bytes) -> bytes | None:
    """A function's declaration, even where a constant may be computed with it; None where that cannot stand."""
    if item.kind != "function" or item.name.startswith("::"):
        return None
    if _MACRO_HEAD.match(text, item.head, max(item.body, item.head)):
        return None
    return prototype(item, text, evaluated=False)


def forward_declaration(item: Item, text: bytes) -> bytes | None:
    """`template <...> class X;` for a class, `enum X {};` for an enumeration that is declared alone.

    None for anything else, and for what no such line can announce.
    """
    if item.kind == "enum" and item.name and "::" not in item.name and item.body >= 0:
        head = without_comments(text[item.head : item.body])
        alone = _ENUM_HEAD.match(head) and re.search(rb"\}\s*;\s*$", without_comments(text[item.body : item.end]))
        return head.rstrip() + b" {};\n" if alone else None
    if item.kind != "type" or item.body < 0 or not item.name or "::" in item.name:
        return None
    head = without_comments(text[item.head : item.body])
    found = _CLASS_HEAD.match(head)
    if found is None or found[2].decode() != item.name:
        return None
    if item.tail >= 0 and without_comments(text[item.tail : item.end]).strip(b"}; \t\r\n"):
        return None  # variables of it
    return found[0].rstrip() + b";\n"


def without_comments(text: bytes) -> bytes:
    """The same code; a comment is one blank, lines that hold nothing else are gone."""
    if b"//" in text or b"/*" in text:
        text = _COMMENT_OR_CONSTANT.sub(lambda found: b" " if found[1] else found[0], text)
    return _EMPTY_LINES.sub(b"\n", text)


def _converts(item: Item, text: bytes, inside: str) -> bool:
    """Whether it is a constructor of whatever it is given, which may be a type that only some function's body knows."""
    return item.name == inside and text.startswith(b"template", item.head) and item.end - item.body <= _SMALL_BODY


def _member(item: Item, text: bytes, lean: bool, inside: str) -> bytes:
    """A member of the class `inside` without bodies."""
    if item.kind == "comment":
        return b""
    if item.kind == "conditional":
        children = b"".join(_member(child, text, lean, inside) for child in item.children)
        return text[item.head : item.inner] + children + text[item.tail : item.end]
    if item.kind == "branch" or item.kind == "access":
        return text[_line_start(text, item) : item.end]
    start = _line_start(text, item)
    if item.kind == "function":
        short = None if not lean and _converts(item, text, inside) else prototype(item, text, lean=lean)
        return text[start : item.end] if short is None else text[start : item.head] + short
    if item.kind == "type" and item.inner >= 0:
        children = b"".join(_member(child, text, lean, item.name) for child in item.children)
        return text[start : item.inner] + children + text[item.tail : item.end]
    return text[start : item.end]


def _line_start(text: bytes, item: Item) -> int:
    """The start of the item's indentation, comments before it not included."""
    start = text.rfind(b"\n", 0, item.head) + 1
    return start if start >= item.start and not text[start : item.head].strip() else item.head


def prototype(item: Item, text: bytes, *, lean: bool = False, evaluated: bool = True) -> bytes | None:
    """The function's declaration up to its body, with a semicolon; None where it needs the body (see `stand_in`).

    Args:
        item: Of `text`.
        text: The whole file.
        lean: Leave out long bodies of constexpr functions.
        evaluated: False to leave out all of those.
    """
    if item.body < 0 or _INITIALISER.fullmatch(text, item.body, item.end):
        return None
    head = text[item.head : item.body]
    plain = _TRIVIA.sub(lambda found: b" " * len(found[0]), head)
    constant = _NEEDS_BODY.search(plain) and evaluated and not (lean and item.end - item.body > _SMALL_BODY)
    if _DIRECTIVE.search(plain) or constant or (_DEDUCED.search(plain) and b"->" not in plain):
        return None
    return without_comments(head[: member_initialisers(plain)]).rstrip() + b";\n"


def excerpt(item: Item, text: bytes) -> bytes | None:
    """A long initialised table with its first entries only; None for anything else."""
    if item.end - item.head < _LONG_TABLE:
        return None
    found = _INITIALISED.match(text, item.head, item.end)
    if found is None:
        return None
    for at_depth in (1, 2):
        depth = 0
        for mark in _MARKS.finditer(text, found.end() - 1, item.end):
            if mark[1] in (b"{", b"("):
                depth += 1
            elif mark[1] in (b"}", b")"):
                depth -= 1
            elif mark[1] == b"," and depth == at_depth:
                return text[item.head : mark.start()] + b" " + b"}" * at_depth + b";\n"
    return None


def member_initialisers(plain: bytes) -> int:
    """Where a constructor's list of initialisers begins, else the length."""
    depth = 0
    called = False
    for found in re.finditer(rb"::|[():]", plain):
        if found[0] == b"(":
            depth += 1
        elif found[0] == b")":
            depth -= 1
            called = True
        elif found[0] == b":" and called and depth == 0:
            return found.start()
    return len(plain)
