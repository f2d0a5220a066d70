"""Macros that open and close a namespace, paired: documents hold such a scope only for what lies in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..items import Item


def paired(items: Sequence[Item], braces: Mapping[str, int]) -> list[Item]:
    """The same items; from a macro that opens braces to the one that closes as many they are one scope.

    What no other macro answers among these items stays as it is.

    Args:
        items: Neighbours, in order.
        braces: Macro -> how many braces its body opens and leaves open, negative where it closes them.
    """
    found: list[Item] = []
    opened: list[int] = []
    for item in items:
        count = braces.get(item.name, 0) if item.kind == "marker" else 0
        if count >= 0:
            if count:
                opened.append(len(found))
            found.append(item)
        elif opened and braces[found[opened[-1]].name] == -count:
            first = opened.pop()
            opening, inside = found[first], found[first + 1 :]
            scope = Item(opening.start, item.end, "linkage", "", opening.head, inner=opening.end, tail=item.start)
            scope.children = inside
            found[first:] = [scope]
        else:
            opened.clear()
            found.append(item)
    return found
