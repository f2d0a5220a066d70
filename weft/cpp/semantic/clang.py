"""libclang: parses one file, or a text that lies nowhere, with a project's flags."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DOCUMENT = ".weft-document.cc"
"""The name under which a text that lies nowhere is parsed, in the project's root."""


class Clang:
    """Parses for one project.

    Args:
        root: Of the project.
        flags: Its flags, folders relative to the root; see `weft.cpp.compiler.project_flags`.
        standard: Of C++.

    Raises:
        ImportError: libclang is not installed.
    """

    def __init__(self, root: Path, flags: Sequence[str], *, standard: str = "c++17") -> None:
        self.root = root.resolve()
        self._flags = tuple(flags)
        self._standard = standard
        self._index = library().Index.create()

    def parse(self, path: str, texts: Mapping[str, bytes] | None = None) -> Any:
        """The translation unit (clang.cindex.TranslationUnit) of root/path. Errors in the source do not stop it.

        Args:
            path: Relative to the root.
            texts: Files of the project that are read from here instead of from disk, by path. Places in a file are
                byte offsets; the texts must be UTF-8.

        Raises:
            ValueError: libclang gives nothing at all for it.
        """
        language = ("-x", "c", "-std=gnu17") if path.endswith(".c") else ("-x", "c++", f"-std={self._standard}")
        words = [*language, "-w", f"-working-directory={self.root}", *_builtin_headers(), *self._flags]
        place = str(self.root / path)
        unsaved = [(str(self.root / name), text.decode("utf-8", "replace")) for name, text in (texts or {}).items()]
        cindex = library()
        try:
            return self._index.parse(place, args=words, unsaved_files=unsaved)
        except cindex.TranslationUnitLoadError as error:
            raise ValueError(f"libclang cannot parse {place}: {error}") from error


@functools.cache
def library() -> Any:
    """clang.cindex, imported when first asked for."""
    try:
        from clang import cindex
    except ImportError as error:
        raise ImportError('libclang is not installed; pip install "weft-lm[cpp]"') from error
    return cindex


@functools.cache
def version() -> str:
    """libclang's own words about itself: another version may see other meanings."""
    cindex = library()
    asked = cindex.conf.lib.clang_getClangVersion
    asked.restype, asked.errcheck = cindex._CXString, cindex._CXString.from_result
    said: str = asked()
    return said


@functools.cache
def _builtin_headers() -> tuple[str, ...]:
    """The compiler's own headers (stddef.h and the like), which libclang's wheel leaves out."""
    if shutil.which("g++") is None:
        return ()
    said = subprocess.run(["g++", "-print-file-name=include"], capture_output=True, text=True, check=True, timeout=30)
    return ("-isystem", said.stdout.strip())
