"""What a leaf's names lead to where there is room for the least only, and in which form that suffices.

Worked out once for each form of a leaf: the walks of a file's documents meet the same leaves again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from ..symbols import identifiers
from .closure import around, only_declares
from .dependent import Dependent, dependent_names
from .forms import Form, Shape
from .leaves import Leaf, Leaves, Scope
from .members import Members, class_name, class_of

_BUILT = re.compile(
    rb"\b([A-Za-z_]\w*)(?=\s*(?:<[^<>;{}()]*>\s*)?(?:[({]|[A-Za-z_]\w*\s*[({;=,]))"
    rb"|\bmake_\w+\s*<\s*(?:\w+::)*(\w+)|\b([A-Za-z_]\w*)(?=::\3\s*;)"
)
_ANNOUNCES = re.compile(rb"\bfriend\s+(?:class|struct|union)\s+\w+\s*;")
_SCOPED = re.compile(rb"[^{]*\benum\s+(?:class|struct)\b")
_SPECIAL = re.compile(rb"\btemplate\s*<\s*>")
_NO_PARAMETERS = re.compile(rb"\w\s*\(\s*(?:void\s*)?\)")
_STATIC = re.compile(rb"\bstatic\b")
_DESTROYED = re.compile(rb"~\s*([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Step:
    """What one name in a leaf leads to."""

    name: bytes
    announced: bool
    """Whether forward declarations suffice; their forms mean nothing then."""

    leaves: list[tuple[Leaf, Form]]
    """Each with the form that suffices; in full only templates that a type of a function's body may be given to."""

    shell: Leaf | None
    """Of them, the one that stands for a namespace: not needed where a namespace of that name stands."""

    dependent: bool
    """Whether it is given arguments that depend on template parameters wherever it stands in the leaf."""

    loose: Set[int]
    """Of them, places of what is needed only where the leaf is instantiated: members of classes that are so given
    arguments."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a leaf in one form mentions and needs."""

    mentioned: Set[bytes] = frozenset()
    """All names in it and in the openings of its scopes."""

    dependent: Set[bytes] = frozenset()
    """Of them, those that are given arguments which depend on template parameters wherever they stand in it."""

    asked: Set[bytes] = frozenset()
    """Names after `.` and `->`."""

    steps: tuple[Step, ...] = ()
    """By name."""


def needs_of(members: Members, leaf: Leaf, form: Form, *, local: bool, last: int) -> Needs:
    """What a leaf needs in this form.

    Args:
        members: Of the leaf's file, which keep the answer.
        leaf: One of that file's.
        form: In which it stands.
        local: Whether templates that it names may be given types of functions' bodies.
        last: The last place in full: macros see up to there, other leaves up to themselves.
    """
    key = (leaf.place, form, local, last if leaf.item.kind == "macro" else leaf.place)
    known = members.needs.get(key)
    if known is None:
        known = members.needs[key] = _needs(members, leaf, form, local, key[3])
    return known


def _needs(members: Members, leaf: Leaf, form: Form, local: bool, limit: int) -> Needs:
    shape, definers = leaf.shape(form), members.leaves.definers
    if leaf.item.kind == "friend" and _ANNOUNCES.search(shape.text):
        return Needs()
    mentioned = shape.free | leaf.scope.all_uses
    names = mentioned | leaf.read
    if form is Form.FULL:
        names |= leaf.operators
    names &= definers.keys()
    names -= _only_introduced(members.leaves, leaf, shape) | members.parameters(leaf, shape)
    if leaf.pasted:
        names |= {name for name in definers if name.startswith(leaf.pasted)}
    text = shape.text + b"\n" + members.openings(leaf)
    dependent = Dependent() if local else _dependent(members, leaf, shape, text, names)
    related = _related(members, leaf, names)
    definite = _related(members, leaf, names - dependent.names) if dependent.names else related
    built = _built(shape.text)
    announced = _announced(leaf, form, shape)
    steps = []
    for name in sorted(names):
        found = list(_visible(members.leaves, leaf, name, limit, related, built))
        if found:
            shell = next((other for other in found if _is_namespace(other)), None)
            needed = [
                (other, Form.FULL if local and other.is_template else _sufficient(members, leaf, text, name, other))
                for other in found
            ]
            inner = name in dependent.inner
            loose = frozenset(other.place for other in found if inner or _holder(other) in related - definite)
            steps.append(Step(name, name in announced, needed, shell, name in dependent.names, loose))
    return Needs(mentioned, dependent.names, shape.members, tuple(steps))


def _holder(leaf: Leaf) -> Scope | None:
    """The class that it is a member of; of what stands for an opened class, the one around that."""
    scope = class_of(leaf)
    return scope if leaf.text or scope is None or scope.parent is None else scope.parent.innermost_class


def _dependent(members: Members, leaf: Leaf, shape: Shape, text: bytes, names: Set[bytes]) -> Dependent:
    """Of the names in a leaf, those that mean something definite only once the templates around it are instantiated."""
    given = members.given(leaf, shape)
    if not given:
        return Dependent()
    own = {class_name(scope) for scope in around(leaf.scope) if scope.item.kind == "type"}
    if leaf.item.kind == "type":
        own.add(leaf.item.name.encode())
    called = {
        name for name in names if all(_is_called(members.leaves, place) for place in members.leaves.definers[name])
    }
    found = dependent_names(text, names, given, own=own, called=called)
    if not leaf.item.name.startswith("::"):
        return found
    head = identifiers(shape.text.partition(b"{")[0])  # the class of a member that is defined here has to be complete
    return Dependent(found.names - head, found.inner - head)


def _is_called(leaves: Leaves, place: int) -> bool:
    return leaves.all[place].item.kind in ("function", "prototype")


def _visible(
    leaves: Leaves, leaf: Leaf, name: bytes, limit: int, related: Set[Scope], built: Set[bytes]
) -> Iterator[Leaf]:
    """Of the leaves that define a name, those that this one may mean: before the limit, or in its own class."""
    own, symbols = class_of(leaf), leaf.means(name)
    opened = known = False
    for place in leaves.definers[name]:
        other = leaves.all[place]
        scope = class_of(other)
        if place == leaf.place or (scope is not None and related.isdisjoint((scope, _holder(other)))):
            continue
        if place >= limit and (own is None or own not in around(other.scope)):
            continue
        if scope is not None and other.text and name == class_name(scope) and name not in built:
            continue  # a constructor
        if symbols is not None and not other.may_declare(name, symbols):
            continue
        if _is_namespace(other):
            if opened or other.facts is not leaf.facts:
                continue  # one of several with that name is enough
            opened = True
        elif other.item.kind == "invocation" and known and not _is_made(leaf):
            continue  # of a macro that is told a name which means something already
        else:
            known = True
        yield other


def _is_namespace(leaf: Leaf) -> bool:
    """Whether it stands for the name of a namespace."""
    return not leaf.text and class_of(leaf) is None


def _is_made(leaf: Leaf) -> bool:
    """Whether a macro makes it, of names that others may have made: TYPED_TEST(Suite, name) { ... }."""
    return leaf.item.kind == "invocation" or (leaf.item.kind == "function" and leaf.item.name.isupper())


def _related(members: Members, leaf: Leaf, names: Set[bytes]) -> set[Scope]:
    """Classes whose members a leaf may name as they are: its own, those that it mentions by any name, their bases."""
    found: set[Scope] = set()
    own = class_of(leaf)
    if own is not None:
        found |= members.above(own)
    for name in names & (members.classes.keys() | members.aliased.keys()):
        for scope in (*members.classes.get(name, ()), *members.aliased.get(name, ())):
            found |= members.above(scope)
    return found


def _sufficient(members: Members, leaf: Leaf, text: bytes, name: bytes, other: Leaf) -> Form:
    """The form of another leaf that a name in this one leads to; enumerators have names, or stand behind `::`."""
    if other.item.kind == "enum" and name == other.item.name.encode():
        scoped = _SCOPED.match(other.text) is not None
        if not scoped or not (leaf.item.kind == "alias" or re.search(rb"\b%b\s*::" % re.escape(name), text)):
            return Form.FORWARD
    return least(members, other)


def least(members: Members, leaf: Leaf) -> Form:
    """The form of a leaf that suffices most: constants are computed by few members."""
    known = members.least.get(leaf.place)
    if known is None:
        member = class_of(leaf) is not None and _STATIC.search(leaf.text) is None
        computes = _NO_PARAMETERS.search(leaf.shape(Form.BARE).text) is not None  # so do most that constants call
        known = members.least[leaf.place] = Form.BARE if member or (leaf.is_template and not computes) else Form.LEAN
    return known


def _announced(leaf: Leaf, form: Form, shape: Shape) -> set[bytes]:
    """Names in a leaf whose types need not be complete."""
    if leaf.item.kind == "friend" or only_declares(leaf, form):
        return shape.free
    bodiless = leaf.item.kind in ("prototype", "variable") and b"{" not in shape.text
    return shape.pointed if bodiless or (form < Form.SHORT and not shape.members) else set()


def _only_introduced(leaves: Leaves, leaf: Leaf, shape: Shape) -> set[bytes]:
    """A function's name where it is not called in it: its overloads are not needed. A specialisation needs another.

    Macros behind its parameters look like names of it and are none.
    """
    if leaf.item.kind not in ("function", "prototype") or _SPECIAL.search(shape.text):
        return set()
    names = {b"operator" if name.startswith(b"operator") else name for name in leaf.defines}
    once = {name for name in names if len(re.findall(rb"\b%b\b" % re.escape(name), shape.text)) == 1}
    introduced = {name for name in leaf.defines if (b"operator" if name.startswith(b"operator") else name) in once}
    macros = ("macro", "conditional")
    return {name for name in introduced if all(leaves.all[at].item.kind not in macros for at in leaves.definers[name])}


def _built(text: bytes) -> set[bytes]:
    """Names of which objects may be constructed or destroyed."""
    found = {name for names in _BUILT.findall(text) for name in names}
    return found | set(_DESTROYED.findall(text))
