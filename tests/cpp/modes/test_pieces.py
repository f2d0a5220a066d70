"""Pieces joined are the text, none is too long, and only what must be is cut inside."""

from hypothesis import given
from hypothesis import strategies as st

from weft.cpp.modes.pieces import pieces_of


def words(text):
    """A count that does not add up: a border inside a word makes two of it."""
    return len(text.split())


@given(
    text=st.text(alphabet="ab ä\n", max_size=120),
    borders=st.lists(st.integers(1, 119), unique=True),
    budget=st.integers(4, 30),
)
def test_pieces_are_neighbours_within_the_budget(text, borders, budget):
    data = text.encode()
    inner = sorted(border for border in borders if border < len(data) and data[border] & 0xC0 != 0x80)
    for count in (len, words):
        pieces = list(pieces_of(data, inner, max_tokens=budget, count_tokens=count))
        assert b"".join(data[piece.start : piece.end] for piece in pieces) == data
        assert all(count(data[piece.start : piece.end]) == piece.tokens <= budget for piece in pieces)
        for piece in pieces:
            data[piece.start : piece.end].decode()
            if not piece.inside:
                assert {piece.start, piece.end} <= {0, *inner, len(data)}


def test_as_few_pieces_as_the_borders_allow():
    text = b"aa\nbb\ncc\ndd\n"
    assert [text[p.start : p.end] for p in pieces_of(text, [3, 6, 9], max_tokens=6, count_tokens=len)] == [
        b"aa\nbb\n",
        b"cc\ndd\n",
    ]


def test_what_alone_exceeds_the_budget_is_cut_at_lines_and_marked():
    text = b"aa\n" + b"bbb\n" * 5 + b"cc\n"
    pieces = list(pieces_of(text, [3, 23], max_tokens=8, count_tokens=len))
    assert [(text[p.start : p.end], p.inside) for p in pieces] == [
        (b"aa\n", False),
        (b"bbb\nbbb\n", True),
        (b"bbb\nbbb\n", True),
        (b"bbb\n", True),
        (b"cc\n", False),
    ]
