"""`weft --help` and `weft X --help` answer at once and load no torch; `import weft` loads nothing heavy."""

import subprocess
import sys
import time

import pytest

from weft.cli.main import COMMANDS

HEAVY = ("torch", "numpy", "pyarrow", "tokenizers", "transformers", "matplotlib")

# Half a second is the promise on an idle machine; the test's bound leaves room for a busy one. What makes it slow is an
# import, and those are forbidden by name.
BOUND_SECONDS = 2.0


def loaded_after(program: str) -> tuple[set[str], str, float]:
    report = f"import sys\n{program}\nprint('\\n@@' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    shown, _, names = done.stdout.rpartition("@@")
    return set(names.split()), shown, seconds


PAGES = [["--help"], *[[name, "--help"] for name in COMMANDS]]


@pytest.mark.parametrize("words", PAGES, ids=[" ".join(words) for words in PAGES])
def test_help_is_quick_and_loads_no_torch(words):
    loaded, shown, seconds = loaded_after(f"from weft.cli.main import main\nassert main({words!r}) == 0")
    assert "usage:" in shown
    assert not loaded
    assert seconds < BOUND_SECONDS


def test_importing_weft_loads_nothing_heavy():
    loaded, _, _ = loaded_after("import weft")
    assert not loaded
