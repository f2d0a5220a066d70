"""Bytes of any age -> UTF-8."""

import pytest

from weft.cpp.decode import decode


@pytest.mark.parametrize(
    "data, text, encoding",
    [
        (b"int a;\r\n", b"int a;\r\n", "utf-8"),
        (b"\xef\xbb\xbfint a;", b"int a;", "utf-8"),
        ("// Grüße".encode(), "// Grüße".encode(), "utf-8"),
        ("// Grüße".encode("latin-1"), "// Grüße".encode(), "latin-1"),
        (b"// \x93quoted\x94", "// “quoted”".encode(), "latin-1"),
        (b"// \x81", "// \x81".encode(), "latin-1"),
        ("int a;".encode("utf-16"), b"int a;", "utf-16-le"),
        (b"\xfe\xff" + "int ä;".encode("utf-16-be"), "int ä;".encode(), "utf-16-be"),
    ],
    ids=["plain", "mark", "utf-8", "latin-1", "windows", "no-windows", "utf-16-le", "utf-16-be"],
)
def test_text_comes_out_as_utf8(data, text, encoding):
    assert decode(data) == (text, encoding, None)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"int a\0;", "binary (NUL bytes)"),
        (b"\x7fELF\0\xff\xfe", "binary (NUL bytes)"),
        (b"\xff\xfea", "broken UTF-16"),
    ],
    ids=["empty", "blank", "nul", "binary", "half-a-character"],
)
def test_what_is_no_text_has_a_reason(data, reason):
    assert decode(data).reason == reason
    assert decode(data).text == b""
