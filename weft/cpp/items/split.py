"""A file's items, losslessly: joined they are its bytes."""

from __future__ import annotations

import re
from collections.abc import Collection

from .head import at_brace, at_semicolon, is_bare_macro
from .item import Item, Kind
from .lexer import OPENERS, Group, Tokens, blank, lex

_BLANK = re.compile(rb"(?:\s|//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?\*/|\\\r?\n)*")
_REST_OF_LINE = re.compile(rb"(?:[ \t]|/\*[^\n]*?\*/)*(?://(?:[^\n\\]|\\(?!\r?\n))*)?\r?(?:\n|\Z)")
_ACCESS = re.compile(
    rb"(?:(?:public|private|protected|signals|Q_SIGNALS)(?:\s+\w+)?|[A-Z_]+_(?:PUBLIC|PRIVATE|PROTECTED))\s*:(?!:)"
)
_MARKER = re.compile(rb"([A-Za-z_]\w*)[ \t]*(\([^()\n;{}]*\))?[ \t]*;?(?=\s|//|/\*|\Z)")
_MARKER_NAME = re.compile(
    r"(?=.*(?:NAMESPACE|_NS|DECLS|EXTERN_C|HEADER|ABI|PUSH|POP|DIAG|WARN|SUPPRESS|IGNORE))"
    r"(?:.*_)?(?:BEGIN|OPEN|START|ENTER|PUSH|END|CLOSE|FINISH|LEAVE|EXIT|POP|STOP)(?:_.*|$)|.*NAMESPACE.*_(?:BEGIN|END|OPEN|CLOSE)\w*"
    r"|.*_(?:BEGIN|END)"
    r"|(?:BEGIN|END|OPEN|CLOSE)_?\w*(?:NAMESPACE|NS)\w*"
)
_CALL = re.compile(rb"[A-Z_][A-Z0-9_]{2,}\s*(?=\()")
_AFTER_CALL = re.compile(
    rb"[ \t]*(?://[^\n]*)?\r?\n(?:[ \t]*\r?\n|\s*(?:inline\s+)?namespace\b|\s*\#|\s*\}|\s*[A-Z_][A-Z0-9_]{2,}\s*\()"
)
_PARTS = re.compile(rb"(\s+)|//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?\*/|\\\r?\n")
_GOES_ON = (b"{", b":", b";", b",", b")", b"=", b"-", b"const", b"noexcept", b"override")
_DEEPEST = 60
"""Scopes within scopes; what lies deeper stays one item."""

_LONG_COMMENT = 160
"""Bytes: a comment block this long that a blank line parts from the next item is an item of its own."""
_KNR = re.compile(
    rb"^[^=]*\w\s*\(\)\s*(?:(?:register|const|unsigned|signed|struct|long|short)\s+)*\w+[\s*]+[\w\s,;*\[\]]*$"
)
_NAMESPACES_OPEN = re.compile(rb"\s*(?:inline\s+)?namespace\b\s*([\w:]*)\s*\{")
_NAMESPACES = re.compile(rb"(?:%b)*\s*" % _NAMESPACES_OPEN.pattern)
_DIRECTIVES: dict[bytes, Kind] = {
    b"#include": "include",
    b"#import": "include",
    b"#include_next": "include",
    b"#define": "macro",
    b"#undef": "macro",
    b"#pragma": "pragma",
}


def split(text: bytes, path: str = "", *, markers: Collection[str] = ()) -> list[Item]:
    """The items of a file, end to end from 0 to its length; none only if it is empty.

    Never fails: what is not understood becomes one larger item, never a smaller one.

    Args:
        path: Tells C (where old-style parameter declarations exist) from C++.
        markers: Macros known to open or close a scope, beyond those that their names tell.
    """
    return _Splitter(lex(text), c_like=path.endswith((".c", ".h")), markers=frozenset(markers)).file()


class _Splitter:
    """Recursive descent over the structural tokens; every region's end is known before it is read."""

    def __init__(self, tokens: Tokens, *, c_like: bool, markers: frozenset[str]) -> None:
        self._tokens = tokens
        self._text = tokens.text
        self._c_like = c_like
        self._markers = markers
        self._dirty: list[Group] | None = None
        self._depth = 0

    def file(self) -> list[Item]:
        length = len(self._text)
        items, _ = self._region(0, 0, len(self._tokens.kinds), length, in_type=False)
        position = items[-1].end if items else 0
        if position < length:
            if items and not self._text[position:].strip():
                self._extend(items[-1], length)
            else:
                items.append(Item(position, length, "comment", head=position))
        return items

    @staticmethod
    def _extend(item: Item, end: int) -> None:
        item.end = end

    def _region(self, index: int, position: int, stop: int, end: int, *, in_type: bool) -> tuple[list[Item], bool]:
        """Items from a token and position on, to token `stop` at position `end`; and whether all were complete.

        Blanks and comments after the last one are left over for the caller, comments of some length as an item.
        """
        self._depth += 1
        items: list[Item] = []
        complete = True
        tokens, text = self._tokens, self._text
        while True:
            head = self._skip(position, end)
            while index < stop and tokens.starts[index] < head:
                index += 1
            if head >= end:
                break
            if head - position > _LONG_COMMENT and (apart := self._apart(position, head)):
                items.append(Item(position, apart, "comment", head=position))
                position = apart
            item = self._marker(position, head, end) or (self._access(position, head) if in_type else None)
            item = item or self._call(index, position, head, stop, end)
            if item is None:
                if index < stop and tokens.starts[index] == head and tokens.kinds[index][:1] == b"#":
                    item, index = self._at_directive(index, position, stop, end, in_type)
                else:
                    item, index = self._statement(index, position, head, stop, end)
                    complete = complete and item.kind != "directive"
            if item.end <= position:  # a stray closing bracket
                item.end = min(end, head + 1)
            items.append(item)
            position = item.end
        if end - position > 40 and text[position:end].strip():
            items.append(Item(position, end, "comment", head=position))
        self._depth -= 1
        return items, complete

    def _skip(self, position: int, end: int) -> int:
        found = _BLANK.match(self._text, position, end)
        return found.end() if found else position

    def _apart(self, position: int, head: int) -> int:
        """Where the last blank line before a declaration ends, if a long comment stands before it; else 0."""
        last = 0
        for part in _PARTS.finditer(self._text, position, head):
            if part[1] and part[1].count(b"\n") > 1:
                last = part.start() + part[1].rfind(b"\n") + 1
        return last if len(self._text[position:last].strip()) > _LONG_COMMENT else 0

    def _line_end(self, position: int, end: int) -> int:
        """Past what else belongs to this line, if that is blanks and a comment only."""
        rest = _REST_OF_LINE.match(self._text, position, end)
        return (
            rest.end() if rest and (rest.end() < end or end == len(self._text) or rest[0].endswith(b"\n")) else position
        )

    def _marker(self, position: int, head: int, end: int) -> Item | None:
        found = _MARKER.match(self._text, head, end)
        if found is None:
            return None
        name = found[1].decode()
        if name not in self._markers and not (name.isupper() and _MARKER_NAME.fullmatch(name)):
            return None
        after = found.end()
        following = self._text[self._skip(after, end) : end][:1]
        if following in (b"{", b"(", b"=", b",") or (following == b";"):
            return None
        return Item(position, self._line_end(after, end), "marker", name, head)

    def _access(self, position: int, head: int) -> Item | None:
        found = _ACCESS.match(self._text, head)
        if found is None:
            return None
        return Item(position, self._line_end(found.end(), len(self._text)), "access", found[0].decode(), head)

    def _call(self, index: int, position: int, head: int, stop: int, end: int) -> Item | None:
        """A macro's invocation that visibly ends without a semicolon."""
        if index >= stop or _CALL.match(self._text, head, end) is None or self._tokens.kinds[index] != b"(":
            return None
        closing = self._tokens.match.get(index)
        if closing is None or closing >= stop or self._text[head : self._tokens.starts[index]].count(b"\n"):
            return None
        after = self._tokens.ends[closing]
        following = self._skip(after, end)
        marked = b"\n" in self._text[after:following] and self._marker(after, following, end) is not None
        if not marked and _AFTER_CALL.match(self._text, after, end) is None:
            return None
        if self._text.startswith(_GOES_ON, following):
            return None
        name = self._text[head : self._tokens.starts[index]].strip().decode()
        return Item(position, self._line_end(after, end), "invocation", name, head)

    def _at_directive(self, index: int, position: int, stop: int, end: int, in_type: bool) -> tuple[Item, int]:
        tokens = self._tokens
        kind = tokens.kinds[index]
        if kind[1:] in OPENERS:
            group = tokens.groups[index]
            if group.clean and group.last < stop and self._depth < _DEEPEST:
                item = self._conditional(group, position, end, in_type)
                if item is not None:
                    return item, group.last + 1
            return self._statement(index, position, tokens.starts[index], stop, end)
        line = self._text[tokens.starts[index] : tokens.ends[index]]
        named = re.match(rb"\#\s*\w*\s*([^\s(]*)", line)
        item = Item(
            position,
            self._line_end(tokens.ends[index], end),
            _DIRECTIVES.get(kind, "directive"),
            named[1].decode(errors="replace") if named else "",
            tokens.starts[index],
        )
        return item, index + 1

    def _conditional(self, group: Group, position: int, end: int, in_type: bool) -> Item | None:
        """The group as a scope; None if a branch ends within a declaration."""
        tokens = self._tokens
        inner = self._line_end(tokens.ends[group.first], end)
        item = Item(position, 0, "conditional", "", tokens.starts[group.first], inner=inner)
        cursor, index = inner, group.first + 1
        for border in [*group.branches, group.last]:
            items, complete = self._region(index, cursor, border, tokens.starts[border], in_type=in_type)
            if not complete and self._skip(tokens.ends[group.last], len(self._text)) < len(self._text):
                return None  # but what spans the file is an include guard, and opened in any case
            item.children += items
            cursor = items[-1].end if items else cursor
            index = border + 1
            if border != group.last:
                after = self._line_end(tokens.ends[border], end)
                item.children.append(Item(cursor, after, "branch", "", tokens.starts[border]))
                cursor = after
        item.tail = cursor
        item.end = self._line_end(tokens.ends[group.last], end)
        item.name = self._text[item.head : tokens.ends[group.first]].decode(errors="replace").strip()
        return item

    def _statement(self, index: int, position: int, head: int, stop: int, end: int) -> tuple[Item, int]:
        """One declaration; of kind "directive" if its region ends before it does."""
        tokens = self._tokens
        kinds, match = tokens.kinds, tokens.match
        border = -1  # no end before this token: a group that the declaration opened
        outer: list[bytes] = []
        cursor = head
        while index < stop:
            kind = kinds[index]
            if kind == b"(":
                closing = match.get(index)
                if closing is None or closing >= stop:
                    index += 1
                    continue
                outer.append(self._text[cursor : tokens.ends[index]])
                index, cursor = closing, tokens.starts[closing]
            elif kind == b";":
                if index < border or not (self._c_like and self._old_style(outer, cursor, index, stop)):
                    outer.append(self._text[cursor : tokens.starts[index]])
                    what, name = at_semicolon(blank(b"".join(outer)))
                    last = max(index, border)  # another branch may end it as well
                    return Item(position, self._line_end(tokens.ends[last], end), what, name, head), last + 1
            elif kind == b"{":
                closing = match.get(index)
                if closing is None or closing >= stop:
                    break
                before = blank(b"".join([*outer, self._text[cursor : tokens.starts[index]]]))
                item = self._braced(index, closing, position, head, before, border, stop, end)
                if item is not None:
                    return item
                outer.append(self._text[cursor : tokens.ends[index]])
                index, cursor = closing, tokens.starts[closing]
            elif kind == b"}":
                return Item(position, self._line_end(tokens.ends[index], end), "directive", "", head), index + 1
            elif kind[:1] == b"#":
                pending = blank(b"".join([*outer, self._text[cursor : tokens.starts[index]]]))
                if index > border and pending.strip() and is_bare_macro(pending):
                    return Item(position, self._line_start(index), "invocation", "", head), index
                if kind[1:] in OPENERS:
                    border = max(border, min(tokens.groups[index].last, len(kinds) - 1))
                outer.append(self._text[cursor : tokens.starts[index]])
                cursor = tokens.ends[index]
            index += 1
        pending = blank(b"".join([*outer, self._text[cursor:end]]))
        whole = index >= stop and self._may_end(pending, stop)
        return Item(position, end, "invocation" if whole else "directive", "", head), stop

    def _may_end(self, pending: bytes, stop: int) -> bool:
        """Whether a declaration without semicolon may end where its region does: as invocations of macros do."""
        if not (is_bare_macro(pending) or pending.rstrip().endswith(b")")):
            return False
        tokens = self._tokens
        if stop >= len(tokens.kinds) or tokens.kinds[stop] == b"}":
            return True
        last = next((group.last for group in tokens.groups.values() if stop in (*group.branches, group.last)), stop)
        after = self._skip(tokens.ends[last], len(self._text)) if last < len(tokens.ends) else len(self._text)
        return not self._text.startswith(_GOES_ON, after)

    def _line_start(self, index: int) -> int:
        """Where the line of this directive begins, so that its indentation stays with it."""
        return self._text.rfind(b"\n", 0, self._tokens.starts[index]) + 1

    def _old_style(self, outer: list[bytes], cursor: int, index: int, stop: int) -> bool:
        """Whether this semicolon ends a parameter's declaration between `int f(a)` and its body."""
        tokens = self._tokens
        last = index
        while last + 1 < stop and tokens.kinds[last + 1] == b";":
            last += 1
        if last + 1 >= stop or tokens.kinds[last + 1] != b"{":
            return False
        if blank(self._text[tokens.ends[last] : tokens.starts[last + 1]]).strip():
            return False
        return _KNR.match(blank(b"".join([*outer, self._text[cursor : tokens.starts[index]]]))) is not None

    def _braced(
        self, index: int, closing: int, position: int, head: int, before: bytes, border: int, stop: int, end: int
    ) -> tuple[Item, int] | None:
        """The item whose brace this is; None if its declaration goes on after the closing one."""
        tokens, text = self._tokens, self._text
        kind, name = at_brace(before)
        if kind is None:
            return None
        if self._depth >= _DEEPEST and kind != "function":
            kind = "enum" if kind in ("type", "enum") else "function"
        last = max(self._leaving(index, closing, stop), border if border > closing else -1, closing)
        item = Item(position, 0, kind, name, head, tokens.starts[index])
        if kind in ("namespace", "linkage"):
            return self._scope(item, index, closing, border, last, end)
        if kind == "function":
            following = self._skip(tokens.ends[last], end)
            if text.startswith(b"catch", following) and last == closing:
                return None
            after = last + 1
            if after < stop and tokens.kinds[after] == b";" and tokens.starts[after] == following:
                last = after
            item.end = self._line_end(tokens.ends[last], end)
            if border >= 0:
                item.body = -1  # a head in pieces has no prototype
            return item, last + 1
        if kind == "type" and border < 0 and last == closing:
            item.inner = self._line_end(tokens.ends[index], tokens.starts[closing])
            item.children, _ = self._region(index + 1, item.inner, closing, tokens.starts[closing], in_type=True)
            item.tail = item.children[-1].end if item.children else item.inner
        last = self._semicolon(last, stop)
        item.end = self._line_end(tokens.ends[last], end)
        return item, last + 1

    def _scope(self, item: Item, index: int, closing: int, border: int, last: int, end: int) -> tuple[Item, int]:
        """A namespace or `extern "C"`, whose opening and closing may each stand in an `#if` of their own."""
        tokens, text = self._tokens, self._text
        opening = border if index < border < closing else index
        until = closing
        for group in self._unclean():
            if opening < group.first < closing <= group.last:
                until = min(until, group.first)
        if until < closing and (inside := self._nested(opening, until)):
            item.name = inside[1] or item.name
            opening, until = until, inside[0]
        limit = tokens.starts[until]
        item.inner = self._line_end(tokens.ends[opening], limit)
        item.children, _ = self._region(opening + 1, item.inner, until, limit, in_type=False)
        item.tail = item.children[-1].end if item.children else item.inner
        following = self._skip(tokens.ends[last], end)
        if text[following : following + 1] == b";" and last + 1 < len(tokens.kinds):
            last += 1
        item.end = self._line_end(tokens.ends[last], end)
        return item, last + 1

    def _nested(self, opening: int, group: int) -> tuple[int, str] | None:
        """Where the contents of a scope end that begins with an `#if` which ends behind it, and its innermost name.

        Between its brace and the `#if` only further namespaces may open, and between their braces and the `#endif`
        nothing may stand: the `#if` is a part of the opening then, as the `#endif` is of the closing. None otherwise.
        """
        tokens = self._tokens
        between = blank(self._text[tokens.ends[opening] : tokens.starts[group]])
        if tokens.groups[group].branches or _NAMESPACES.fullmatch(between) is None:
            return None
        innermost, name = opening, ""
        for nested in _NAMESPACES_OPEN.finditer(between):
            innermost, name = innermost + 1, (nested[1] or b"").decode()
        ends = [tokens.match.get(index, -1) for index in range(opening, innermost + 1)]
        last = tokens.groups[group].last
        if min(ends) < 0 or ends != sorted(ends, reverse=True) or last >= len(tokens.kinds):
            return None
        rest = blank(self._text[tokens.starts[ends[-1]] : tokens.starts[last]])
        return None if rest.strip(b"} \t\r\n") else (ends[-1], name)

    def _unclean(self) -> list[Group]:
        if self._dirty is None:
            self._dirty = [group for group in self._tokens.groups.values() if not group.clean]
        return self._dirty

    def _leaving(self, index: int, closing: int, stop: int) -> int:
        """The end of the outermost group that holds this closing brace but not its opening one; -1 if there is none."""
        found = -1
        for group in self._unclean():
            if index < group.first < closing < group.last < stop:
                found = max(found, group.last)
        return found

    def _semicolon(self, last: int, stop: int) -> int:
        """The semicolon that ends a type's declaration after its closing brace; that brace if none follows."""
        tokens = self._tokens
        index = last + 1
        while index < stop:
            kind = tokens.kinds[index]
            if kind == b";":
                return index
            if kind in (b"(", b"{") and index in tokens.match:
                index = tokens.match[index]
            elif kind != b")":
                break
            index += 1
        return last
