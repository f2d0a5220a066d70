"""The command table, exit codes, one-line errors, and nearest matches."""

import errno
import subprocess
import sys
import types

import pytest

from weft.cli import main as cli
from weft.cli.parser import CommandParser


@pytest.fixture
def command(monkeypatch):
    """Registers a command `probe` whose `run` executes the given function in a module that counts as Weft's."""

    def install(body, *, module_name="weft.cli.probe"):
        module = types.ModuleType(module_name, "Probe.")
        module.run = lambda args: body(args) or 0
        module.add_arguments = lambda parser: parser.add_argument("--prompt")
        monkeypatch.setitem(sys.modules, module_name, module)
        monkeypatch.setitem(cli.COMMANDS, "probe", (module_name, "a probe"))

    return install


def raising(statement, *, module="weft.data.probe"):
    """A function whose innermost frame belongs to `module` and executes `statement`."""
    namespace = {"__name__": module}
    exec(f"def body(args):\n    {statement}\n", namespace)
    return namespace["body"]


def test_help_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


def test_no_command_shows_the_overview_and_is_a_mistake(capsys):
    assert cli.main([]) == 2
    assert "usage: weft COMMAND" in capsys.readouterr().out


def test_version_is_the_package_version(capsys):
    import weft

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"weft {weft.__version__}\n"


def test_python_dash_m_runs_the_same_program():
    done = subprocess.run([sys.executable, "-m", "weft", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("weft ")


def test_run_gets_its_arguments_and_returns_the_exit_code(command):
    command(lambda args: 7 if args.prompt == "once" else 0)
    assert cli.main(["probe", "--prompt", "once"]) == 7


def test_a_module_with_main_owns_its_words(monkeypatch):
    module = types.ModuleType("weft.cli.own")
    module.main = lambda argv, *, prog: len(argv) if prog == "weft own" else -1
    monkeypatch.setitem(sys.modules, "weft.cli.own", module)
    monkeypatch.setitem(cli.COMMANDS, "own", ("weft.cli.own", "owns its parser"))
    assert cli.main(["own", "--train.steps", "3"]) == 2


@pytest.mark.parametrize(
    "words, message",
    [
        (["trian"], "there is no command 'trian' (did you mean train?)"),
        (["--vresion"], "there is no flag '--vresion'"),
        (["probe", "--promt", "x"], "there is no flag '--promt' (did you mean --prompt?)"),
        (["probe", "--pro=x"], "there is no flag '--pro'"),
        (["probe", "stray"], "unexpected argument 'stray'"),
        (["probe", "--prompt"], "argument --prompt: expected one argument"),
    ],
    ids=["command", "top-flag", "flag", "abbreviation", "stray-word", "missing-value"],
)
def test_mistyped_words_get_one_line_and_exit_code_2(words, message, command, capsys):
    command(lambda args: 0)
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"weft: error: {message}")
    assert captured.err.count("\n") == 1


def test_a_wrong_choice_names_the_nearest(capsys):
    parser = CommandParser(prog="weft bench")
    parser.add_subparsers(required=True, metavar="WHAT").add_parser("decode").add_argument("--json")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["decod"])
    assert "there is no 'decod' (did you mean decode?)" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["decode", "--jsn", "x"])
    assert capsys.readouterr().err == (
        "weft: error: there is no flag '--jsn' (did you mean --json?); see 'weft bench decode --help'\n"
    )


@pytest.mark.parametrize(
    "statement, line",
    [
        ("raise ValueError('got 3,\\n   expected 4: set --x')", "got 3, expected 4: set --x"),
        ("raise ImportError('plots need matplotlib: pip install weft-lm[train]')", "plots need matplotlib"),
        ("open('/no/such/file.txt')", "No such file or directory: /no/such/file.txt"),
        ("raise FileNotFoundError('no run at runs/x')", "no run at runs/x"),
        (
            f"raise OSError({errno.ENOSPC}, 'No space left on device', 'run/w.bin')",
            "No space left on device: run/w.bin",
        ),
    ],
    ids=["value", "missing-extra", "missing-file", "weft-missing", "disk-full"],
)
def test_a_users_mistake_is_one_line(statement, line, command, capsys):
    command(raising(statement))
    assert cli.main(["probe"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"weft: error: {line}")
    assert err.count("\n") == 1


def test_a_mistake_raised_inside_a_with_block_is_still_the_users(command, capsys):
    body = "import contextlib\n    with contextlib.ExitStack():\n        raise ValueError('inside')"
    command(raising(body))
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == "weft: error: inside\n"


@pytest.mark.parametrize(
    "body, kind",
    [
        (raising("int('x')"), ValueError),
        (raising("raise ValueError('a library says')", module="numpy.linalg"), ValueError),
        (raising("{}['key']"), KeyError),
        (raising("assert False"), AssertionError),
        (raising("import weft.no_such_room"), ImportError),
    ],
    ids=["unchecked-int", "library", "key", "assertion", "import"],
)
def test_a_bug_keeps_its_traceback(body, kind, command):
    command(body)
    with pytest.raises(kind):
        cli.main(["probe"])


@pytest.mark.parametrize("how", ["flag-before", "flag-after", "variable"])
def test_traceback_can_be_asked_for(how, command, monkeypatch):
    command(raising("raise ValueError('mine')"))
    words = {"flag-before": ["--traceback", "probe"], "flag-after": ["probe", "--traceback"], "variable": ["probe"]}[
        how
    ]
    if how == "variable":
        monkeypatch.setenv("WEFT_TRACEBACK", "1")
    with pytest.raises(ValueError, match="mine"):
        cli.main(words)


def test_an_interrupt_ends_with_130(command, capsys):
    command(raising("raise KeyboardInterrupt"))
    assert cli.main(["probe"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_is_not_an_error():
    program = (
        "import sys; from weft.cli import main as m; m._overview = lambda: 'x' * 1_000_000; sys.exit(m.main(['-h']))"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    writer.stdout.read(1)
    writer.stdout.close()
    with writer.stderr:
        assert writer.stderr.read() == b""
    assert writer.wait() == 141
