"""In which order the shards of a growing folder are read, written down before any of them is.

Which shards are finished when we look depends on the clock. So each look appends what it found, sorted by name, to a
journal that is flushed to disk before the first row is used. A run that is killed and resumed reads the journal and
meets the same shards in the same order, although by then others with earlier names may lie in the folder. With several
processes one writes the journal and the others follow it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from .document import DataError
from .publish import flush_to_disk
from .shards import COMPLETE, Shard, ShardFolder

_log = logging.getLogger(__name__)
_SLICE_SECONDS = 0.2  # between two polls while waiting
_REMIND_SECONDS = 60.0


def no_poll() -> None:
    """Nobody asks to stop."""


class Adoption:
    """The adopted shards of a folder, in their order, growing.

    Args:
        folder: Where shards appear.
        journal: File that keeps the order; belongs to this folder and is kept as long as the run.
        leader: True for the one process that decides; the others wait for its journal.
        poll_seconds: Between two looks while there is nothing to read.
        poll: Called at least five times a second while waiting; may raise to stop waiting.
        clock: Seconds, only differences count.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        folder: ShardFolder,
        journal: Path,
        *,
        leader: bool = True,
        poll_seconds: float = 2.0,
        poll: Callable[[], None] = no_poll,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder
        self.shards: list[Shard] = []
        self.complete = False
        """True once the last shard is adopted."""
        self._journal = journal
        self._leader = leader
        self._poll_seconds = poll_seconds
        self._poll = poll
        self._clock = clock
        self._sleep = sleep
        self._read_journal()

    def get(self, index: int) -> Shard | None:
        """Shard number `index`, after waiting for it if need be; None if the folder is complete without it."""
        started = self._clock()
        reminded = started - _REMIND_SECONDS  # the first message comes at once
        while len(self.shards) <= index and not self.complete:
            self._look()
            if len(self.shards) > index or self.complete:
                break
            now = self._clock()
            if now - reminded >= _REMIND_SECONDS:
                _log.warning("%s", self._waiting(now - started))
                reminded = now
            self._wait()
        return self.shards[index] if index < len(self.shards) else None

    def look(self) -> None:
        """Adopt what is finished now, without waiting."""
        if not self.complete:
            self._look()

    def restore(self, names: list[str]) -> None:
        """Make sure that the order begins with `names`, as a saved state says.

        Raises:
            DataError: the journal says otherwise: it belongs to another folder or another run.
        """
        ours = [shard.name for shard in self.shards[: len(names)]]
        if ours != names[: len(ours)]:
            raise DataError(
                f"the saved state read {', '.join(names)} in this order, but {self._journal} says {', '.join(ours)}; "
                "it belongs to another run: resume with the run folder's own data folder"
            )
        missing = names[len(ours) :]
        if missing and self._leader:  # the journal was lost, the state knows better
            found = {shard.name: shard for shard in self.folder.finished(known=ours)}
            if gone := [name for name in missing if name not in found]:
                raise DataError(
                    f"{self.folder.path} no longer holds {', '.join(gone)}, which the run has begun to read"
                )
            self._append([found[name] for name in missing])

    def _look(self) -> None:
        if not self._leader:
            self._read_journal()
            return
        complete = self.folder.is_complete()  # asked first: what is finished after a yes is all there will be
        new = self.folder.finished(known={shard.name for shard in self.shards})
        if complete and self.folder.pending:
            broken = "; ".join(f"{name} {reason}" for name, reason in self.folder.pending.items())
            raise DataError(f"{self.folder.path} has {COMPLETE}, but not every shard is whole: {broken}")
        self._append(new, complete=complete)

    def _append(self, shards: list[Shard], *, complete: bool = False) -> None:
        lines = [json.dumps(shard._asdict()) for shard in shards] + (['{"complete": true}'] if complete else [])
        if lines:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            flush_to_disk(self._journal.parent)
        self.shards += shards
        self.complete = complete

    def _read_journal(self) -> None:
        """Read it from the start. A last line that a crash cut short was never acted upon: the leader removes it."""
        if not self._journal.exists():
            return
        data = self._journal.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        entries = [json.loads(line) for line in whole.splitlines()]
        self.shards = [Shard(**entry) for entry in entries if "name" in entry]
        self.complete = any("complete" in entry for entry in entries)
        if self._leader and len(whole) < len(data):
            with self._journal.open("r+b") as file:
                file.truncate(len(whole))

    def _waiting(self, seconds: float) -> str:
        pending = "; ".join(f"{name}: {reason}" for name, reason in list(self.folder.pending.items())[:3])
        return (
            f"waiting for shards in {self.folder.path}: {len(self.shards):,} read so far, no {COMPLETE} yet "
            f"({seconds:.0f} s{'; unfinished: ' + pending if pending else ''})"
        )

    def _wait(self) -> None:
        end = self._clock() + self._poll_seconds
        while (left := end - self._clock()) > 0:
            self._poll()
            self._sleep(min(left, _SLICE_SECONDS))
        self._poll()
