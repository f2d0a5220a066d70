"""Secrets go, the code stays: same length, same line ends, same names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.cpp.redact import redact

KEY = '-----BEGIN RSA PRIVATE KEY-----\\n"\n"MIIEow+/Ab9\\n{}\\n-----END RSA PRIVATE KEY-----'


@pytest.mark.parametrize(
    "before, after, kind",
    [
        ('k = "AKIAABCDEFGHIJKLMNOP";', 'k = "AKIAXXXXXXXXXXXXXXXX";', "AWS key"),
        (f't("ghp_{"aB3" * 12}")', f't("ghp_{"xX0" * 12}")', "GitHub token"),
        (f'"AIza{"a1_-B" * 7}"', f'"AIza{"x0_-X" * 7}"', "Google key"),
        ("https://bob:hunter22@host.org/x", "https://bob:xxxxxx00@host.org/x", "password in a URL"),
        ("// Jane.Doe+x@corp.co.uk:", "// Xxxx.Xxx+x@xxxx.xx.xx:", "e-mail address"),
        ('"a\\nbob@mail.com"', '"a\\nxxx@xxxx.xxx"', "e-mail address"),
        (KEY.format("q" * 40), KEY.format("x" * 40).replace("MIIEow+/Ab9", "XXXXxx+/Xx0"), "private key"),
    ],
    ids=["aws", "github", "google", "url", "e-mail", "escape", "private-key"],
)
def test_is_overwritten(before, after, kind):
    assert redact(before.encode()) == (after.encode(), {kind: 1})


@pytest.mark.parametrize(
    "text",
    [
        "/** @param foo @return bar */ a@b",
        '__asm__(".symver old,memcpy@GLIBC_2.2.5");',
        "int AKIA = 1; int my_AKIAABCDEFGHIJKLMNOPQ;",
        "user@example.com and a.b@mail.example.org",
        "https://host:8080/path@v2 http://[::1]:80/",
        "git@github.com:owner/name.git"[:3],
        "x->y = sk-sk_live; task-runner",
        "auto f = [&](int a) { return a@@b.com; }",
    ],
    ids=["doxygen", "symbol-version", "identifiers", "placeholders", "ports", "git", "minus", "twice"],
)
def test_is_left_alone(text):
    assert redact(text.encode()) == (text.encode(), {})


@given(st.text(alphabet='abcAB01@./:\\"\n_- ghpsktx', max_size=200))
def test_keeps_the_length_and_what_bounds_lines_and_literals(text):
    data = text.encode()
    out, _ = redact(data)
    assert len(out) == len(data)
    assert [i for i, byte in enumerate(out) if byte in b'\n"\\@'] == [
        i for i, byte in enumerate(data) if byte in b'\n"\\@'
    ]
    assert redact(out)[0] == out
