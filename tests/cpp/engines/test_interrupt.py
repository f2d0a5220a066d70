"""Ctrl-C beside a pool: it waits for a place where nothing is half done, and is never lost."""

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from weft.cpp.engines import open_engine
from weft.cpp.engines.interrupt import HeldInterrupt


@dataclass(frozen=True)
class Sleep:
    """Ends when the test process does."""

    label: str = "sleep"

    def run(self):
        threading.Event().wait()


@dataclass(frozen=True)
class Touch:
    path: Path
    label: str = "touch"

    def run(self):
        self.path.touch()


@pytest.fixture
def interrupt():
    codes = []
    held = HeldInterrupt(end=codes.append)
    held.codes = codes
    held.listen()
    yield held
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_it_waits_for_the_check_and_is_raised_once(interrupt):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()
    interrupt.check()
    interrupt.release()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_nobody_checked_for_is_raised_at_the_end(interrupt):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.release()


def test_a_second_one_ends_the_process(interrupt):
    signal.raise_signal(signal.SIGINT)
    assert interrupt.codes == []
    signal.raise_signal(signal.SIGINT)
    assert interrupt.codes == [130]


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        held = HeldInterrupt()
        held.listen()
        signal.raise_signal(signal.SIGINT)
        held.release()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_another_thread_listens_to_nothing():
    held = HeldInterrupt()
    thread = threading.Thread(target=held.listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_pool_that_waits_hears_it():
    engine = open_engine("pool", workers=1, address=None)
    engine.submit(Sleep())
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.finished()
    finally:
        engine.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_pool_is_never_interrupted_between_its_calls(tmp_path):
    engine = open_engine("pool", workers=1, address=None)
    try:
        engine.submit(Touch(tmp_path / "first"))
        signal.raise_signal(signal.SIGINT)  # would be raised here, were it not held
        with pytest.raises(KeyboardInterrupt):
            engine.submit(Touch(tmp_path / "second"))
        (ended,) = engine.finished()  # what was submitted is as it was
    finally:
        engine.close()
    assert ended == Touch(tmp_path / "first")
    assert (tmp_path / "first").exists()
