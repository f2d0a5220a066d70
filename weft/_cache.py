"""The one folder that keeps what is expensive to make again: compiled kernels, the compilers' own caches, tuning.

`WEFT_CACHE` names it; without it, it is `weft` in `XDG_CACHE_HOME` or in `~/.cache`. In it lie `native` (the C++
library), `triton` and `inductor` (what those compile) and `tune` (what was measured here). All may be deleted.
"""

import os
from pathlib import Path

COMPILERS = {"TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
"""The compilers' variable -> folder."""


def cache_root() -> Path:
    """Weft's cache folder; not made yet. Raises RuntimeError if there is no home to put it in."""
    asked = os.environ.get("WEFT_CACHE", "")
    if asked:
        return Path(asked).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "weft"


def keep_compiler_caches() -> None:
    """Lets Triton and Inductor keep what they compile in Weft's cache folder, not in /tmp, which a restart empties.

    Called by the command line before torch is imported. A variable that is set already stays; a folder that cannot be
    had leaves the compilers to their own.
    """
    try:
        root = cache_root()
    except RuntimeError:  # no home: Triton and Inductor have places of their own
        return
    for variable, folder in COMPILERS.items():
        os.environ.setdefault(variable, str(root / folder))
