"""Small projects on disk, different enough from each other that nothing is taken for a duplicate by chance."""

from __future__ import annotations

import random
from pathlib import Path

_WORDS = (
    "queue",
    "node",
    "cache",
    "frame",
    "token",
    "batch",
    "loom",
    "warp",
    "thread",
    "shuttle",
    "spool",
    "heddle",
    "reed",
)


def write_tree(root: Path, files: dict[str, str | bytes]) -> Path:
    """A folder that holds these files."""
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def source(seed: object, functions: int = 12) -> str:
    """A file of so many functions."""
    draw = random.Random(f"tree {seed}")
    parts = ["#include <vector>\n"]
    for _ in range(functions):
        one, two, three = draw.sample(_WORDS, 3)
        number = draw.randrange(10_000)
        parts.append(
            f"// Takes a {one} from the {two}.\n"
            f"int {one}_{two}_{number}(const std::vector<int>& {three}, int {two}) {{\n"
            f"    int {one} = {number};\n    for (int value : {three}) {{\n        {one} += value * {two};\n    }}\n"
            f"    return {one};\n}}\n"
        )
    return "\n".join(parts)


def project(root: Path, name: str, files: int = 4) -> Path:
    """A project of headers and the sources that include them."""
    tree: dict[str, str | bytes] = {}
    for number in range(files):
        tree[f"include/{name}/part{number}.h"] = f"#pragma once\n{source((name, number), 3)}"
        tree[f"src/part{number}.cpp"] = f'#include "{name}/part{number}.h"\n{source((name, number, "cpp"), 10)}'
    return write_tree(root / name, tree)


def projects(root: Path, count: int = 4, files: int = 4) -> list[Path]:
    """Several of them."""
    return [project(root, f"project{number}", files) for number in range(count)]
