"""Which errors are the user's to mend (one line) and which are bugs of Weft (a traceback).

The user's: an OSError (missing file, full disk, no permission), wherever it was noticed, and a ValueError or
ImportError that Weft itself raised, because it wrote the message for the user. The same classes out of a library are
bugs of Weft's: it should have checked before it called.
"""

from __future__ import annotations

import dis
import os
from types import TracebackType

PERHAPS_THE_USERS = (OSError, ValueError, ImportError)
"""Classes of errors that may be the user's; of any other, nothing needs to be asked."""


def wants_traceback(words: list[str]) -> bool:
    """Takes `--traceback` out of `words`, wherever it stands; true for it or for WEFT_TRACEBACK=1."""
    asked = "--traceback" in words
    words[:] = [word for word in words if word != "--traceback"]
    return asked or os.environ.get("WEFT_TRACEBACK", "0") not in ("", "0")


def user_message(error: OSError | ValueError | ImportError) -> str | None:
    """The line for a user's mistake, None for a bug."""
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        where = f": {error.filename}" if error.filename is not None else ""
        return _one_line(f"{text}{where}")
    return _one_line(str(error)) if _raised_by_weft(error.__traceback__) else None


def _raised_by_weft(traceback: TracebackType | None) -> bool:
    """True if the innermost frame is Weft's and stands on a `raise` (not on a call into C, such as `int("x")`)."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    on_raise = code.co_code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return on_raise and traceback.tb_frame.f_globals.get("__name__", "").split(".")[0] == "weft"


def _one_line(text: str) -> str:
    return " ".join(text.split())
