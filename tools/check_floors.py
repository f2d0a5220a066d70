"""Each floor of the house imports only floors below it: reads every import under weft/ and names those that do not.

A room is a folder of weft/ or a module beside them. A room may import itself and rooms on lower floors, nothing else of
Weft; two rooms on one floor do not know each other. Imports inside functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tracked import ROOT, tracked

FLOORS = {
    "_version": 0,
    "_cache": 0,
    "_memory": 0,
    "ops": 1,
    "data": 1,
    "cpp": 2,
    "attention": 2,
    "model": 3,
    "generate": 4,
    "evaluate": 4,
    "train": 5,
    "inspect": 5,
    "bench": 6,
    "demo": 6,
    "cli": 7,
    "__main__": 8,
}


def main() -> int:
    files = [path for path in tracked("weft/*.py", "weft/*.pyi") if path != ROOT / "weft" / "__init__.py"]
    problems = [problem for path in files for problem in problems_of(path.read_text(encoding="utf-8"), path)]
    print("\n".join([*problems, f"floors: {len(files)} files, {len(problems)} imports of the same floor or one above"]))
    return int(bool(problems))


def problems_of(source: str, path: Path) -> list[str]:
    """One line for each import in `source` that leads to a room which the room of `path` may not know."""
    place = path.relative_to(ROOT).with_suffix("")
    room = place.parts[1]
    if room not in FLOORS:
        return [f"{place}: the room {room!r} has no floor; give it one in tools/check_floors.py"]
    package = place.parts[:-1]
    found = []
    for line, target in imported_rooms(ast.parse(source), package):
        if target == room:
            continue
        if target not in FLOORS:
            found.append(f"{path.relative_to(ROOT)}:{line}: imports weft.{target}, a room without a floor")
        elif FLOORS[target] >= FLOORS[room]:
            found.append(
                f"{path.relative_to(ROOT)}:{line}: weft.{room} (floor {FLOORS[room]}) imports "
                f"weft.{target} (floor {FLOORS[target]})"
            )
    return found


def imported_rooms(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(line, room) for each import of something of Weft; `package` is where relative imports start."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "weft" else [stem]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "weft" and len(parts) > 1 and parts[1] != "__version__":
                yield node.lineno, parts[1]


if __name__ == "__main__":
    sys.exit(main())
