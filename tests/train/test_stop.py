"""Who asks to stop is heard; who asks twice is obeyed at once; who asks a deaf loop is answered by a thread."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from weft.train.stop import STOPPED, Stop, StopRequested


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_is_heard_at_the_next_poll(tmp_path, number):
    stop = Stop(tmp_path)
    with stop.listening():
        stop.poll()
        os.kill(os.getpid(), number)
        with pytest.raises(StopRequested, match=number.name):
            stop.poll()


def test_handlers_are_put_back(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Stop(tmp_path).listening():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_ends_at_once(tmp_path):
    codes = []
    stop = Stop(tmp_path, end=codes.append)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert codes == [128 + signal.SIGINT]


def test_the_halt_file_asks_and_is_removed_when_honoured(tmp_path):
    stop = Stop(tmp_path)
    stop.poll()
    (tmp_path / ".HALT").touch()
    with pytest.raises(StopRequested, match=r"\.HALT"):
        stop.poll()
    stop.honoured()
    stop.poll()
    stop.honoured()  # nothing to remove: no error


def test_a_loop_that_does_not_poll_is_rescued_by_a_thread(tmp_path):
    rescued = threading.Event()
    stop = Stop(tmp_path, rescue=rescued.set, grace=0.01)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert rescued.wait(5)


def test_a_loop_that_polls_in_time_is_not(tmp_path):
    rescued = threading.Event()
    stop = Stop(tmp_path, rescue=rescued.set, grace=0.05)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequested):
            stop.poll()
        waiting = next(thread for thread in threading.enumerate() if thread.name == "weft-stop")
        waiting.join(5)
    assert not rescued.is_set()


def test_the_exit_code_is_the_one_that_says_try_again():
    assert os.EX_TEMPFAIL == STOPPED
