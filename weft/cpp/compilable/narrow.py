"""The least that a piece of a file needs, for documents that have no room for all that its names may mean.

Classes are opened down to their members, and what nothing in the piece asks for stays out: members of classes that it
does not mention, constructors of what it does not construct, virtual functions that nobody calls or overrides,
operators that it does not apply, friends that are not here. A class that is only pointed to is announced.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..symbols import identifiers
from .closure import JOIN, Care, Selection, around
from .forms import Form
from .least import least, needs_of
from .leaves import Leaf, Scope
from .members import Members, class_name, class_of, operator_symbols
from .ties import is_special

_PARTIAL = 0.6
"""Of the budget: what leaves bring that go without a part of what they need. The rest is for further leaves."""

_OVERRIDES = re.compile(rb"\b(?:override|final)\b")
_SYMBOL = re.compile(rb"//[^\n]*|/\*[\s\S]*?\*/|->\*?|\+\+|--|<=>|<<=?|>>=?|&&|\|\||[-+*/%&|^!<>=]=|[-+*/%&|^~!<>]")


@dataclass
class NarrowSelection(Selection):
    """Leaves with the least that they need."""

    members: Members = field(kw_only=True)
    preludes: bool = True
    """Whether groups of directives that include something stand everywhere, or where what they define is needed."""

    special: bool = True
    """Whether specialisations stand wherever their template is named, or only as far as there is room left."""

    announced: dict[Scope, bytes] = field(default_factory=dict)
    """See `announcements`."""

    mentioned: set[bytes] = field(default_factory=set)
    """All names in what stands."""

    roots: set[bytes] = field(default_factory=set)
    """What the leaves mention that the document is for, and their classes."""

    results: set[bytes] = field(default_factory=set)
    """What the functions are declared with that those leaves name."""

    asked: set[bytes] = field(default_factory=set)
    """Names after `.` and `->`."""

    symbols: set[bytes] = field(default_factory=set)
    """Operators that the leaves apply that the document is for."""

    instantiated: set[int | Scope] = field(default_factory=set)
    """Places of leaves, and opened classes, that something definite names: what they need has to be complete."""

    def copy(self) -> NarrowSelection:
        """Another one of the same leaves, to be changed on its own."""
        return replace(
            self,
            forms=dict(self.forms),
            names=set(self.names),
            scopes=set(self.scopes),
            announced=dict(self.announced),
            mentioned=set(self.mentioned),
            roots=set(self.roots),
            results=set(self.results),
            asked=set(self.asked),
            symbols=set(self.symbols),
            instantiated=set(self.instantiated),
        )

    def within(self, leaf: Leaf) -> list[int]:
        """The leaves that lie in this one."""
        return self.members.within(leaf)

    def comes_along(self, sticky: Leaf) -> bool:
        """Whether a leaf stands wherever its scope does."""
        return sticky.item.kind != "friend" and (self.preludes or sticky.item.kind != "conditional")

    def announcements(self) -> Mapping[Scope, bytes]:
        """Classes of which only a declaration stands."""
        return self.announced

    def full(self) -> set[int]:
        """Places of the leaves that stand in full, among those of the wider cut."""
        return {self.members.own[place] for place in super().full() if place in self.members.own}

    def add(
        self,
        places: Iterable[int],
        *,
        budget: int,
        care: Care = "lean",
        form: Form = Form.FULL,
        with_tied: bool = True,
    ) -> bool:
        """As for any selection; `all` brings no more than `lean`, and all that is tied has to fit."""
        trial = self.copy()
        if not _Walk(trial, budget, partial=care == "some").run(places, form):
            return False
        vars(self).update(vars(trial))
        return True


class _Walk:
    """Breadth first along needs; changes the selection even where it fails.

    Args:
        selection: What stands already.
        budget: Of all that will.
        partial: Whether the leaves may go without a part of what they need, which leaves room for further ones.
    """

    def __init__(self, selection: NarrowSelection, budget: int, *, partial: bool = False) -> None:
        self._to, self._budget, self._partial = selection, budget, partial
        self._leaves, self._members = selection.leaves, selection.members
        self._open = {class_name(scope) for scope in selection.scopes if scope.item.kind == "namespace"}
        """Names of the namespaces that stand."""

        self._local: set[int] = set()
        """Templates that types of functions' bodies may be given to."""

        self._asked_for: set[int] = set()
        """Places that `_wanted` gave, of this walk and of the one that it is a part of."""

    def run(self, places: Iterable[int], form: Form) -> bool:
        """False if the leaves themselves do not fit, or what they need."""
        queue: list[Leaf] = []
        for place in places:
            leaf = self._leaves.all[place]
            self._to.last = max(self._to.last, place)
            if not self._take(leaf, form, queue):
                return False
            if form is Form.FULL and not leaf.sticky:
                self._to.roots |= leaf.shape(form).free
                self._to.roots.update(class_name(scope) for scope in around(leaf.scope) if scope.item.kind == "type")
                self._to.symbols |= _applied(leaf)
        if self._partial:
            self._budget = int(_PARTIAL * self._budget)
        position = 0
        while True:
            while position < len(queue):
                leaf = queue[position]
                position += 1
                for fits in self._take_needed(leaf, queue):
                    if not fits and not self._partial:
                        return False
            wanted = [leaf for leaf in self._wanted() if leaf.place not in self._asked_for]
            if not wanted:
                return True
            self._asked_for.update(leaf.place for leaf in wanted)
            for leaf in wanted:
                if self._partial or self._waits(leaf):
                    self._take_whole(leaf)
                elif not self._take(leaf, least(self._members, leaf), queue):
                    return False

    def _take_whole(self, leaf: Leaf) -> None:
        """Take a leaf with all that it needs, or leave it."""
        trial = self._to.copy()
        part = _Walk(trial, self._budget)
        part._local, part._asked_for = self._local, self._asked_for
        if part.run([leaf.place], least(self._members, leaf)):
            vars(self._to).update(vars(trial))
            self._open = part._open

    def _take(self, leaf: Leaf, form: Form, queue: list[Leaf]) -> bool:
        """Select a leaf in at least this form, and the scopes around it; False if there is no room."""
        forms = self._to.forms
        before = forms.get(leaf.place)
        if before is not None and before >= form:
            return True
        cost = leaf.tokens(form) + JOIN
        scopes: list[Scope] = []
        sticky: list[Leaf] = []
        if before is not None:
            cost -= leaf.tokens(before) + JOIN
        elif leaf.scope not in self._to.scopes:  # a scope that stands has those around it
            scopes = [scope for scope in around(leaf.scope) if scope not in self._to.scopes]
            sticky = [
                other
                for scope in scopes
                for other in scope.sticky
                if other.place not in forms and other is not leaf and self._to.comes_along(other)
            ]
            cost += sum(scope.tokens + 2 * JOIN for scope in scopes)
            cost += sum(other.tokens(_brief(other)) + JOIN for other in sticky)
        if self._to.tokens + cost > self._budget:
            return False
        self._to.tokens += cost
        self._enter(scopes)
        for scope in scopes:
            self._to.announced.pop(scope, None)
        forms[leaf.place] = form
        forms.update((other.place, _brief(other)) for other in sticky)
        queue.append(leaf)
        queue.extend(sticky)
        return True

    def _take_needed(self, leaf: Leaf, queue: list[Leaf]) -> Iterator[bool]:
        """Take what a leaf's names lead to; False for each that does not fit."""
        form, forms = self._to.forms[leaf.place], self._to.forms
        is_root = form is Form.FULL and not leaf.sticky
        local = form is Form.FULL and (leaf.makes_local or leaf.place in self._local)
        needs = needs_of(self._members, leaf, form, local=local, last=self._to.last)
        whole = not needs.dependent or not self._to.instantiated.isdisjoint((leaf.place, class_of(leaf)))
        self._to.mentioned |= needs.mentioned if whole else needs.mentioned - needs.dependent
        self._to.asked |= needs.asked
        instantiated, sparing = self._to.instantiated, not self._to.special
        for step in needs.steps:
            found = step.leaves
            if sparing or (step.shell is not None and step.name in self._open):
                shell = step.shell if step.name in self._open else None
                found = [one for one in found if one[0] is not shell and not self._spares(leaf, one[0])]
            if not whole and step.loose:
                found = [(other, form) for other, form in found if other.place not in step.loose]
            if step.announced:
                yield from self._announce([other for other, _ in found], queue)
                continue
            if step.dependent and not whole:
                classes = [other for other, _ in found if _is_class(other)]
                yield from self._announce([other for other in classes if not is_special(other)], queue)
                found = [(other, form) for other, form in found if other not in classes]
            for other, form in found:
                if form is Form.FULL:
                    self._local.add(other.place)
                if is_root and other.item.kind in ("function", "prototype"):
                    self._to.results |= other.shape(Form.BARE).free
                if forms.get(other.place, -1) < form:  # most of them stand already
                    yield self._take(other, form, queue)
                if (whole or not step.dependent) and not (other.text and other.place in instantiated):
                    self._instantiate(other, queue)

    def _instantiate(self, leaf: Leaf, queue: list[Leaf]) -> None:
        """What something definite names, so that what it needs in turn has to be complete."""
        scope = None if leaf.text else class_of(leaf)
        known: int | Scope = leaf.place if scope is None else scope
        if known in self._to.instantiated:
            return
        self._to.instantiated.add(known)
        if scope is None and leaf.place in self._to.forms:
            queue.append(leaf)
        elif scope is not None:
            everything = self._leaves.all
            queue.extend(everything[place] for place in self._to.forms if class_of(everything[place]) is scope)

    def _spares(self, leaf: Leaf, other: Leaf) -> bool:
        """Whether a leaf that another one names is a specialisation, or a part of one, that does not stand yet."""
        return self._waits(other) and self._members.specialised[other.place] not in list(around(leaf.scope))

    def _waits(self, leaf: Leaf) -> bool:
        """Whether it lies in a specialisation, or is one, that only stands where there is room left."""
        if self._to.special or leaf.place not in self._members.specialised:
            return False
        scope = self._members.specialised[leaf.place]
        return scope is None or scope not in self._to.scopes

    def _enter(self, scopes: Iterable[Scope]) -> None:
        """Let scopes stand."""
        self._to.scopes.update(scopes)
        self._open.update(class_name(scope) for scope in scopes if scope.item.kind == "namespace")

    def _announce(self, leaves: list[Leaf], queue: list[Leaf]) -> Iterator[bool]:
        """A forward declaration of what these define, or as little of it as there is."""
        forward = [leaf for leaf in leaves if leaf.item.kind == "forward" and leaf.text]
        for leaf in forward or leaves:
            if leaf.text or leaf.scope.item.kind != "type":
                yield self._take(leaf, Form.FORWARD, queue)
                continue
            scope = leaf.scope
            text = self._members.announcement(scope)
            if text is None:
                yield self._take(leaf, Form.FORWARD, queue)
            elif scope not in self._to.scopes and scope not in self._to.announced:
                inside = [outer for outer in around(scope.parent) if outer not in self._to.scopes]
                cost = leaf.count(text) + JOIN + sum(outer.tokens + 2 * JOIN for outer in inside)
                if fits := self._to.tokens + cost <= self._budget:
                    self._to.tokens += cost
                    self._to.announced[scope] = text
                    self._enter(inside)
                    for other in (other for outer in inside for other in outer.sticky if self._to.comes_along(other)):
                        fits = self._take(other, _brief(other), queue) and fits
                    for other in self._members.named_by_announcement(leaf):
                        if _is_class(other):
                            yield from self._announce([other], queue)
                        else:
                            yield self._take(other, least(self._members, other), queue)
                yield fits

    def _wanted(self) -> Iterator[Leaf]:
        """What no name leads to, as far as something asks for it."""
        to, everything = self._to, self._leaves.all
        stands = functools.cache(self._stands)  # as long as nobody takes what is given
        for name in sorted(to.asked & self._leaves.members):
            for place in self._leaves.definers[name]:
                scope = class_of(everything[place])
                if scope is None or place in to.forms or self._waits(everything[place]):
                    continue
                if self._mentions(scope):
                    yield everything[place]
        for place in [place for place, form in to.forms.items() if form is Form.FORWARD and everything[place].is_class]:
            if everything[place].shape(Form.FULL).free & to.asked:
                yield everything[place]  # something asks for its members by way of what it did not name
        for leaf, types in self._leaves.tied:
            if leaf.place in to.forms or leaf.item.name.startswith("::") or not all(map(stands, types)):
                continue
            symbols = operator_symbols(leaf)
            if class_of(leaf) is None and leaf.place > to.last:
                continue
            named = leaf.defines & to.mentioned or leaf.defines & to.asked
            if symbols & to.symbols if symbols else named or self._overrides(leaf):
                yield leaf
        for leaf in self._members.special_classes:
            named = leaf.scope.uses & self._members.classes.keys()
            if self._waits(leaf) and named <= to.mentioned and self._mentions(leaf.scope):
                yield leaf
        for leaf, scope in self._members.operators:
            if leaf.place in to.forms or scope not in to.scopes or class_name(scope) not in to.roots | to.results:
                continue
            if not operator_symbols(leaf) or operator_symbols(leaf) & (to.symbols | {b"()", b"[]"}):
                yield leaf
        known = to.roots & self._leaves.definers.keys()
        for scope in sorted(to.scopes, key=lambda scope: (scope.facts.path, scope.item.start)):
            friends = (leaf for leaf in scope.sticky if leaf.item.kind == "friend" and leaf.place not in to.forms)
            yield from (leaf for leaf in friends if identifiers(leaf.text) & known - {class_name(scope)})

    def _mentions(self, scope: Scope) -> bool:
        """Whether an opened class stands or what stands names it, and it is not defined later."""
        return scope in self._to.scopes or (
            class_name(scope) in self._to.mentioned and scope.item.start < self._leaves.all[self._to.last].item.start
        )

    def _overrides(self, leaf: Leaf) -> bool:
        """Whether a member overrides one of a class that is not among the leaves, and may be pure there."""
        alone = all(self._leaves.definers[name] == [leaf.place] for name in leaf.defines)
        return class_of(leaf) is not None and alone and _OVERRIDES.search(leaf.text) is not None

    def _stands(self, name: bytes) -> bool:
        forms = self._to.forms
        return any(forms.get(place, Form.FORWARD) > Form.FORWARD for place in self._leaves.definers[name])


def _is_class(leaf: Leaf) -> bool:
    """Whether it defines a class, or is what stands for an opened one."""
    return leaf.item.kind in ("type", "forward")


def _brief(leaf: Leaf) -> Form:
    """Without its comments, where it has some."""
    return Form.FULL if leaf.shape(Form.LEAN) is leaf.shape(Form.FULL) else Form.LEAN


def _applied(leaf: Leaf) -> set[bytes]:
    """Operators in a leaf's code."""
    return set(_SYMBOL.findall(leaf.text)) if leaf.item.kind in ("function", "type", "variable", "macro") else set()
