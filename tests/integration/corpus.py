"""Real text, little of it: the first lines of files of the standard library."""

import sysconfig
from pathlib import Path

FILES, CHARACTERS = 40, 1500


def beginnings() -> list[str]:
    """The first `CHARACTERS` characters, or a little less, of the first `FILES` modules, cut at a line's end."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py"))[:FILES]
    texts = (path.read_text(encoding="utf-8")[:CHARACTERS] for path in paths)
    return [text[: text.rindex("\n") + 1] for text in texts]
