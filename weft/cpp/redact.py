"""Secrets and e-mail addresses are overwritten in place, letter by letter, so that lengths and literals stay.

Only patterns that say what they are (a fixed prefix, a key's armour, a password inside a URL) and only what cannot be
an identifier: a name in the code stays, or the code would no longer mean the same.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

_EDGE = rb"(?<![A-Za-z0-9_])"
_END = rb"(?![A-Za-z0-9_])"


class _Rule(NamedTuple):
    name: str
    hints: tuple[bytes, ...]
    """One of these stands in every text that matches: looked for first, because that is fast."""
    pattern: re.Pattern[bytes]
    """Group 1 is what is overwritten."""


def _rule(name: str, hints: tuple[bytes, ...], pattern: bytes, flags: int = 0) -> _Rule:
    return _Rule(name, hints, re.compile(pattern, flags))


_RULES = (
    _rule(
        "private key",
        (b"PRIVATE KEY",),
        rb"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(.{20,20000}?)-----END [A-Z ]*PRIVATE KEY",
        re.DOTALL,
    ),
    _rule("AWS key", (b"AKIA", b"ASIA"), _EDGE + rb"(?:AKIA|ASIA)([0-9A-Z]{16})" + _END),
    _rule(
        "GitHub token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        _EDGE + rb"(?:gh[pousr]_|github_pat_)([A-Za-z0-9_]{36,255})" + _END,
    ),
    _rule("GitLab token", (b"glpat-",), _EDGE + rb"glpat-([A-Za-z0-9_-]{20,})" + _END),
    _rule("Google key", (b"AIza",), _EDGE + rb"AIza([0-9A-Za-z_-]{35})" + _END),
    _rule("Slack token", (b"xox",), _EDGE + rb"xox[abeoprs]-([0-9A-Za-z-]{10,})" + _END),
    _rule("Stripe key", (b"_live_",), _EDGE + rb"[rs]k_live_([0-9A-Za-z]{20,})" + _END),
    _rule("npm token", (b"npm_",), _EDGE + rb"npm_([A-Za-z0-9]{36})" + _END),
    _rule("API key", (b"sk-",), _EDGE + rb"sk-(?:proj-|ant-)?([A-Za-z0-9_-]{32,})" + _END),
    _rule("JSON web token", (b"eyJ",), _EDGE + rb"eyJ([A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})"),
    _rule("password in a URL", (b"://",), rb"://[^\s/:@\"'<>]{1,64}:([^\s/@\"'<>%$\\{}]{3,64})@[A-Za-z0-9]"),
)  # fmt: skip
_LOCAL_PART = re.compile(rb"(?:(?<![A-Za-z0-9._%+\\@/-])|(?<=\\[nrt]))[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}\Z")
_DOMAIN = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,5}[A-Za-z]{2,12}(?![A-Za-z0-9_@-])")
_CHARACTER = re.compile(rb"\\(?:[0-7]{1,3}|x[0-9A-Fa-f]+|.)|([a-z])|([A-Z])|([0-9])", re.DOTALL)
_PLACEHOLDER_DOMAIN = re.compile(rb"(?:[a-z0-9-]+\.)*example\.(?:com|org|net)", re.IGNORECASE)


def redact(text: bytes) -> tuple[bytes, Counter[str]]:
    """The text with every secret and address overwritten, as long as before, and how many of each kind there were.

    Letters become x or X and digits 0; punctuation, line ends and escape sequences stay.
    """
    counts: Counter[str] = Counter()
    for rule in _RULES:
        if any(hint in text for hint in rule.hints):
            text = _applied(rule, text, counts)
    return _without_addresses(text, counts), counts


def _applied(rule: _Rule, text: bytes, counts: Counter[str]) -> bytes:
    def overwrite(match: re.Match[bytes]) -> bytes:
        start, end = match.start(1) - match.start(), match.end(1) - match.start()
        blank = _CHARACTER.sub(_blank, match[1])
        if blank == match[1]:
            return match[0]  # it was a placeholder already
        counts[rule.name] += 1
        return match[0][:start] + blank + match[0][end:]

    return rule.pattern.sub(overwrite, text)


def _without_addresses(text: bytes, counts: Counter[str]) -> bytes:
    """Looks at each @ instead of at each word: most files have none."""
    pieces = []
    done, at = 0, text.find(b"@")
    while at >= 0:
        local = _LOCAL_PART.search(text, max(done, at - 65), at)
        domain = _DOMAIN.match(text, at + 1)
        if local and domain and not _PLACEHOLDER_DOMAIN.fullmatch(domain[0]):
            blank = _CHARACTER.sub(_blank, local[0])
            if blank != local[0]:  # else it is a placeholder, or the password of a URL, which is one by now
                counts["e-mail address"] += 1
                pieces += [text[done : local.start()], blank, b"@", _CHARACTER.sub(_blank, domain[0])]
                done = domain.end()
        at = text.find(b"@", at + 1)
    return b"".join([*pieces, text[done:]])


def _blank(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return b"x"
    if match[2]:
        return b"X"
    return b"0" if match[3] else match[0]
