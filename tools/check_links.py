"""Every relative link and image in a Markdown file leads somewhere, and a #heading in it exists there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tracked import ROOT, tracked

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
CODE = re.compile(r"^(```|~~~).*?^\1[^\n]*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def main() -> int:
    pages = tracked("*.md")
    problems = [problem for page in pages for problem in problems_of(page)]
    print("\n".join([*problems, f"links: {len(pages)} pages, {len(problems)} broken links"]))
    return int(bool(problems))


def problems_of(page: Path) -> list[str]:
    """One line for each link of `page` that leads nowhere."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    found = []
    for target in LINK.findall(text):
        if re.match(r"[a-z][a-z+.-]*:", target):  # https:, mailto: need a network; not checked here
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        where = f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page}: ({target})"
        if not there.exists():
            found.append(f"{where}: no such file")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            found.append(f"{where}: no heading of that name")
    return found


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of `page`."""
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


if __name__ == "__main__":
    sys.exit(main())
