"""How this process takes memory from the system and keeps what was freed.

A training step frees and takes again hundreds of megabytes. The C library gives each large piece back to the system at
once, which hands it out anew page by page, cleared: on a virtual machine that can cost as much as the arithmetic.
"""

import ctypes
import os
import sys

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch's own switch: with 1, tensors of 2 MiB and more lie in large pages. Read when the first one is made."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Lets torch take large pages and the C library keep freed memory: what the process holds stays at its peak.

    Called by the command line, before torch is imported, for the processes it starts. For your own, set
    `THP_MEM_ALLOC_ENABLE=1`, `MALLOC_MMAP_MAX_=0` and `MALLOC_TRIM_THRESHOLD_=-1` in its environment: the same. A
    variable of these that is set already stays.

    Returns:
        Whether freed memory stays by this call: glibc only.
    """
    os.environ.setdefault(LARGE_PAGES, "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
