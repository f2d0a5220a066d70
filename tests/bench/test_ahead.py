"""Programs are compiled once each, and what was compiled ahead of time is found by the launch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_compile import problems
from benchmarks.gpu_steps import REAL
from weft.bench.ahead import programs
from weft.bench.compile_cases import Problem
from weft.ops.kernels.support import INSTALLED

pytestmark = pytest.mark.skipif(not INSTALLED, reason="triton is not installed")  # asked without importing it

ROOT = Path(__file__).resolve().parents[2]
ROW = Problem((64, 64), torch.bfloat16, 2048, 8, 2)
FOUND_AGAIN = """
import os, torch
from dataclasses import replace
from pathlib import Path
from tests.bench.as_sm_90 import pretend
from weft.bench.ahead import programs
from weft.bench.compile_cases import Problem

pretend()
launch, config = programs([Problem((64, 64), torch.bfloat16, 2048, 8, 2)], "nvidia", ["window"])[0]

def compiled():
    return len(list(Path(os.environ["TRITON_CACHE_DIR"]).rglob("*.cubin")))

assert compiled() == 0
launch.compile(config)
assert compiled() == 1
real = {n: torch.empty_like(x, device="cpu") if isinstance(x, torch.Tensor) else x for n, x in launch.arguments.items()}
launch.kernel.device_caches.clear()  # as another process
replace(launch, arguments=real).compile(config)
assert compiled() == 1
"""


def test_a_program_is_compiled_once():
    once = programs([ROW], "nvidia")
    assert len(programs([ROW, ROW], "nvidia")) == len(once)
    names = {launch.name for launch, _ in once}
    assert {"ranged_forward", "ranged_dq", "ranged_dkv", "select_blocks", "selected_forward", "selected_dkv"} <= names
    # A longer row changes numbers, of which a program knows only whether they are multiples of 16, and the splits.
    longer = programs([ROW, ROW._replace(tokens=4096)], "nvidia")
    assert len(longer) < 2 * len(once)


def test_the_gpu_script_compiles_every_shape_it_measures():
    rows = problems(REAL)
    assert {row.tokens for row in rows} >= set(REAL.lengths)
    assert {row.heads // row.groups for row in rows} >= set(REAL.ratios)
    assert {row.dims for row in rows} == {(REAL.width, REAL.width), REAL.unequal}


def test_what_was_compiled_is_found_by_the_launch(tmp_path: Path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", FOUND_AGAIN], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
