"""Building: once, kept, safe beside other processes; a compiler that is absent or fails is a reason, not a crash."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import weft
from weft.ops import Spec, native
from weft.ops.native import cache, compiler, library

if native.unavailable() is not None:
    pytest.skip(str(native.unavailable()), allow_module_level=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A library of one function in two files."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "answer.h").write_text("constexpr int ANSWER = 42;\n")
    (folder / "answer.cpp").write_text('#include "answer.h"\nextern "C" int answer() { return ANSWER; }\n')
    (folder / "other.cpp").write_text("int other() { return 1; }\n")
    return folder


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(library, "_state", {})


def test_built_once_and_again_when_a_source_changes(sources: Path, tmp_path: Path) -> None:
    path = library.build(sources, tmp_path / "cache")
    made = path.stat().st_mtime_ns
    assert library.build(sources, tmp_path / "cache") == path
    assert path.stat().st_mtime_ns == made
    (sources / "answer.h").write_text("constexpr int ANSWER = 43;\n")
    other = library.build(sources, tmp_path / "cache")
    assert other != path
    left = sorted(file.name for file in (tmp_path / "cache").iterdir())
    assert left == sorted(each.with_suffix(end).name for each in (path, other) for end in (".so", ".lock"))


def test_another_compiler_makes_another_file(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = library.build(sources, tmp_path / "cache")
    monkeypatch.setenv("CXX", f"{shutil.which('c++')} -DOTHER=1")
    assert library.build(sources, tmp_path / "cache") != path


def test_processes_that_build_at_once_agree(sources: Path, tmp_path: Path) -> None:
    program = (
        "import ctypes, sys; from pathlib import Path; from weft.ops.native import library\n"
        f"path = library.build(Path({str(sources)!r}), Path({str(tmp_path / 'cache')!r}))\n"
        "assert ctypes.CDLL(str(path)).answer() == 42; print(path)"
    )
    workers = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {worker.communicate()[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert len(printed) == 1


@pytest.mark.usefixtures("nothing_loaded")
def test_no_compiler_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.unavailable() == (
        "there is no C++ compiler (c++, g++, clang++) on PATH; install one or let CXX name it"
    )


@pytest.mark.usefixtures("nothing_loaded")
def test_a_wrong_cxx_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O1")
    assert native.unavailable() == (
        "CXX=no-such-compiler -O1 names no program on this machine; unset it or name a C++17 compiler"
    )


@pytest.mark.usefixtures("nothing_loaded")
def test_a_broken_compiler_is_a_reason_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    broken.write_text('#!/bin/sh\ncase "$*" in *-dM*) exit 0;; esac\necho "x.cpp:1: error: I am broken" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "cache"))
    reason = f"the compiler {broken} failed: x.cpp:1: error: I am broken"
    spec = Spec(op="toy", device="cpu", dtype=torch.float32)
    assert native.cpu_limits(spec) == reason
    assert [record.getMessage() for record in caplog.records] == [f"no compiled CPU kernels: {reason}"]
    with pytest.raises(native.BuildError, match="I am broken"):
        native.call("weft_lanes")
    assert [file.suffix for file in (tmp_path / "cache" / "native").iterdir()] == [".lock"]  # nothing half made


@pytest.mark.usefixtures("nothing_loaded")
def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WEFT_CACHE", str(tmp_path / "file"))
    reason = native.unavailable()
    assert reason is not None
    assert "compiled kernels cannot be kept in" in reason
    assert "let WEFT_CACHE name a folder" in reason


def test_a_full_disk_is_a_reason(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(native.BuildError, match="No space left on device"):
        library.build(sources, tmp_path / "cache")


@pytest.mark.usefixtures("nothing_loaded")
def test_a_library_that_does_not_load_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "build", lambda sources, folder: tmp_path / "weft-0.so")
    assert "weft-0.so does not load" in str(native.unavailable())


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("WEFT_CACHE", raising=False)
    assert cache.cache_folder() == Path("/home/ada/.cache/weft/native")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big")
    assert cache.cache_folder() == Path("/big/weft/native")
    monkeypatch.setenv("WEFT_CACHE", "/fast")
    assert cache.cache_folder() == Path("/fast/native")


def test_limits_that_need_no_library() -> None:
    limits = native.cpu_limits
    assert limits(Spec("toy", "cuda", torch.float32)) == "runs on the CPU, the inputs are on cuda"
    assert limits(Spec("toy", "cpu", torch.float16)) == "computes in float32 and bfloat16, the inputs are float16"
    assert limits(Spec("toy", "cpu", torch.bfloat16)) is None


def test_importing_compiles_nothing() -> None:
    program = (
        "import sys, weft.ops, weft.ops.native.library as library\n"
        "assert not library._state\n"
        "assert 'triton' not in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "CXX": "no-such-compiler"})


def test_the_sources_are_part_of_the_package() -> None:
    root = Path(weft.__file__).parent
    settings = (root.parent / "pyproject.toml").read_text(encoding="utf-8")
    patterns = re.findall(r'"([^"]+)"', settings.split("[tool.setuptools.package-data]")[1].split("]")[0])
    shipped = {path for pattern in patterns for path in root.glob(pattern)}
    needed = {path for end in ("*.cpp", "*.h") for path in root.rglob(end)}
    assert needed <= shipped
    assert root / "ops" == library.SOURCES


def test_the_compiler_is_asked_for_what_the_kernels_rely_on() -> None:
    """Sums keep their order: no flag that lets the compiler change arithmetic, but for fused multiply-adds."""
    assert "-ffast-math" not in compiler.FLAGS
    assert not any(flag.startswith(("-funsafe", "-fassociative", "-ffinite")) for flag in compiler.FLAGS)
