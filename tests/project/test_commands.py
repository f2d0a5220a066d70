"""The README's two commands and CI: what the Makefile would run, and how an unusable Python is reported."""

import os
import shutil
import subprocess

import pytest
from tracked import ROOT


def recipe(*words: str) -> str:
    """What `make words...` would run, without running it."""
    # A make that runs these tests hands its own flags down; here only `words` count.
    inherited = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS")
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    command = ["make", "--no-print-directory", "-n", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def test_demo_passes_its_flags_on():
    assert ".venv/bin/weft demo --train.steps 20" in recipe("demo", "ARGS=--train.steps 20")


def test_test_runs_the_whole_suite():
    words = recipe("test").rstrip().splitlines()[-1].split()
    assert words[1:] == [".venv/bin/pytest", "--numprocesses", "auto", "--dist", "loadfile"]
    assert words[0] == "OMP_NUM_THREADS=1"  # a process for each core


def test_check_runs_every_check_and_no_test():
    shown = recipe("check")
    scripts = sorted(path.name for path in (ROOT / "tools").glob("check_*.py"))
    assert all(f"tools/{name}" in shown for name in scripts)
    assert all(step in shown for step in ("tables.py --check", "ruff check .", "ruff format --check .", "mypy"))
    assert "pytest" not in shown


def test_ci_runs_check_then_the_two_commands():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line.split(" ARGS=")[0] for line in lines if line.startswith("make")] == [
        "make check",
        "make demo",
        "make test",
    ]
    assert lines[-1] == "make test"
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("case", ["missing", "old"])
def test_an_unusable_python_is_one_clear_line(case, tmp_path):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "install.sh", tmp_path / "tools")
    python = tmp_path / "python-of-old"
    if case == "old":
        python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.1\nexit 1\n')
        python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python)}
    done = subprocess.run(
        ["bash", "tools/install.sh", "train"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("weft: error: ")
    assert ("Python 3.8.1 is too old" if case == "old" else "install Python 3.10") in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()
