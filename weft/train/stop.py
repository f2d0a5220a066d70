"""How a run is asked to stop, and how it hears it.

SIGINT, SIGTERM and a file `.HALT` in the run's folder ask. The loop polls between micro-batches and inside evaluation
and sampling; it then saves the last finished step and ends. A second signal ends the process at once. Where nothing
polls for a while after a signal (torch.compile may take minutes), a thread saves the last finished step instead:
torchrun, Slurm and the like send SIGKILL about 30 seconds after SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

HALT_FILE = ".HALT"
STOPPED = 75
"""Exit code of a run that was asked to stop, is saved and can go on: EX_TEMPFAIL of sysexits.h."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequested(Exception):  # noqa: N818  (not an error)
    """Raised by `Stop.poll`; its text says who asked."""


class Stop:
    """The flag.

    Args:
        folder: the run's; a file `.HALT` in it asks too.
        rescue: called in another thread if nothing polls for `grace` seconds after a signal: saves, ends the process.
            May be set later.
        grace: seconds.
        end: what a second signal does: ends the process with this code.
    """

    def __init__(
        self,
        folder: Path,
        *,
        rescue: Callable[[], None] = lambda: None,
        grace: float = 15.0,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._halt = str(folder / HALT_FILE)
        self.rescue = rescue
        self._grace = grace
        self._end = end
        self._signal: int | None = None
        self._heard = threading.Event()

    def poll(self) -> None:
        """Costs a microsecond or two.

        Raises:
            StopRequested: a signal came, or the file is there.
        """
        if self._signal is not None:
            self._heard.set()
            raise StopRequested(signal.Signals(self._signal).name)
        if os.path.exists(self._halt):
            raise StopRequested(f"the file {self._halt}")

    def honoured(self) -> None:
        """Removes the file: what it asked for is done, and the next start shall not stop again."""
        with contextlib.suppress(OSError):  # absent, or a read-only folder; then the user removes it
            os.remove(self._halt)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals set the flag in here; before and after they do what they did."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            self._heard.set()  # the waiting thread, if there is one, goes
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            self._end(128 + number)
            return
        self._signal = number
        os.write(2, f"\n{signal.Signals(number).name}: saving, then stopping; once more ends at once\n".encode())
        threading.Thread(target=self._wait, name="weft-stop", daemon=True).start()

    def _wait(self) -> None:
        if not self._heard.wait(self._grace):
            self.rescue()
