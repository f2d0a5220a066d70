"""Freed memory stays with the process when it asks for that."""

import os
import subprocess
import sys

import pytest

from weft._memory import LARGE_PAGES

SECOND_TIME = """
import resource
from weft._memory import keep_freed_memory
{ask}
import torch
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

QUARTER = 4096
"""Of the 4 KiB pages of 64 MiB. Some are new even where memory is kept: the system may take a large page apart."""


def faults(ask: str, **variables: str) -> int:
    """Page faults of the third tensor of 64 MiB."""
    command = [sys.executable, "-c", SECOND_TIME.format(ask=ask)]
    environment = {
        name: value for name, value in os.environ.items() if name not in (LARGE_PAGES, *variables)
    } | variables
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_memory_that_was_freed_is_taken_again_without_the_system():
    assert faults("assert keep_freed_memory()") < QUARTER < faults("")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_settings_of_the_user_stay():
    chosen = {"MALLOC_MMAP_THRESHOLD_": "1000000", "THP_MEM_ALLOC_ENABLE": "0"}
    assert faults("assert not keep_freed_memory()", **chosen) > QUARTER
