"""A file holds one concept: fails on a source file longer than LIMIT lines, and reports the median."""

from __future__ import annotations

import statistics
import sys

from tracked import ROOT, tracked

LIMIT = 400


def main() -> int:
    sources = tracked("*.py", "*.pyi", "*.cpp", "*.js")
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    shipped = {path: count for path, count in lines.items() if path.is_relative_to(ROOT / "weft") and count}
    for path, count in lines.items():
        if count > LIMIT:
            print(f"{path.relative_to(ROOT)}: {count} lines, more than {LIMIT}: two concepts? give one its own file")
    longest = max(shipped, key=lambda path: shipped[path])
    print(
        f"sizes: {len(shipped)} files in weft/, median {statistics.median(shipped.values()):.0f} lines, "
        f"longest {longest.relative_to(ROOT)} with {shipped[longest]}"
    )
    return int(any(count > LIMIT for count in lines.values()))


if __name__ == "__main__":
    sys.exit(main())
