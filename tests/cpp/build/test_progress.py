"""What a person sees: lines in a file, bars on a terminal."""

import io

from weft.cpp.build.progress import State, _Bar, _Lines, open_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_come_now_and_then():
    now = [0.0]
    stream = io.StringIO()
    lines = _Lines(stream, clock=lambda: now[0])
    for second in range(12):
        now[0] = float(second)
        lines.update(State(projects=3, found=20, scanned=second, documents=1000))
    assert stream.getvalue().splitlines() == [
        "     5 s: 0 of 3 projects, 5 of 20 files read, 1,000 documents, 0 shards",
        "    10 s: 0 of 3 projects, 10 of 20 files read, 1,000 documents, 0 shards",
    ]


def test_what_libclang_has_read_is_told_where_it_is_asked():
    state = State(projects=1, found=20, scanned=20, accepted=18, understood=7)
    assert str(state) == "0 of 1 projects, 20 of 20 files read, 7 of 18 by libclang, 0 documents, 0 shards"
    terminal = Terminal()
    bar = open_progress("bar", terminal)
    bar.update(State(found=20, scanned=20, accepted=18))
    bar.update(state)
    bar.close()
    assert "files read by libclang" in terminal.getvalue()
    assert "7/18" in terminal.getvalue()


def test_auto_looks_at_the_stream():
    assert type(open_progress("auto", io.StringIO())) is _Lines
    terminal = Terminal()
    bar = open_progress("auto", terminal)
    assert type(bar) is _Bar
    bar.update(State(found=20, scanned=20, written=10, documents=7))
    bar.say("[a line]")
    bar.close()
    assert "files read" in terminal.getvalue()
    assert "7 documents" in terminal.getvalue()
    assert "[a line]" in terminal.getvalue()


def test_none_is_silent(capsys):
    silent = open_progress("none")
    silent.update(State())
    silent.say("a line")
    silent.close()
    assert capsys.readouterr().out == ""
