"""The classes of a file whose leaves are their members: names, bases, operators, template parameters."""

from __future__ import annotations

import bisect
import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..symbols import forward_declaration, identifiers
from .closure import around
from .dependent import Given
from .dependent import parameters as template_parameters
from .forms import Form, Shape
from .leaves import Leaf, Leaves, Scope
from .ties import is_special, specialises

if TYPE_CHECKING:
    from .least import Needs

_PARAMETER = re.compile(rb"\b(?:typename|class)\s+(?:\.\.\.\s*)?([A-Za-z_]\w*)\s*(?=[,>=])")


@dataclass(frozen=True)
class Members:
    """What is known of a file's classes once they are opened."""

    leaves: Leaves
    own: dict[int, int]
    """Place of a leaf -> its place where classes are opened only if they are large."""

    needs: dict[tuple[int, Form, bool, int], Needs] = field(default_factory=dict)
    """What each leaf needs as it stands in the walks so far: kept by `least`."""

    least: dict[int, Form] = field(default_factory=dict)
    """Place of a leaf -> the form of it that suffices most: kept by `least`."""

    @functools.cached_property
    def classes(self) -> dict[bytes, list[Scope]]:
        """Name -> opened classes of that name."""
        found: dict[bytes, list[Scope]] = {}
        for scope in dict.fromkeys(scope for leaf in self.leaves.all.values() for scope in around(leaf.scope)):
            if scope.item.kind == "type" and scope.item.name:
                found.setdefault(class_name(scope), []).append(scope)
        return found

    @functools.cached_property
    def aliased(self) -> dict[bytes, set[Scope]]:
        """Name -> opened classes that an alias of that name names."""
        found: dict[bytes, set[Scope]] = {}
        for leaf in self.leaves.all.values():
            if leaf.item.kind == "alias":
                scopes = {
                    one for name in leaf.shape(Form.FULL).free & self.classes.keys() for one in self.classes[name]
                }
                for name in leaf.defines if scopes else ():
                    found.setdefault(name, set()).update(scopes)
        return found

    @functools.cached_property
    def specialised(self) -> dict[int, Scope | None]:
        """Place of a leaf -> the outermost specialisation of a class that it lies in; None for one that is no scope."""
        inside: dict[Scope, Scope | None] = {}
        found: dict[int, Scope | None] = {}
        for place, leaf in self.leaves.all.items():
            if leaf.scope not in inside:
                scopes = [
                    one for one in around(leaf.scope) if specialises(one.facts.text[one.item.head : one.item.inner])
                ]
                inside[leaf.scope] = scopes[-1] if scopes else None
            if inside[leaf.scope] is not None or is_special(leaf):
                found[place] = inside[leaf.scope]
        return found

    @functools.cached_property
    def special_classes(self) -> list[Leaf]:
        """The leaves without text that stand for specialisations whose members are leaves."""
        everything = self.leaves.all
        found = [(everything[place], scope) for place, scope in self.specialised.items()]
        return [leaf for leaf, scope in found if not leaf.text and leaf.scope is scope]

    @functools.cached_property
    def operators(self) -> list[tuple[Leaf, Scope]]:
        """Operators that are members, each with its class."""
        found = []
        for leaf in self.leaves.all.values():
            scope = class_of(leaf)
            if scope is not None and (leaf.item.name.startswith("operator") or operator_symbols(leaf)):
                found.append((leaf, scope))
        return found

    @functools.cached_property
    def _by_start(self) -> dict[str, list[tuple[int, int, int]]]:
        """File -> (start, end, place) of its leaves that have text, sorted."""
        found: dict[str, list[tuple[int, int, int]]] = {}
        for place, leaf in self.leaves.all.items():
            if leaf.text:
                found.setdefault(leaf.facts.path, []).append((leaf.item.start, leaf.item.end, place))
        for pieces in found.values():
            pieces.sort()
        return found

    def within(self, leaf: Leaf) -> list[int]:
        """The places of the leaves that lie in this one, which may be of leaves that are cut otherwise."""
        pieces = self._by_start.get(leaf.facts.path, [])
        first = bisect.bisect_left(pieces, (leaf.item.start,))
        last = bisect.bisect_left(pieces, (leaf.item.end + 1,))
        return sorted(place for _, end, place in pieces[first:last] if end <= leaf.item.end)

    @functools.cached_property
    def _announcements(self) -> dict[Scope, bytes | None]:
        return {}

    def announcement(self, scope: Scope) -> bytes | None:
        """A class's forward declaration; None where no such line can announce it."""
        if scope not in self._announcements:
            self._announcements[scope] = forward_declaration(scope.item, scope.facts.text)
        return self._announcements[scope]

    def named_by_announcement(self, shell: Leaf) -> list[Leaf]:
        """What the forward declaration of an opened class names: default arguments, macros of the scopes around it."""
        scope, text = shell.scope, self.announcement(shell.scope) or b""
        uses = scope.parent.all_uses if scope.parent is not None else frozenset()
        names = (identifiers(text) - template_parameters(text) | uses) - {class_name(scope)}
        found = (self.leaves.all[at] for name in sorted(names) for at in self.leaves.definers.get(name, ()))
        before = [leaf for leaf in found if leaf.place < shell.place]
        return [leaf for leaf in before if (class_of(leaf) is None if leaf.text else class_of(leaf) is leaf.scope)]

    @functools.cached_property
    def _bases(self) -> dict[Scope, frozenset[Scope]]:
        return {}

    @functools.cached_property
    def _parameters(self) -> dict[Scope, set[bytes]]:
        return {}

    def parameters(self, leaf: Leaf, shape: Shape) -> set[bytes]:
        """Template parameters of a leaf and of the classes around it: names that mean nothing else in it."""
        found = set(_PARAMETER.findall(shape.text))
        for scope in around(leaf.scope):
            if scope.item.kind == "type":
                if scope not in self._parameters:
                    opening = scope.facts.text[scope.item.head : scope.item.inner]
                    self._parameters[scope] = set(_PARAMETER.findall(opening))
                found |= self._parameters[scope]
        return found

    @functools.cached_property
    def _given(self) -> dict[Scope, Given]:
        return {}

    def given(self, leaf: Leaf, shape: Shape) -> Given:
        """What depends on template parameters in a leaf; nothing in a macro, whatever it expands to."""
        scope = class_of(leaf)
        around = self._given_in(scope) if scope is not None else Given()
        if leaf.item.kind in ("macro", "conditional", "invocation") or not (around or b"template" in shape.text):
            return Given()
        return around.within(shape.text)

    def _given_in(self, scope: Scope) -> Given:
        """The same of an opened class, for its members."""
        if scope not in self._given:
            outer = scope.parent.innermost_class if scope.parent is not None else None
            text, item = scope.facts.text, scope.item
            found = self._given_in(outer) if outer is not None else Given()
            found = found.within(text[item.head : item.inner])
            for child in item.children:
                if found and child.kind in ("alias", "variable"):
                    found = found.within(text[child.head : child.end])
            self._given[scope] = found
        return self._given[scope]

    @staticmethod
    def openings(leaf: Leaf) -> bytes:
        """The openings of the classes around a leaf: templates, names, bases."""
        scopes = (scope for scope in around(leaf.scope) if scope.item.kind == "type")
        return b"\n".join(scope.facts.text[scope.item.head : scope.item.inner] for scope in scopes)

    def above(self, scope: Scope) -> frozenset[Scope]:
        """A class, those around it and those that it derives from, as far as they are opened."""
        if scope not in self._bases:
            self._bases[scope] = frozenset({scope})  # ends circles of names
            found = {scope}
            for outer in around(scope):
                if outer.item.kind == "type":
                    found.add(outer)
                    named = outer.uses & self.classes.keys() - {class_name(outer)}
                    found.update(base for name in named for one in self.classes[name] for base in self.above(one))
            self._bases[scope] = frozenset(found)
        return self._bases[scope]


def class_of(leaf: Leaf) -> Scope | None:
    """The innermost opened class that it is a member of."""
    scope = leaf.scope.innermost_class
    while scope is not None and not scope.item.name:
        scope = scope.parent.innermost_class if scope.parent is not None else None
    return scope


def class_name(scope: Scope) -> bytes:
    """Without its qualification."""
    return scope.item.name.rpartition("::")[2].encode()


def operator_symbols(leaf: Leaf) -> set[bytes]:
    """What a leaf that defines operators defines."""
    return {name[8:] for name in leaf.defines if name.startswith(b"operator") and not name[8:9].isalnum()} - {b"="}
