"""Alike files share a band, others do not, and nothing depends on order or hash seed."""

from tests.cpp.trees import source
from weft.cpp.dedup.sketch import BANDS, MIN_TOKENS, bands_of, jaccard, shingles
from weft.cpp.lexer import tokens_of


def of(text):
    return shingles(tokens_of(text.encode()))


def test_comments_and_layout_do_not_count():
    text = source("a")
    other = "// another head\n" + text.replace("    ", "\t").replace("// Takes", "/* takes */ // gives")
    assert of(text) == of(other)


def test_near_duplicates_share_a_band_and_others_none():
    text = source("a", 40)
    near = of(text.replace("return", "co_return", 2))
    assert jaccard(of(text), near) > 0.95
    assert set(bands_of(of(text))) & set(bands_of(near))
    assert jaccard(of(text), of(source("b", 40))) < 0.5
    assert not set(bands_of(of(text))) & set(bands_of(of(source("b", 40))))


def test_the_keys_are_fixed_numbers():
    """Another number here means that every index on disk, and every corpus, changes."""
    keys = bands_of({f"one two three four {number}" for number in range(200)})
    assert len(keys) == BANDS
    assert keys[0] == -8532793046624280680
    assert keys == bands_of({f"one two three four {number}" for number in reversed(range(200))})


def test_a_small_file_has_no_sketch():
    assert of("int a;" * (MIN_TOKENS // 4)) == set()
    assert bands_of(set()) == ()
    assert jaccard(set(), set()) == 0.0
