"""How long the documents are, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _BELOW = 720, 200, 60, 34


def histogram(counts: Sequence[int], limit: int) -> str:
    """Bars of equal width from 0 to `limit` tokens.

    Args:
        counts: Documents in each of equal parts of [0, limit].
        limit: Tokens.
    """
    most = max(counts, default=0) or 1
    step = (_WIDTH - _LEFT) / max(1, len(counts))
    bars = []
    for number, count in enumerate(counts):
        height = _HEIGHT * count / most
        span = f"{limit * number // len(counts) + 1:,} to {limit * (number + 1) // len(counts):,} tokens: {count:,}"
        bars.append(
            f'<rect x="{_LEFT + number * step:.1f}" y="{_HEIGHT - height + 10:.1f}" width="{step - 1:.1f}" '
            f'height="{height:.1f}"><title>{span}</title></rect>'
        )
    base = _HEIGHT + 10
    labels = [
        f'<text x="{_LEFT + (_WIDTH - _LEFT) * quarter / 4:.0f}" y="{base + 16}" text-anchor="middle">'
        f"{limit * quarter // 4:,}</text>"
        for quarter in range(5)
    ]
    return (
        f'<svg viewBox="0 0 {_WIDTH + 30} {base + _BELOW}" role="img" aria-label="tokens of a document">'
        f'<text x="{_LEFT - 6}" y="20" text-anchor="end">{most:,}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>'
        f"{''.join(bars)}{''.join(labels)}"
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{base + 31}" text-anchor="middle">tokens of a document</text></svg>'
    )
