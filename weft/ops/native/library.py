"""The one shared library of the `cpu` backends: built on first use, kept in the user's cache, loaded once.

Every `*.cpp` under `weft/ops` is part of it. Its file is named after a hash of all sources, the flags and the
compiler's identity, which holds the processor's instruction set: a new version, compiler or machine means a new file.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from weft.ops.backend import Spec
from weft.ops.native.cache import cache_folder, locked, writable
from weft.ops.native.compiler import FLAGS, TARGET, BuildError, Compiler, find_compiler

SOURCES = Path(__file__).parent.parent
"""weft/ops: where the sources are, those of the ops and those they share."""

DTYPES = (torch.float32, torch.bfloat16)

logger = logging.getLogger("weft.ops.native")

_state: dict[str, Any] = {}  # "library" once it is loaded, or "reason" why it cannot be


def library() -> ctypes.CDLL:
    """The loaded library, built if need be; raises BuildError with the reason if it cannot be."""
    if not _state:
        try:
            _state["library"] = _load(SOURCES)
        except BuildError as failure:
            logger.warning("no compiled CPU kernels: %s", failure)
            _state["reason"] = str(failure)
    if "reason" in _state:
        raise BuildError(_state["reason"])
    loaded: ctypes.CDLL = _state["library"]
    return loaded


def unavailable() -> str | None:
    """Why there is no library, None if there is one. Builds it at the first call."""
    try:
        library()
    except BuildError as failure:
        return str(failure)
    return None


# What torch.compiler.assume_constant_result does, which would first import torch's compiler and Triton: for seconds.
unavailable.__dict__["_dynamo_marked_constant"] = True


def cpu_limits(spec: Spec) -> str | None:
    """Why no compiled kernel can run `spec`: the part of `Backend.unsupported` that all `cpu` backends share."""
    if spec.device != "cpu":
        return f"runs on the CPU, the inputs are on {spec.device}"
    if spec.dtype not in DTYPES:
        return f"computes in float32 and bfloat16, the inputs are {str(spec.dtype).removeprefix('torch.')}"
    return unavailable()


def call(name: str, *arguments: Any) -> None:
    """Calls an entry point, which gives 0, or 1 if memory ran out.

    Args:
        name: its name in C.
        arguments: tensors and structures as `weft.ops.native.tensor` makes them, int (int64_t), float (float), or None.
    """
    status = _function(name)(*map(_in_c, arguments))
    if status == 1:
        raise MemoryError(f"{name}: the machine has no memory left for the kernel's scratch space")
    if status:
        raise RuntimeError(f"{name} gave status {status}, which no kernel gives: the library does not fit this version")


def _function(name: str) -> Callable[..., int]:
    return getattr(library(), name)


def _in_c(x: Any) -> Any:
    """An int as int64_t, a float as float: left alone, ctypes would cut an int to 32 bits and refuse a float."""
    if isinstance(x, int):
        return ctypes.c_int64(x)
    return ctypes.c_float(x) if isinstance(x, float) else x


def _load(sources: Path) -> ctypes.CDLL:
    path = build(sources, cache_folder())
    try:
        return ctypes.CDLL(str(path))
    except OSError as failure:
        raise BuildError(
            f"{path} does not load: {failure}; delete it, or let WEFT_CACHE name a folder on a disk that may hold"
            " programs"
        ) from failure


def build(sources: Path, folder: Path) -> Path:
    """The file of the library made of all *.cpp under `sources`, compiled unless it is in `folder` already."""
    compiler = find_compiler()
    files = sorted(sources.rglob("*.cpp"))
    path = folder / f"weft-{_fingerprint(compiler, files + sorted(sources.rglob('*.h')), sources)}.so"
    if path.exists():
        return path
    with writable(folder), locked(path.with_suffix(".lock")):
        if not path.exists():  # another process may have made it while this one waited
            started = time.monotonic()
            logger.info("compiling the CPU kernels with %s, once", " ".join(compiler.command))
            _compile(compiler, files, path)
            logger.info("compiled in %.1f s: %s", time.monotonic() - started, path)
    return path


def _compile(compiler: Compiler, files: list[Path], path: Path) -> None:
    """Objects side by side, linked beside `path`, then given its name in one step: nobody sees half a library."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
    try:
        objects = [folder / f"{number}.o" for number in range(len(files))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compiler.compile, files, objects))
        compiler.link(objects, folder / path.name)
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fingerprint(compiler: Compiler, files: list[Path], root: Path) -> str:
    digest = hashlib.sha256("\0".join((*compiler.command, *FLAGS, TARGET, compiler.identity)).encode())
    for file in files:
        text = file.read_bytes()
        digest.update(f"\0{file.relative_to(root).as_posix()}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()[:16]
