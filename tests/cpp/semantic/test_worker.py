"""A file that libclang cannot bear costs that file; the next one has another process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import Limits, Unread, semantic_index
from weft.cpp.semantic import worker as worker_module
from weft.cpp.semantic.serve import Request
from weft.cpp.semantic.worker import Worker

GOOD = "int good() { return 1; }\n"
DEEP = f"int x = {'1+' * 300_000}1;\n"
EXPLODING = "#define A0 x x\n" + "".join(f"#define A{n} A{n - 1} A{n - 1}\n" for n in range(1, 40)) + "A39\n"


def _read(tmp_path, texts, limits=None):
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = tuple(SourceFile(name, text.encode()) for name, text in sorted(texts.items()))
    return semantic_index(Project("p", files, tmp_path), limits=limits)


@pytest.mark.parametrize(
    "text, limits, reason",
    [
        pytest.param(DEEP, Limits(), "libclang crashed (SIGSEGV)", id="crash"),
        pytest.param(EXPLODING, Limits(seconds=1), "more than 1 s of the processor", id="hang"),
        pytest.param(EXPLODING, Limits(memory_mib=700), "libclang gives nothing", id="memory"),
        pytest.param("int a = nonsense;\n", Limits(), "does not compile", id="error"),
        pytest.param('#include "missing.h"\n', Limits(), "does not compile", id="missing header"),
    ],
)
def test_the_next_file_is_read_and_the_reason_kept(tmp_path, text, limits, reason):
    index = _read(tmp_path, {"a.cc": text, "b.cc": GOOD}, limits)
    assert {path: why.reason for path, why in index.unread.items()} == {"a.cc": reason}
    assert [symbol.name for symbol in index.files["b.cc"].symbols] == ["good"]


def test_a_header_is_read_with_the_first_file_in_which_it_has_no_error(tmp_path):
    header = "#ifdef BROKEN\nbroken;\n#endif\ninline int good() { return 1; }\n"
    index = _read(tmp_path, {"a.cc": '#define BROKEN\n#include "h.h"\n', "b.cc": '#include "h.h"\n', "h.h": header})
    assert not index.unread
    assert [symbol.name for symbol in index.files["h.h"].symbols] == ["good"]


def _worker(tmp_path):
    (tmp_path / "a.cc").write_text(GOOD)
    (tmp_path / "b.cc").write_text(GOOD)
    return Worker(tmp_path, {}, ["a.cc", "b.cc"], standard="c++17", limits=Limits())


def test_a_process_that_somebody_kills_is_replaced(tmp_path):
    with _worker(tmp_path) as worker:
        assert worker.read(Request("a.cc", [])).files == {"a.cc"}
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.read(Request("b.cc", [])).files == {"b.cc"}


def test_a_process_that_is_killed_again_and_again_costs_its_file(tmp_path, monkeypatch):
    with _worker(tmp_path) as worker:
        start = worker._start

        def start_and_kill():
            process = start()
            process.kill()
            return process

        monkeypatch.setattr(worker, "_start", start_and_kill)
        assert worker.read(Request("a.cc", [])) == Unread("libclang's process was killed, out of memory?")


def test_a_process_that_does_not_answer_is_given_up_and_replaced(tmp_path, monkeypatch):
    with _worker(tmp_path) as worker:
        assert worker.read(Request("a.cc", [])).files == {"a.cc"}
        os.kill(worker.pid, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr(worker_module, "_PATIENCE", 0.01)
            assert worker.read(Request("b.cc", [])) == Unread("no answer in 0.6 s")
        assert worker.read(Request("b.cc", [])).files == {"b.cc"}


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_process_ends_with_the_one_that_asks_it(tmp_path):
    text = "from pathlib import Path\nimport time\nfrom weft.cpp.semantic import Limits\n"
    text += "from weft.cpp.semantic.serve import Request\nfrom weft.cpp.semantic.worker import Worker\n"
    text += f"worker = Worker(Path({str(tmp_path)!r}), {{}}, [], standard='c++17', limits=Limits())\n"
    text += "worker.read(Request('none.cc', []))\nprint(worker.pid, flush=True)\ntime.sleep(60)\n"
    asking = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    served = int(asking.stdout.readline())
    asking.kill()
    asking.communicate()
    deadline = time.monotonic() + 20
    while _runs(served):
        assert time.monotonic() < deadline, "libclang's process outlives the one that asked it"
        time.sleep(0.05)


def test_every_file_is_told_of_also_those_that_are_not_read(tmp_path):
    texts = {"a.h": GOOD, "b.cc": DEEP, "c.cc": GOOD}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    told = []
    project = Project("p", tuple(SourceFile(name, text.encode()) for name, text in texts.items()), tmp_path)
    semantic_index(project, tell=lambda done, of: told.append((done, of)))
    assert told == [(done, 3) for done in range(4)]


def test_the_first_error_is_told_with_its_line(tmp_path):
    index = _read(tmp_path, {"a.cc": "int a;\nint b = nonsense;\n"})
    assert str(index.unread["a.cc"]) == "does not compile: line 2: use of undeclared identifier 'nonsense'"
