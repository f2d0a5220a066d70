"""How long a configuration takes is asked of the device: once if it takes long, else of many runs."""

import pytest
import torch

from weft.ops.kernels import tuning
from weft.ops.kernels.support import INSTALLED


@pytest.mark.skipif(not INSTALLED, reason="triton is not installed")
@pytest.mark.parametrize("once, runs, wanted", [(500.0, 2, 500.0), (0.2, 3, 0.1)], ids=["long", "short"])
def test_a_long_run_is_taken_once(once: float, runs: int, wanted: float, monkeypatch: pytest.MonkeyPatch):
    from triton import testing

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            ran.append("event")

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, last: object) -> float:
            return once

    def do_bench(run, warmup: int, rep: int) -> float:
        run()
        return 0.1

    ran: list[str] = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(testing, "do_bench", do_bench)
    assert tuning.milliseconds(lambda: ran.append("run")) == wanted
    assert ran[:4] == ["run", "event", "run", "event"]  # what may compile comes before the first event
    assert ran.count("run") == runs
