"""What leaves need is kept from one collection of leaves to the next, while the same places define their names."""

from weft.cpp.compilable.closure import Selection
from weft.cpp.compilable.division import leaves_of
from weft.cpp.compilable.leaves import PLACES, Leaves
from weft.cpp.index import file_facts
from weft.cpp.project import SourceFile

USER = "int user(int a) { return helper(a); }\n"
HELPER = "int helper(int a);\n"


def read(number: int, text: str) -> Leaves:
    """The leaves of the file that stands at this place in the order."""
    facts = file_facts(SourceFile(f"{number}.h", text.encode()))
    return leaves_of(
        facts,
        len,
        largest=1000,
        late=lambda item: None,
        read=lambda item: frozenset(),
        once=lambda item: None,
        first=number * PLACES,
    )


def taken(place: int, *files: Leaves) -> set[int]:
    """Places of what stands with a leaf where these files may stand."""
    together = Leaves({}, [], {}, set())
    for leaves in files:
        together.include(leaves)
    selection = Selection(together)
    assert selection.add([place], budget=1000)
    return set(selection.forms)


def test_a_leaf_needs_what_the_files_beside_it_define_whatever_stood_there_before() -> None:
    first, second, user = read(0, HELPER), read(1, HELPER), read(2, USER)
    (place,) = user.all
    assert taken(place, user) == {place}
    assert taken(place, first, user) == {0, place}
    assert taken(place, second, user) == {PLACES, place}
    assert taken(place, first, second, user) == {0, PLACES, place}
    assert taken(place, user) == {place}


def test_a_macro_needs_what_is_defined_up_to_the_last_leaf() -> None:
    macro, early, late = read(0, "#define CALL(a) helper(a)\n"), read(1, USER), read(3, "int last;\n")
    helper = read(2, HELPER)
    call, user, last, place = *macro.all, *early.all, *late.all, *helper.all
    for asked, expected in ((user, {call, user}), (last, {call, last, place}), (user, {call, user})):
        together = Leaves({}, [], {}, set())
        for leaves in (macro, early, helper, late):
            together.include(leaves)
        selection = Selection(together)
        assert selection.add([call, asked], budget=1000)
        assert set(selection.forms) == expected


def test_taking_leaves_of_files_together_leaves_each_file_as_it_was() -> None:
    first, second = read(0, HELPER), read(1, HELPER)
    together = Leaves({}, [], {}, set())
    together.include(first)
    together.include(second)
    assert together.definers[b"helper"] == [0, PLACES]
    assert first.definers[b"helper"] == [0]
    assert second.definers[b"helper"] == [PLACES]
