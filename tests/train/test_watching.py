"""What a person sees of a run, what is written when it hangs, and what it chooses for this machine."""

from __future__ import annotations

import io
import os
import signal
import time

import numpy as np
import pytest
import torch

from weft.ops import processor
from weft.train.device import choose_device, peak_flops, threads
from weft.train.plots import draw, smoothed
from weft.train.precision import choose_precision
from weft.train.progress import Pace, open_progress, phase, spell_seconds
from weft.train.watchdog import Watchdog


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drive(progress):
    with phase(progress, "preparing the data"):
        progress.say("model:      small")
    progress.start(0, 40)
    for step in range(1, 41):
        progress.step(step, 5.0 / step, 1234.5)
    with phase(progress, "evaluating"):
        progress.say("step 40: held-out loss 1.0000")
    progress.close()


def test_where_there_is_no_terminal_there_are_plain_lines():
    stream = io.StringIO()
    drive(open_progress("auto", every=20, stream=stream))
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["preparing the data ...", "model:      small"]
    assert [line.split("/")[0] for line in lines[2:5]] == ["step      1", "step     20", "step     40"]
    assert "loss 0.2500" in lines[3]
    assert "1,234 tokens/s" in lines[3]
    assert lines[5:] == ["evaluating ...", "step 40: held-out loss 1.0000"]
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_there_is_a_bar_and_what_is_said_stays():
    stream = Terminal()
    drive(open_progress("auto", stream=stream))
    text = stream.getvalue()
    assert "model:      small" in text
    assert "training" in text
    assert "loss 5.0000" in text
    assert "loss 0.1250" in text, (
        "the last step is shown when the phase changes, however short ago the last drawing was"
    )
    assert "tokens/s" in text
    assert "left" in text


def test_a_phase_that_counts_does_not_flood_a_log():
    stream = io.StringIO()
    progress = open_progress("lines", stream=stream)
    for done in range(1000):
        progress.phase(f"encoding documents: {done} of 1000")
    assert stream.getvalue().splitlines() == ["encoding documents: 0 of 1000 ..."]


def test_none_is_silent(capsys):
    drive(open_progress("none"))
    assert capsys.readouterr().out == ""


def test_time_left_is_the_mean_pace_times_what_is_left():
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.start(10, 110)
    now[0] = 30.0
    assert pace.left(20) == pytest.approx(3.0 * 90)


@pytest.mark.parametrize("seconds, text", [(5, "0:05"), (65.4, "1:05"), (3725, "1:02:05")], ids=["5", "65", "3725"])
def test_seconds_are_spelled_as_a_clock_does(seconds, text):
    assert spell_seconds(seconds) == text


def test_a_signal_writes_every_threads_stack(tmp_path):
    path = tmp_path / "stacks.txt"
    with Watchdog(path, 0, time.monotonic).watching():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert "test_a_signal_writes_every_threads_stack" in path.read_text()
    assert path.exists()


def test_a_step_that_takes_too_long_writes_its_stack_and_a_quick_one_does_not(tmp_path):
    path = tmp_path / "stacks.txt"
    watchdog = Watchdog(path, 0.3, time.monotonic)
    with watchdog.watching():
        for _ in range(5):
            time.sleep(0.1)
            watchdog.alive()
        assert path.read_text() == ""
        time.sleep(0.6)
        assert "test_a_step_that_takes_too_long" in path.read_text()


def test_a_run_that_never_hung_leaves_no_file(tmp_path):
    with Watchdog(tmp_path / "stacks.txt", 60, time.monotonic).watching():
        pass
    assert not (tmp_path / "stacks.txt").exists()


CPU = torch.device("cpu")


@pytest.fixture
def processor_info(tmp_path, monkeypatch):
    """A folder whose file `cpuinfo`, once written, describes the processor."""
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "cpuinfo")
    processor.computes_bf16.cache_clear()
    yield tmp_path
    processor.computes_bf16.cache_clear()


@pytest.mark.parametrize(
    "flags, name",
    [
        ("fpu sse2 avx512f", "fp32"),
        ("fpu avx512f avx512_bf16", "bf16"),
        ("fpu amx_bf16 amx_tile", "bf16"),
        ("asimd bf16", "bf16"),
    ],
    ids=["AVX-512 without bf16", "AVX-512 with bf16", "AMX", "Arm"],
)
def test_auto_takes_bf16_where_the_processor_has_it_and_says_why(processor_info, flags, name):
    info = processor_info / "cpuinfo"
    info.write_text(f"processor : 0\n{'Features' if 'asimd' in flags else 'flags'} : {flags}\n")
    chosen = choose_precision("auto", CPU)
    assert chosen.name == name
    assert "processor" in chosen.reason
    assert choose_precision("fp32", CPU).name == "fp32"
    slow = choose_precision("bf16", CPU)
    assert slow.name == "bf16"
    assert ("slower" in slow.reason) == (name == "fp32")


def test_where_the_processor_cannot_be_read_it_is_fp32(processor_info):
    assert choose_precision("auto", CPU).name == "fp32"


def test_bf16_computes_matrix_products_in_bf16_and_leaves_weights_alone():
    layer = torch.nn.Linear(4, 4)
    with choose_precision("bf16", CPU).autocast(CPU):
        assert layer(torch.ones(2, 4)).dtype == torch.bfloat16
    with choose_precision("fp32", CPU).autocast(CPU):
        assert layer(torch.ones(2, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize("asked, words", [("gpu", "expected auto, cpu, cuda"), ("cuda:99", "torch sees")])
def test_a_device_that_is_not_there_is_named(asked, words):
    with pytest.raises(ValueError, match=words):
        choose_device(asked)


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_a_matrix_product_is_measured():
    flops, width = peak_flops(CPU, torch.float32)
    assert width == 1024
    assert 1e8 < flops < 1e15


def test_smoothing_is_a_trailing_mean_that_leaves_gaps_out():
    assert smoothed([1.0, 3.0, 5.0, 7.0], share=2).tolist() == [1.0, 2.0, 4.0, 6.0]
    assert smoothed([1.0, None, 3.0], share=1).tolist() == [1.0, 1.0, 2.0]
    assert np.isnan(smoothed([None, 1.0])[0])


def test_a_run_of_nothing_but_skipped_steps_still_has_pictures(tmp_path):
    row = {"loss": None, "grad_norm": None, "learning_rate": 0.1, "tokens_per_second": 5.0, "gates": None}
    paths = draw(tmp_path, [{"step": step, **row} for step in (1, 2, 3)], [], None)
    assert [path.name for path in paths] == ["throughput.png", "rates.png"]
