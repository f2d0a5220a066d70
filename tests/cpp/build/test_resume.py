"""The same bytes whatever ran them: engines, workers, hash seeds, and processes that were killed wherever it hurts."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cpp.trees import project, projects, write_tree
from weft.cpp.build.config import Running
from weft.cpp.build.state import BuildFolder

from .corpora import QUIET, made, shards

SETTINGS = {"max_tokens": 600, "shard_rows": 25, "shuffle_window": 40, "validation": 0.3}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    found = projects(folder, 6)
    twin = (found[0] / "src" / "part0.cpp").read_text()
    write_tree(found[3], {"src/copy.cpp": twin, "src/near.cpp": twin + "int last;\n"})
    return [*found, project(folder / "other", "project0")]


@pytest.fixture(scope="module")
def straight(roots, tmp_path_factory):
    """What a build gives that nobody disturbs."""
    out = tmp_path_factory.mktemp("straight") / "out"
    made(out, roots, **SETTINGS)
    found = shards(out)
    assert len(found) > 6
    return found


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["weft.cpp.build.run", "weft.cpp.modes.file", "tests.cpp.build.corpora"])
    return context


def exit_code(context, target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    process.join(60)
    return process.exitcode


def build_and_die(out, roots, at, behind):
    """SIGKILL at the so-and-so-many-th file that gets its name, before or behind the renaming."""
    seen, rename = 0, os.replace

    def replace(source, target):
        nonlocal seen
        seen += 1
        if seen == at and not behind:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    made(out, roots, **SETTINGS)


@pytest.mark.parametrize("behind", [False, True], ids=["before-the-name", "behind-the-name"])
def test_killed_again_and_again_it_ends_with_the_same_bytes(roots, straight, tmp_path, processes, behind):
    out, kills = tmp_path / "out", 0
    while (code := exit_code(processes, build_and_die, out, roots, 7, behind)) == -signal.SIGKILL:
        kills += 1
        assert not (out / "_COMPLETE").exists()
        found = shards(out)
        assert all(straight[name] == digest for name, digest in found.items() if not name.endswith("manifest.json"))
    assert code == 0
    assert kills >= 5
    assert shards(out) == straight
    assert not (out / ".work").exists()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_pool_gives_the_same_bytes(roots, straight, tmp_path, workers):
    made(tmp_path / "out", roots, Running(engine="pool", workers=workers, progress="none"), **SETTINGS)
    assert shards(tmp_path / "out") == straight


def test_the_order_of_the_arguments_and_of_the_folders_does_not_matter(roots, straight, tmp_path):
    made(tmp_path / "out", roots[::-1], **SETTINGS)
    assert shards(tmp_path / "out") == straight


def command(out, roots, *words):
    settings = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "weft", "cpp", "build", "--projects", *map(str, roots), "--out", str(out),
            "--mode", "file", *settings, *words]  # fmt: skip


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_the_hash_seed_does_not_matter(roots, straight, tmp_path, seed):
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    subprocess.run(command(tmp_path / "out", roots, "--workers", "2"), env=environment, check=True, capture_output=True)
    assert shards(tmp_path / "out") == straight


def test_ray_gives_the_same_bytes(roots, straight, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed (pip install 'weft-lm[scale]')")
    words = command(tmp_path / "out", roots, "--engine", "ray", "--workers", "2")
    subprocess.run(words, check=True, capture_output=True)
    assert shards(tmp_path / "out") == straight


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_pool_that_is_stopped_leaves_no_worker_and_goes_on(roots, straight, tmp_path, number):
    for attempt in range(5):  # a build this small may be done before it is stopped
        out = tmp_path / f"out{attempt}"
        process = subprocess.Popen(
            command(out, roots, "--workers", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda out=out: len(list(out.glob(".work/scans/*.pack"))) >= 2 or (out / "_COMPLETE").exists())
        workers = children_of(process.pid)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        if process.returncode:
            break
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in errors
    wait_until(lambda: not any(map(is_running, workers)))
    assert not (out / "_COMPLETE").exists()
    made(out, roots, QUIET, **SETTINGS)
    assert shards(out) == straight


def build_on_a_small_disk(out, roots, limit):
    """Files of more than `limit` bytes cannot be written, as if the disk were full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        made(out, roots, **SETTINGS)
    except OSError as error:
        os._exit(7 if error.errno and str(out) in str(error.filename) else 8)
    os._exit(0)


@pytest.mark.parametrize("limit", [2_000, 8_000, 20_000, 150_000], ids=["pack", "shard", "index", "late"])
def test_a_full_disk_is_an_error_that_leaves_nothing_half_done(roots, straight, tmp_path, processes, limit):
    out = tmp_path / "out"
    assert exit_code(processes, build_on_a_small_disk, out, roots, limit) == 7
    assert not (out / "_COMPLETE").exists()
    assert [path.name for path in out.rglob(".tmp-*")] == []
    assert all(straight[name] == digest for name, digest in shards(out).items() if not name.endswith("manifest.json"))
    made(out, roots, **SETTINGS)
    assert shards(out) == straight


def test_two_builds_into_one_folder_do_not_meet(tmp_path):
    first, second = (BuildFolder(tmp_path / "out") for _ in range(2))
    with first.opened({}), pytest.raises(ValueError, match="another process is building"), second.opened({}):
        raise AssertionError("both are in")


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def children_of(pid):
    """All below a process."""
    found, waiting = [], [pid]
    while waiting:
        process = waiting.pop()
        path = Path(f"/proc/{process}/task/{process}/children")
        children = [int(child) for child in path.read_text().split()] if path.exists() else []
        found += children
        waiting += children
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
