"""What a declaration is, by its head: the text before its brace or semicolon, without comments and the insides of
parentheses (`()`), strings as `\"\"`."""

from __future__ import annotations

import re

from .item import Kind

_ATTRIBUTE = re.compile(rb"\[\[[^\]]*\]\]|\b(?:alignas|__attribute__|__attribute|__declspec|_Alignas)\s*\(\)")
_NAMESPACE = re.compile(rb"(?:inline\s+)?(?:\w+\s+)?\bnamespace\b\s*(?:\w+\s*\(\)\s*)?((?:[\w:]|\s)*)$")
_LINKAGE = re.compile(rb'(?:\w+\s+)?extern\s*""\s*$')
_CLASS_KEY = re.compile(rb"\b(class|struct|union|enum(?:\s+(?:class|struct))?)\b")
_BEFORE_KEY = re.compile(rb"(?:[\w\s]|::|\(\)|\"\")*$")
_MACRO_CALL = re.compile(rb"\b[A-Z_][A-Z0-9_]*\s*\(\)")
_ASSIGNS = re.compile(rb"(?<![=!<>+\-*/%&|^])=(?!=)")
_OPERATOR = re.compile(
    rb"\boperator\s*(?:\(\)|\[\]|[^\s\w(]+|(?:new|delete|co_await)\b(?:\s*\[\])?|\"\"\s*\w+|[\w:<>,*&\s]+?)\s*(?=\(\))"
)
_CALLED = re.compile(rb"((?:[\w>]\s*::\s*)?)((?:~\s*)?\b\w+)\s*(?:<[^<>;]*>)?\s*(?=\(\))")
_MEMBER_INIT = re.compile(rb"\(\)[^:]*(?<!:):(?!:)")
_BARE_MACRO = re.compile(rb"\s*[A-Za-z_]\w*\s*(?:\(\))?\s*")
_BARE_MACROS = re.compile(rb"(?:\s*[A-Z_][A-Z0-9_]{2,}\b\s*(?:\(\))?)+\s*")
_INVOKED = re.compile(rb"(?:[A-Z0-9]*_[A-Z0-9_]*$)|DEFINE_|DECLARE_")
_WORD = re.compile(rb"[A-Za-z_]\w*")
_BOUNDS = re.compile(rb"\[[^\[\]]*\]")
_ANGLES = re.compile(rb"<[^<>;{}]*>")

_TEMPLATE_MACRO = re.compile(rb"template\s*\(\)\s*(?:\(\)\s*)*")

NOT_CALLED = frozenset(
    b"decltype noexcept alignas __attribute__ __attribute __declspec throw requires explicit if while for switch "
    b"return sizeof alignof typeof __typeof__ __asm__ asm __asm static_assert _Static_assert defined catch _Alignas "
    b"consteval const volatile template concept".split()
)
_DECLARES = frozenset(
    b"class struct union enum typedef using template static inline extern const constexpr volatile unsigned signed "
    b"namespace typename friend virtual explicit operator public private protected else do try".split()
)


def without_template(head: bytes) -> tuple[bytes, bool]:
    """The head without `template <...>` prefixes, and `template ()` of macros, before it, and whether it had one."""
    had = False
    head = head.lstrip()
    while head.startswith(b"template"):
        if macro := _TEMPLATE_MACRO.match(head):
            head, had = head[macro.end() :], True
            continue
        opening = head.find(b"<")
        if opening < 0 or head[8:opening].strip():
            break  # an explicit instantiation
        head, had = head[_closing_angle(head, opening) :].lstrip(), True
    if head.startswith(b"extern template"):
        return head, False
    return head, had


def _closing_angle(head: bytes, opening: int) -> int:
    depth = 0
    for found in re.finditer(rb"->|[<>]=|<<|[<>]", head[opening:]):
        if found[0] == b"<":
            depth += 1
        elif found[0] == b">":
            depth -= 1
            if not depth:
                return opening + found.end()
    return len(head)


def at_brace(head: bytes) -> tuple[Kind | None, str]:
    """Kind and name of what this opening brace belongs to; None if the declaration goes on after its closing brace."""
    plain, templated = without_template(_ATTRIBUTE.sub(b" ", head))
    if (found := _NAMESPACE.match(plain)) and not templated:
        names = found[1].split()
        return "namespace", names[-1].decode() if names else ""
    if _LINKAGE.match(plain):
        return "linkage", ""
    if (kind := _type_kind(plain)) is not None:
        return kind
    operator = _OPERATOR.search(plain)
    if _ASSIGNS.search(_OPERATOR.sub(b" ", plain)) or not plain.strip():
        return None, ""
    if b"requires" in plain and (
        plain.rstrip().endswith((b"requires", b"requires ()")) or re.search(rb"\brequires\s*(?:\(\))?\s*$", plain)
    ):
        return None, ""
    if b"()" in (plain if operator else _outside_angles(plain)):
        if _MEMBER_INIT.search(plain) and re.search(rb"[\w>]\s*$", plain):
            return None, ""  # x{1} in a constructor's list
        return "function", operator[0].decode(errors="replace").strip() if operator else called(plain)
    if len(plain.split()) == 1 and _BARE_MACRO.fullmatch(plain):
        return "function", plain.strip().decode()  # MACRO { ... }
    return None, ""


def _type_kind(plain: bytes) -> tuple[Kind, str] | None:
    key = _CLASS_KEY.search(plain)
    if (
        key is None
        or not _BEFORE_KEY.match(plain, 0, key.start())
        or b"()" in _MACRO_CALL.sub(b"", plain[: key.start()])
    ):
        return None
    rest = plain[key.end() :]
    bases = re.split(rb"(?<!:):(?!:)", rest, maxsplit=1)
    named = _MACRO_CALL.sub(b" ", bases[0]).split(b"<")[0]
    if b"(" in named or _ASSIGNS.search(bases[0]):
        return None  # a function that returns a struct, an initialised variable
    words = re.findall(rb"[\w:]+", named)
    while words and words[-1] in (b"final", b"sealed", b"override"):
        words.pop()
    return ("enum" if key[1].startswith(b"enum") else "type"), words[-1].decode() if words else ""


def called(plain: bytes) -> str:
    """The function's name: before its parameters; attributes and macros in capitals only if nothing else is called."""
    initialisers = _MEMBER_INIT.search(plain)
    plain = plain[: initialisers.end()] if initialisers else plain
    names = [found for found in _CALLED.finditer(plain) if found[2] not in NOT_CALLED]
    for found in names:
        if found[1] or not (found[2].isupper() and len(found[2]) > 2):
            return ("::" if found[1] else "") + found[2].decode()
    return names[0][2].decode() if names else ""


def at_semicolon(head: bytes) -> tuple[Kind, str]:
    """Kind and name of a declaration without a body."""
    plain, templated = without_template(_ATTRIBUTE.sub(b" ", head))
    words = _WORD.findall(plain)
    first = words[0] if words else b""
    if first in (b"typedef", b"using") or (first == b"namespace" and b"=" in plain):
        return _alias(plain, first)
    if first in (b"static_assert", b"_Static_assert"):
        return "assertion", ""
    if first == b"friend":
        return "friend", ""
    if first == b"template" or words[:2] == [b"extern", b"template"]:
        return "instantiation", ""
    if first == b"concept":
        return "concept", words[1].decode() if len(words) > 1 else ""
    if _forward(plain):
        return "forward", words[-1].decode() if words else ""
    assigned = _ASSIGNS.search(_OPERATOR.sub(b" ", plain))
    before = (
        plain[: assigned.start()]
        if assigned and not re.match(rb"=\s*(?:0|default|delete)\s*$", plain[assigned.start() :])
        else plain
    )
    operator = _OPERATOR.search(plain)
    if operator and _OPERATOR.search(before):
        return "prototype", operator[0].decode(errors="replace").strip()
    before = _BOUNDS.sub(b"[]", before)
    if b"()" in _outside_angles(before):  # not `std::function<void()> f`
        rest = _MACRO_CALL.sub(b"", before)
        if b"()" in rest or len(_WORD.findall(rest)) < 2:  # not `int x GUARDED_BY()`
            invoked = _BARE_MACRO.fullmatch(plain) and _INVOKED.match(first) is not None
            return ("invocation" if invoked else "prototype"), called(before)
    if _BARE_MACRO.fullmatch(plain) or not plain.strip():
        return "invocation", first.decode()
    if templated and first == b"concept":
        return "concept", words[1].decode()
    names = declarators(plain)
    return "variable", names[0].decode() if names else ""


def _alias(plain: bytes, first: bytes) -> tuple[Kind, str]:
    words = _WORD.findall(plain)
    if first == b"using" and b"=" not in plain:
        return "using", "" if words[1:2] == [b"namespace"] else words[-1].decode()
    if first == b"typedef":
        return "alias", words[-1].decode()
    return "alias", words[1].decode() if len(words) > 1 else ""


def _forward(plain: bytes) -> bool:
    key = _CLASS_KEY.search(plain)
    if key is None or b"=" in plain or b"()" in _MACRO_CALL.sub(b"", plain) or plain[: key.start()].strip():
        return False
    rest = _ANGLES.sub(b"", _MACRO_CALL.sub(b"", plain[key.end() :]))
    rest = re.split(rb"(?<!:):(?!:)", rest, maxsplit=1)[0]
    names = [word for word in rest.split() if not word.isupper()]
    return len(names) <= 1 and not re.search(rb"[*&,\[]", rest)


def declarators(plain: bytes) -> list[bytes]:
    """Names that a declaration of variables may introduce; initialisers' names may be among them."""
    plain = _outside_angles(plain)
    return [
        found[1]
        for found in re.finditer(rb"(\w+)\s*(?:\[[^\]]*\]\s*)*(?=[=,{\[]|$|\(\)|:(?!:))", plain)
        if not found[1][:1].isdigit()
    ]


def _outside_angles(plain: bytes) -> bytes:
    """Without the arguments of templates."""
    while (shorter := _ANGLES.sub(b"", plain)) != plain:
        plain = shorter
    return plain


def is_bare_macro(head: bytes) -> bool:
    """Whether this is a name, perhaps with parentheses, or several in capitals: macros that need no semicolon."""
    if _BARE_MACRO.fullmatch(head):
        return head.split(b"(")[0].strip() not in _DECLARES
    return _BARE_MACROS.fullmatch(head) is not None
