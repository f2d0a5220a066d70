"""Every Triton kernel, with every configuration that may be tried, compiles for three devices that are not here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from weft.ops.kernels.support import INSTALLED

pytestmark = pytest.mark.skipif(not INSTALLED, reason="triton is not installed")  # asked without importing it

TARGETS = {"sm_80", "sm_90", "gfx942"}


@pytest.mark.slow
def test_every_kernel_compiles_and_fits_somewhere(tmp_path: Path):
    table = tmp_path / "report.json"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "weft.bench.compile_report", "--once", "--json", str(table)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = json.loads(table.read_text(encoding="utf-8"))
    kernels = {entry["kernel"] for entry in entries}
    assert {(entry["kernel"], entry["target"]) for entry in entries} == {(k, t) for k in kernels for t in TARGETS}
    assert all(entry["fits"] and entry["registers"] > 0 for entry in entries), done.stdout
    assert kernels == launched()


def sources() -> str:
    """The text of all kernels."""
    folder = Path(__file__).parents[2] / "weft" / "ops" / "kernels" / "jit"
    return "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))


def launched() -> set[str]:
    """Names of the kernels: functions with pointers, which alone are launched."""
    functions = re.split(r"@triton\.jit(?:\(.*\))?\ndef ", sources())[1:]
    return {text.partition("(")[0] for text in functions if "program_id" in text}
