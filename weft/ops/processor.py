"""What this machine's processor computes itself."""

from functools import cache
from pathlib import Path

_NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 with AVX-512, x86 with AMX, Arm
_CPU_INFO = Path("/proc/cpuinfo")


@cache
def computes_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices itself; where it cannot be read, no."""
    try:
        lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return not _NATIVE_BF16.isdisjoint(flags.split())
