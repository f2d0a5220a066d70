"""What a document made of parts of a file holds, and what else each further part needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .forms import Form
from .leaves import Leaf, Leaves, Need, Scope, in_type

Care = Literal["all", "lean", "some"]
"""What a leaf brings with it. `all`: what its names may mean, without bodies where that is safe. `lean`: without
bodies where that is possible, and classes that are only pointed to announced. `some`: of that what fits."""

_EVALUATES = re.compile(
    rb"\b(?:template|typename|decltype|noexcept|requires|operator)\b|::\s*(?:type|value)\b|<[^<>]*\("
)
"""Declarations with these may look into types."""

JOIN = 1
"""Tokens allowed for each border between pieces that are counted apart."""


@dataclass
class Selection:
    """Leaves with their forms, and the scopes around them.

    Every sticky leaf of a scope that stands, stands too.
    """

    leaves: Leaves
    forms: dict[int, Form] = field(default_factory=dict)
    """Place of a leaf -> how it stands."""

    names: set[bytes] = field(default_factory=set)
    """All that leaves define which are more than announced."""

    scopes: set[Scope] = field(default_factory=set)
    tokens: int = 0
    last: int = 0
    """The last place in full."""

    included: dict[str, int] = field(default_factory=dict)
    """What is needed once -> the first place of an include line that brings it; -1 for what stands as text."""

    def copy(self) -> Selection:
        """Another one of the same leaves, to be changed on its own."""
        copied = Selection(self.leaves, dict(self.forms), set(self.names), set(self.scopes), self.tokens, self.last)
        copied.included = dict(self.included)
        return copied

    def within(self, leaf: Leaf) -> list[int]:
        """Places that are this leaf, which may be of leaves that are cut otherwise."""
        return [leaf.place]

    def comes_along(self, sticky: Leaf) -> bool:
        """Whether a sticky leaf stands wherever its scope does: each, unless there is little room."""
        return sticky.sticky

    def announcements(self) -> Mapping[Scope, bytes]:
        """Opened classes that do not stand -> a declaration that stands in the place of each; none in a wide cut."""
        return {}

    def full(self) -> set[int]:
        """Places of the leaves that stand in full."""
        return {place for place, form in self.forms.items() if form is Form.FULL}

    def add(
        self,
        places: Iterable[int],
        *,
        budget: int,
        care: Care = "all",
        form: Form = Form.FULL,
        with_tied: bool = True,
    ) -> bool:
        """Take these leaves with what they need; False, and nothing is changed, if that exceeds the budget.

        Args:
            places: Of the leaves.
            budget: Tokens of the whole selection.
            care: How much they bring; with `some` only the leaves themselves have to fit.
            form: In which they stand.
            with_tied: Whether, with `lean`, the operators and specialisations of what stands have to fit too.
        """
        walk = _Walk(self, budget, care)
        if not walk.run(places, form, with_tied):
            return False
        self.forms, self.names, self.scopes = walk.forms, walk.names, walk.scopes
        self.tokens, self.last, self.included = walk.tokens, walk.last, walk.included
        return True


class _Walk:
    """Breadth first along needs, from what is already selected. The selection itself stays as it is."""

    def __init__(self, selection: Selection, budget: int, care: Care) -> None:
        self._leaves, self._care, self._budget = selection.leaves, care, budget
        self._context = Form.SHORT if care == "all" else Form.LEAN
        self._local: set[int] = set()
        """Templates that types of functions' bodies may be given to."""

        self.forms = dict(selection.forms)
        self.names = set(selection.names)
        self.scopes = set(selection.scopes)
        self.tokens = selection.tokens
        self.last = selection.last
        self.included = dict(selection.included)

    def run(self, places: Iterable[int], form: Form, with_tied: bool) -> bool:
        """False if the budget is exceeded by the leaves themselves, or by what they need and may not go without."""
        leaves, standing = self._leaves.all, self.forms.get
        queue: list[Leaf] = []
        for place in places:
            self.last = max(self.last, place)
            if not self._take(leaves[place], form, queue):
                return False
        position = 0
        while position < len(queue):
            while position < len(queue):
                leaf = queue[position]
                position += 1
                for place, form in self._needed(leaf):  # most of them stand already
                    if (
                        standing(place, -1) < form
                        and not self._take(leaves[place], form, queue)
                        and self._care != "some"
                    ):
                        return False
            if not self._take_tied(queue) and (self._care == "all" or (self._care == "lean" and with_tied)):
                return False
        return True

    def _take(self, leaf: Leaf, form: Form, queue: list[Leaf]) -> bool:
        """Select a leaf in at least this form, and the scopes around it; False if there is no room."""
        before = self.forms.get(leaf.place)
        if before is not None and before >= form:
            return True
        cost = leaf.tokens(form) + JOIN
        sticky: list[Leaf] = []
        scopes: list[Scope] = []
        if before is not None:
            cost -= leaf.tokens(before) + JOIN
        elif leaf.scope not in self.scopes:  # a scope that stands has those around it
            scopes = [scope for scope in around(leaf.scope) if scope not in self.scopes]
            sticky = [
                other
                for scope in scopes
                for other in scope.sticky
                if other.place not in self.forms and other is not leaf and not again(other, self.included)
            ]
            cost += sum(scope.tokens + 2 * JOIN for scope in scopes)
            cost += sum(other.tokens(Form.FULL) + JOIN for other in sticky)
        if self.tokens + cost > self._budget:
            return False
        self.tokens += cost
        self.scopes.update(scopes)
        self.forms[leaf.place] = form
        if form > Form.FORWARD:
            self.names |= leaf.defines
        for other in sticky:
            self.forms[other.place] = Form.FULL
            self.names |= other.defines
            self._include(other)
        self._include(leaf)
        queue.append(leaf)
        queue.extend(sticky)
        return True

    def _include(self, leaf: Leaf) -> None:
        if leaf.included is not None:
            self.included[leaf.included] = min(leaf.place, self.included.get(leaf.included, leaf.place))

    def _needed(self, leaf: Leaf) -> Sequence[Need]:
        """Places that this leaf's names lead to, with the forms that suffice."""
        form = self.forms[leaf.place]
        local = form is Form.FULL and self._care != "some" and (leaf.makes_local or leaf.place in self._local)
        known = self._found(leaf, form, local)
        if local:
            self._local.update(place for place, need in known if need is Form.FULL)
        return known

    def _found(self, leaf: Leaf, form: Form, local: bool) -> list[Need]:
        """As `_needed`; from document to document most names in a leaf are defined in the same places."""
        shape, definers = leaf.shape(form), self._leaves.definers
        names = shape.free & definers.keys()
        if shape.members:
            names |= shape.members & self._leaves.members
        if form is Form.FULL and self._care != "some":
            names |= leaf.operators & definers.keys()
        names |= leaf.scope.all_uses & definers.keys()
        names |= leaf.read & definers.keys()
        if leaf.pasted:
            names |= {name for name in definers if name.startswith(leaf.pasted)}
        places = {name: definers[name] for name in names}
        if leaf.item.kind == "forward":
            places |= {name: definers[name] for name in leaf.defines & definers.keys()}
        last = self.last if leaf.item.kind in ("macro", "forward") else 0  # others see what stands before them
        key = (form, self._care, local)
        before = leaf.found.get(key)
        if before is not None and before[0] == last and before[1] == places:
            return before[2]
        found = list(self._look_up(leaf, form, local, names))
        leaf.found[key] = (last, places, found)
        return found

    def _look_up(self, leaf: Leaf, form: Form, local: bool, names: set[bytes]) -> Iterator[Need]:
        """What these names in a leaf lead to.

        A leaf sees all before it, and in its class. A namespace of another file needs no opening of its own, unless a
        directive names it.
        """
        shape, context = leaf.shape(form), self._context
        definers, leaves, shells = self._leaves.definers, self._leaves.all, self._leaves.shells
        own, facts, within = leaf.place, leaf.facts, leaf.scope.innermost_class
        told = facts.meanings is not None
        limit = self.last if leaf.item.kind == "macro" else own
        if leaf.item.kind == "using" and not leaf.item.name:
            shells = set()
        if leaf.item.kind == "forward" and leaf.text and self._care == "all":
            for name in sorted(leaf.defines & definers.keys()):
                yield from ((place, context) for place in definers[name] if place < self.last)
        announced: set[bytes] = set()
        if self._care != "all":
            bodiless = leaf.item.kind == "prototype" or (form < Form.SHORT and not shape.members)
            announced = shape.free if only_declares(leaf, form) else shape.pointed if bodiless else announced
        for name in sorted(names):
            symbols = leaf.means(name) if told else None
            places = []
            for place in definers[name]:
                if place == own or (place >= limit and not (within and within in around(leaves[place].scope))):
                    continue
                if place in shells and leaves[place].facts is not facts:
                    continue
                if symbols is None or leaves[place].may_declare(name, symbols):
                    places.append(place)
            if name in announced:
                forward = [place for place in places if leaves[place].item.kind == "forward"]
                for place in forward or places:
                    yield place, Form.FORWARD
            elif local:  # a type of its body may be a template's argument
                for place in places:
                    yield place, Form.FULL if leaves[place].is_template else context
            else:
                for place in places:
                    yield place, context

    def _take_tied(self, queue: list[Leaf]) -> bool:
        """Add operators and specialisations whose types are all here; False if they do not fit."""
        for leaf, types in self._leaves.tied:
            if self._care != "all" and leaf.item.name.startswith("::"):
                continue  # a constexpr member's body, which only constants need
            wanted = types <= self.names and (leaf.place < self.last or in_type(leaf))
            if wanted and not self._take(leaf, self._context, queue):
                return False
        return True


def again(leaf: Leaf, included: Mapping[str, int]) -> bool:
    """Whether it is an include line of what is there already; see `Selection.included`."""
    return leaf.included is not None and included.get(leaf.included, leaf.place) < leaf.place


def only_declares(leaf: Leaf, form: Form) -> bool:
    """Whether all types named in it may be incomplete."""
    text = leaf.shape(form).text
    if leaf.item.kind == "alias":
        return form is Form.FORWARD and _EVALUATES.search(text.rpartition(b"=")[2]) is None
    bodiless = leaf.item.kind == "prototype" or (leaf.item.kind == "function" and form < Form.SHORT)
    return bodiless and b"{" not in text and b"=" not in text and _EVALUATES.search(text) is None


def around(scope: Scope | None) -> Iterator[Scope]:
    """The scope and those that hold it, from the inside out."""
    while scope is not None:
        yield scope
        scope = scope.parent


def selected(selection: Selection) -> Iterator[tuple[str, list[tuple[int, int, bytes]]]]:
    """(file, its (start, end, text) in order) of what a selection holds, in the order of the files."""
    files: dict[str, list[tuple[int, int, bytes]]] = {}
    for place in sorted(selection.forms):
        leaf = selection.leaves.all[place]
        pieces = files.setdefault(leaf.facts.path, [])
        if leaf.text:
            pieces.append((leaf.item.start, leaf.item.end, leaf.shape(selection.forms[place]).text))
    for scope in selection.scopes:
        item, text = scope.item, scope.facts.text
        if item.inner > scope.start or item.end > item.tail:
            files[scope.facts.path] += [
                (scope.start, item.inner, text[scope.start : item.inner]),
                (item.tail, item.end, text[item.tail : item.end]),
            ]
    for scope, text in selection.announcements().items():
        files.setdefault(scope.facts.path, []).append((scope.start, scope.start, text))
    for path, pieces in files.items():
        yield path, sorted(pieces)
