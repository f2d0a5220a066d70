"""What a leaf needs at least is worked out once, whatever walk asks for it."""

import re

from weft.cpp.compilable.division import leaves_of
from weft.cpp.compilable.forms import Form
from weft.cpp.compilable.least import Needs, needs_of
from weft.cpp.compilable.leaves import Leaf, Leaves
from weft.cpp.compilable.members import Members
from weft.cpp.compilable.narrow import NarrowSelection
from weft.cpp.index import file_facts
from weft.cpp.project import SourceFile

CODE = """namespace a {
struct Point {
  Point(int x);
  int norm() const { return x * x + y * y; }
  int x, y;
};
#define AT(p) first(p) + second(p)
int first(Point* p);
int second(Point* p);
int use(Point p) { return p.norm() + AT(&p); }
}
"""


def words(text: bytes) -> int:
    return len(re.findall(rb"\w+|[^\w\s]", text))


def opened(text: str) -> Leaves:
    """The leaves of a header whose classes are all opened."""
    facts = file_facts(SourceFile("a.h", text.encode()))
    return leaves_of(
        facts, words, largest=8, late=lambda item: None, read=lambda item: frozenset(), once=lambda item: None
    )


def leaf_with(leaves: Leaves, text: bytes) -> Leaf:
    (leaf,) = [leaf for leaf in leaves.all.values() if text in leaf.text]
    return leaf


def named(needs: Needs) -> dict[bytes, bool]:
    """Name -> whether announcing it suffices, the namespace of all aside."""
    return {step.name: step.announced for step in needs.steps if step.name != b"a"}


def test_what_is_pointed_to_is_announced_and_what_has_a_body_is_not() -> None:
    leaves = opened(CODE)
    members = Members(leaves, {})
    pointed = needs_of(members, leaf_with(leaves, b"int second("), Form.FULL, local=False, last=99)
    assert named(pointed) == {b"Point": True}
    used = needs_of(members, leaf_with(leaves, b"int use("), Form.FULL, local=False, last=99)
    assert named(used) == {b"Point": False, b"AT": False}
    assert used.asked == {b"norm"}


def test_macros_see_up_to_the_last_leaf_and_all_others_up_to_themselves() -> None:
    leaves = opened(CODE)
    members = Members(leaves, {})
    macro, first = leaf_with(leaves, b"#define AT"), leaf_with(leaves, b"int first(")
    assert set(named(needs_of(members, macro, Form.FULL, local=False, last=first.place))) == set()
    assert set(named(needs_of(members, macro, Form.FULL, local=False, last=first.place + 1))) == {b"first"}
    early = needs_of(members, first, Form.FULL, local=False, last=first.place)
    assert needs_of(members, first, Form.FULL, local=False, last=99) is early


def test_an_add_that_fails_leaves_nothing_behind_for_the_next() -> None:
    leaves = opened(CODE)
    place = leaf_with(leaves, b"int use(").place
    alone = NarrowSelection(leaves, members=Members(leaves, {}))
    assert alone.add([place], budget=10_000)
    again = NarrowSelection(leaves, members=Members(leaves, {}))
    assert not again.add([place], budget=alone.tokens - 1)
    assert again.forms == {}
    assert again.add([place], budget=alone.tokens)
    assert again.forms == alone.forms


def test_the_leaves_within_a_leaf_are_those_between_its_ends() -> None:
    leaves = opened(CODE)
    facts = file_facts(SourceFile("a.h", CODE.encode()))
    wide = leaves_of(
        facts, len, largest=10_000, late=lambda item: None, read=lambda item: frozenset(), once=lambda item: None
    )
    members = Members(leaves, {})
    for leaf in wide.all.values():
        if leaf.text:
            start, end = leaf.item.start, leaf.item.end
            inside = [p for p, x in leaves.all.items() if x.text and start <= x.item.start and x.item.end <= end]
            assert members.within(leaf) == inside
    assert len(members.within(leaf_with(wide, b"struct Point"))) == 3
