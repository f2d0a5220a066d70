"""Makes a finished demo run the one that the docs show: its measurement, its pictures, and the tables made from them.

python tools/adopt_demo.py runs/demo
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import tables
from tracked import ROOT

PICTURES = {"loss.png": "demo-loss.png", "blocks.png": "demo-blocks.png"}


def main(words: list[str]) -> int:
    if len(words) != 1:
        print(__doc__)
        return 2
    run = Path(words[0])
    shutil.copyfile(run / "demo.json", ROOT / "benchmarks" / "results" / "demo.json")
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for source, name in PICTURES.items():
        shutil.copyfile(run / "plots" / source, images / name)
    return tables.main([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
