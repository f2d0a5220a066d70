"""How far a task is, as others see it."""

import threading

from weft.cpp.build.gauge import Gauge, repeated


def test_numbers_come_through_a_file_once_a_second_at_most(tmp_path):
    now = [0.0]
    told = Gauge(tmp_path / "000001.pack", clock=lambda: now[0])
    seen = Gauge(tmp_path / "000001.pack")
    assert seen.read() == 0
    found = []
    for tenth in range(25):
        now[0] = tenth / 10
        told.tell(tenth)
        found.append(seen.read())
    assert found == [0] * 10 + [10] * 10 + [20] * 5
    seen.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_look_is_repeated_until_the_block_is_left():
    looks = threading.Semaphore(0)
    with repeated(looks.release, seconds=0.001):
        assert all(looks.acquire(timeout=10) for _ in range(3))
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    assert not any("run" in thread.name for thread in threads)
