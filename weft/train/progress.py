"""What a person sees while a run goes: a bar on a terminal, plain lines elsewhere; a few updates a second at most."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

_REDRAW_SECONDS = 0.25
_REPEAT_SECONDS = 5.0


class Progress(Protocol):
    """The face of all three."""

    def say(self, line: str) -> None:
        """A line that stays."""
        ...

    def phase(self, what: str) -> None:
        """What is being done now, if it is not steps: `evaluating`; `""`: steps again."""
        ...

    def start(self, step: int, steps: int) -> None:
        """The loop begins behind `step`, of `steps` in all."""
        ...

    def step(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        """A step is done; `loss` is the decaying average."""
        ...

    def close(self) -> None:
        """Nothing follows."""
        ...


def open_progress(kind: str, *, every: int = 10, stream: TextIO | None = None) -> Progress:
    """The progress that `kind` names.

    Args:
        kind: `bar`, `lines`, `none`, or `auto`: a bar if the stream is a terminal.
        every: steps between two lines.
        stream: where to; none: standard output.
    """
    stream = stream or sys.stdout
    if kind == "none":
        return _Silent()
    if kind == "bar" or (kind == "auto" and stream.isatty()):
        return _Bar(Console(file=stream))
    return _Lines(stream, every)


@contextmanager
def phase(progress: Progress, what: str) -> Iterator[None]:
    """Says what is being done in here."""
    progress.phase(what)
    try:
        yield
    finally:
        progress.phase("")


class Pace:
    """Time left, from the steps since `start`.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first, self._steps, self._began = 0, 0, clock()

    def start(self, step: int, steps: int) -> None:
        """Counts from here."""
        self._first, self._steps, self._began = step, steps, self._clock()

    def left(self, step: int) -> float:
        """Seconds to the last step, at the mean pace so far."""
        done = max(1, step - self._first)
        return (self._clock() - self._began) / done * (self._steps - step)


def spell_seconds(seconds: float) -> str:
    """`4:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Silent:
    """Says nothing at all."""

    def say(self, line: str) -> None: ...

    def phase(self, what: str) -> None: ...

    def start(self, step: int, steps: int) -> None: ...

    def step(self, step: int, loss: float | None, tokens_per_second: float) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """For a log file: a line now and then, and one for each phase."""

    def __init__(self, stream: TextIO, every: int) -> None:
        self._stream = stream
        self._every = every
        self._steps = 0
        self._pace = Pace()
        self._phase, self._phase_at = "", float("-inf")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def phase(self, what: str) -> None:
        """A phase that counts ("encoding documents: 3 of 9 MB") is repeated every few seconds only."""
        name, now = what.split(":")[0], time.monotonic()
        if what and (name != self._phase or now - self._phase_at > _REPEAT_SECONDS):
            self.say(f"{what} ...")
            self._phase_at = now
        self._phase = name

    def start(self, step: int, steps: int) -> None:
        self._steps = steps
        self._pace.start(step, steps)

    def step(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        if step % self._every == 0 or step in (1, self._steps):
            shown = "  -  " if loss is None else f"{loss:.4f}"
            left = spell_seconds(self._pace.left(step))
            self.say(f"step {step:>6}/{self._steps}  loss {shown}  {tokens_per_second:,.0f} tokens/s  {left} left")

    def close(self) -> None: ...


class _Bar:
    """For a terminal: one line at the bottom, redrawn by us alone, so that no thread competes with the training."""

    def __init__(self, console: Console) -> None:
        self._rich = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._rich.add_task("preparing", total=None, facts="")
        self._pace = Pace()
        self._drawn_at = float("-inf")
        self._rich.start()

    def say(self, line: str) -> None:
        self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def phase(self, what: str) -> None:
        self._rich.update(self._task, description=what or "training")
        if ":" in what:
            self._redraw()
        else:
            self._rich.refresh()

    def start(self, step: int, steps: int) -> None:
        self._pace.start(step, steps)
        self._rich.update(self._task, description="training", total=steps, completed=step)

    def step(self, step: int, loss: float | None, tokens_per_second: float) -> None:
        shown = "-" if loss is None else f"{loss:.4f}"
        left = spell_seconds(self._pace.left(step))
        self._rich.update(
            self._task, completed=step, facts=f"loss {shown}  {tokens_per_second:,.0f} tokens/s  {left} left"
        )
        self._redraw()

    def close(self) -> None:
        self._rich.stop()

    def _redraw(self) -> None:
        """Draws if the last time was a while ago: drawing takes milliseconds."""
        now = time.monotonic()
        if now - self._drawn_at > _REDRAW_SECONDS:
            self._drawn_at = now
            self._rich.refresh()
