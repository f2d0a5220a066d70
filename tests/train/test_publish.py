"""A set of files is there whole or not at all, wherever its writing ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.train.publish import MANIFEST, FileSystem, clean, faults, publish, retract


class KilledError(Exception):
    """Stands for the end of the process."""


class Recorded(FileSystem):
    """Notes every operation; dies at the one it is told."""

    def __init__(self, folder, dies_at=None):
        self.calls = []
        self._folder = folder
        self._dies_at = dies_at

    def _note(self, what, path):
        self.calls.append(f"{what} {path.relative_to(self._folder)}")
        if len(self.calls) - 1 == self._dies_at:
            raise KilledError

    def sync_file(self, path):
        self._note("sync", path)
        super().sync_file(path)

    def sync_folder(self, path):
        self._note("sync", path)
        super().sync_folder(path)

    def rename(self, old, new):
        self._note("rename", new)
        super().rename(old, new)

    def remove(self, folder):
        self._note("remove", folder)
        super().remove(folder)


def writes(text):
    def write(folder):
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_text(text)
        (folder / "state").write_text(text * 2)

    return write


def content(place):
    return (place / "inner" / "weights").read_text(), (place / "state").read_text()


def test_files_are_synced_before_the_manifest_and_all_before_the_name(tmp_path):
    files = Recorded(tmp_path)
    publish(tmp_path / "set", writes("a"), files=files)
    assert files.calls == [
        "sync .writing-set/inner/weights",
        "sync .writing-set/state",
        "sync .writing-set/manifest.json",
        "sync .writing-set/inner",
        "sync .writing-set",
        "rename set",
        "sync .",
    ]
    assert faults(tmp_path / "set") == []


@pytest.mark.parametrize("replacing", [False, True], ids=["new", "replacing"])
def test_a_crash_at_any_operation_leaves_the_old_or_the_new_set(tmp_path, replacing):
    whole = Recorded(tmp_path)
    place = tmp_path / "set"
    if replacing:
        publish(place, writes("old"))
    publish(place, writes("new"), files=whole)
    seen = set()
    for step in range(len(whole.calls)):
        for path in tmp_path.iterdir():
            FileSystem().remove(path)
        if replacing:
            publish(place, writes("old"))
        # A killed process runs no clean-up, so what publish would remove is kept.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("weft.train.publish.shutil.rmtree", lambda path, ignore_errors=False: None)
            with pytest.raises(KilledError):
                publish(place, writes("new"), files=Recorded(tmp_path, dies_at=step))
        clean(tmp_path)
        if place.exists():
            assert faults(place) == []
            assert content(place) in (("old", "oldold"), ("new", "newnew"))
            seen.add(content(place)[0])
        else:
            assert not replacing
            seen.add("none")
        assert [path.name for path in tmp_path.iterdir()] in ([], ["set"])
    assert seen == ({"old", "new"} if replacing else {"none", "new"})


def test_a_retracted_set_loses_its_name_before_its_first_file(tmp_path):
    place = tmp_path / "set"
    publish(place, writes("a"))
    seen = []

    def reach(name):
        seen.append((name, place.exists(), (tmp_path / ".leaving-set" / "state").exists()))

    retract(place, reach=reach)
    assert seen == [("purge", False, True)]
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind_and_the_old_set_as_it_was(tmp_path):
    place = tmp_path / "set"
    publish(place, writes("old"))

    def fails(folder):
        (folder / "state").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        publish(place, fails)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert faults(place) == []
    assert content(place) == ("old", "oldold")


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda place: (place / "state").unlink(), "state is missing"),
        (lambda place: (place / "state").write_text("short"), "state has 5 bytes, expected 8"),
        (lambda place: (place / "state").write_text("wordwore"), "state has another SHA-256"),
        (lambda place: (place / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda place: (place / MANIFEST).write_text("{"), "manifest.json cannot be read"),
        (lambda place: (place / MANIFEST).write_text("[]"), "manifest.json cannot be read"),
    ],
    ids=["missing", "truncated", "flipped", "no-manifest", "half-manifest", "other-manifest"],
)
def test_every_kind_of_harm_is_found_and_named(tmp_path, harm, words):
    place = tmp_path / "set"
    publish(place, writes("word"))
    harm(place)
    assert len(faults(place)) == 1
    assert words in faults(place)[0]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that refuses: /proc")
def test_a_parent_that_cannot_be_written_is_an_error_of_the_system():
    with pytest.raises(OSError, match="/proc/weft"):
        publish(Path("/proc/weft/set"), writes("a"))
