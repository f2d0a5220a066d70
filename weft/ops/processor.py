"""What this machine's processor computes itself."""

import hashlib
import platform
from functools import cache
from pathlib import Path

_NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 with AVX-512, x86 with AMX, Arm
_KIND = ("vendor_id", "cpu family", "model", "model name", "flags", "features", "cpu implementer", "cpu part")
_CPU_INFO = Path("/proc/cpuinfo")


@cache
def computes_bf16() -> bool:
    """Whether this processor multiplies bfloat16 matrices itself; where it cannot be read, no."""
    facts = _first_core()
    return not _NATIVE_BF16.isdisjoint((facts.get("flags") or facts.get("features", "")).split())


@cache
def name() -> str:
    """The processor's name for people, or the machine's kind where it has none."""
    return _first_core().get("model name") or platform.processor() or platform.machine()


@cache
def fingerprint() -> str:
    """What decides the last bits of a library's products here: the processor's name, model and instructions."""
    facts = {fact: value for fact, value in _first_core().items() if fact in _KIND}
    digest = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:8]
    return f"{name()} ({digest})"


def _first_core() -> dict[str, str]:
    """Lower-case names and values of the first core's entry; empty where it cannot be read."""
    try:
        text = _CPU_INFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {fact.strip().lower(): value.strip() for fact, _, value in pairs}
