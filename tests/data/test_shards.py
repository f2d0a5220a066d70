"""Which shards count as finished, and in which order they are adopted."""

import json

import pytest

from weft.data import DataError, ShardFolder
from weft.data.shards import sha256_of

from .conftest import write_parquet
from .world import World, texts


def names(shards):
    return [shard.name for shard in shards]


def test_only_whole_shards_under_their_final_names_count(tmp_path):
    whole = write_parquet(tmp_path / "b.parquet", texts("b")).read_bytes()
    for name in ("_c.parquet", ".d.parquet", "e.tmp.parquet", "f.parquet.tmp", "g.json"):
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "nothing.parquet").touch()
    write_parquet(tmp_path / "a.parquet", texts("a"))
    folder = ShardFolder(tmp_path)
    assert names(folder.finished(known=())) == ["a.parquet", "b.parquet"]
    assert sorted(folder.pending) == ["half.parquet", "nothing.parquet"]
    assert names(folder.finished(known={"a.parquet"})) == ["b.parquet"]


def write_manifest(folder, entries):
    (folder / "manifest.json").write_text(json.dumps({"shards": entries}))


def test_a_manifest_decides_what_is_read(tmp_path):
    for name in ("a.parquet", "b.parquet", "c.parquet", "d.parquet"):
        write_parquet(tmp_path / name, texts(name))
    good = sha256_of(tmp_path / "a.parquet")
    write_manifest(
        tmp_path,
        [
            {"name": "a.parquet", "rows": 12, "sha256": good, "bytes": (tmp_path / "a.parquet").stat().st_size},
            {"name": "b.parquet", "rows": 13},
            {"name": "d.parquet", "sha256": good},
            {"name": "e.parquet"},
        ],
    )
    folder = ShardFolder(tmp_path)
    assert names(folder.finished(known=())) == ["a.parquet"]
    assert folder.pending["b.parquet"] == "has 12 rows, the manifest says 13"
    assert folder.pending["d.parquet"] == "has another sha256 than the manifest says"
    assert "e.parquet" in folder.pending
    assert "c.parquet" not in folder.pending, "not listed, so not ours"


@pytest.mark.parametrize("text", ['{"shards": [{"na', "[]", '{"files": []}', '{"shards": [{"rows": 1}]}'])
def test_a_manifest_that_cannot_be_read_yet_lets_nothing_through(tmp_path, text):
    write_parquet(tmp_path / "a.parquet", texts("a"))
    (tmp_path / "manifest.json").write_text(text)
    folder = ShardFolder(tmp_path)
    assert folder.finished(known=()) == []
    assert list(folder.pending) == ["manifest.json"]


@pytest.mark.parametrize("name", ["../a.parquet", "/etc/a.parquet", "below/a.parquet"])
def test_a_manifest_cannot_point_out_of_the_folder(tmp_path, name):
    write_manifest(tmp_path, [{"name": name}])
    with pytest.raises(DataError, match="leaves the folder"):
        ShardFolder(tmp_path).finished(known=())


def test_shards_are_adopted_as_they_appear_and_by_name_within_a_look(tmp_path):
    world = World(tmp_path / "data")
    world.shard("c.parquet", texts("c"))()
    world.shard("b.parquet", texts("b"))()
    adoption = world.adoption(tmp_path / "journal")
    assert adoption.get(0).name == "b.parquet"
    world.shard("a.parquet", texts("a"))()
    assert adoption.get(1).name == "c.parquet"
    assert adoption.get(2).name == "a.parquet"
    world.complete()
    assert adoption.get(3) is None
    again = world.adoption(tmp_path / "journal")
    assert names(again.shards) == ["b.parquet", "c.parquet", "a.parquet"]
    assert again.complete


def test_waiting_is_said_at_once_and_then_every_minute(tmp_path, caplog):
    world = World(tmp_path / "data")
    world._script = [(150, world.shard("a.parquet", texts("a")))]
    (world.folder / "b.parquet").write_bytes(b"PAR1 half written")
    assert world.adoption(tmp_path / "journal").get(0).name == "a.parquet"
    assert world.now == pytest.approx(150, abs=1.5)
    assert len(caplog.records) == 3
    first = caplog.records[0].getMessage()
    assert first.startswith(
        f"waiting for shards in {world.folder}: 0 read so far, no _COMPLETE yet (0 s; unfinished: b.p"
    )


def test_a_stop_is_heard_while_waiting(tmp_path):
    world = World(tmp_path / "data")
    world._script = [(1000, world.complete)]

    def poll():
        if world.now >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.adoption(tmp_path / "journal", poll=poll).get(0)
    assert world.now == pytest.approx(3, abs=0.3)


def test_a_shard_that_appears_just_before_the_end_marker_is_not_missed(tmp_path):
    world = World(tmp_path / "data")
    adoption = world.adoption(tmp_path / "journal")
    is_complete = adoption.folder.is_complete

    def asked():  # everything happens between the question and the look
        answer = is_complete()
        world.shard("a.parquet", texts("a"))()
        world.complete()
        return answer

    adoption.folder.is_complete = asked
    assert adoption.get(0).name == "a.parquet"
    assert adoption.get(1) is None


@pytest.mark.parametrize("how", ["half", "listed"])
def test_a_complete_folder_with_a_broken_shard_is_an_error(tmp_path, how):
    world = World(tmp_path / "data")
    world.shard("a.parquet", texts("a"))()
    if how == "half":
        (world.folder / "b.parquet").write_bytes(b"PAR1")
    else:
        write_manifest(world.folder, [{"name": "a.parquet"}, {"name": "b.parquet"}])
    world.complete()
    with pytest.raises(DataError, match=r"has _COMPLETE, but not every shard is whole: b\.parquet"):
        world.adoption(tmp_path / "journal").get(0)


@pytest.mark.parametrize("cut", range(1, 50, 7))
def test_a_crash_while_the_journal_is_written_loses_no_order(tmp_path, cut):
    world = World(tmp_path / "data")
    world.shard("b.parquet", texts("b"))()
    journal = tmp_path / "journal"
    world.adoption(journal).look()
    whole = journal.read_bytes()
    world.shard("c.parquet", texts("c"))()
    world.adoption(journal).look()
    journal.write_bytes(journal.read_bytes()[:-cut])  # nothing was read of a shard whose line is not whole
    world.shard("a.parquet", texts("a"))()
    after = world.adoption(journal)
    after.look()
    assert names(after.shards) == ["b.parquet", "a.parquet", "c.parquet"]
    assert journal.read_bytes().startswith(whole)
    assert names(world.adoption(journal).shards) == names(after.shards)


def test_other_processes_follow_the_leaders_order(tmp_path):
    world = World(tmp_path / "data")
    world.shard("b.parquet", texts("b"))()
    journal = tmp_path / "journal"
    leader = world.adoption(journal)
    leader.look()
    world.shard("a.parquet", texts("a"))()
    world._script = [(2, leader.look), (4, world.complete), (6, leader.look)]
    other = world.adoption(journal, leader=False)
    assert [other.get(index).name for index in range(2)] == ["b.parquet", "a.parquet"]
    assert other.get(2) is None
    assert world.now >= 6


def test_a_shard_that_changes_after_its_adoption_is_an_error(tmp_path):
    world = World(tmp_path / "data")
    world.shard("a.parquet", texts("a"))()
    adoption = world.adoption(tmp_path / "journal")
    shard = adoption.get(0)
    write_parquet(world.folder / "a.parquet", texts("other", 13))
    with pytest.raises(DataError, match=r"13 rows .* when it was adopted it had 12"):
        adoption.folder.open(shard)
    (world.folder / "a.parquet").unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        adoption.folder.open(shard)


def test_a_lost_journal_is_restored_from_the_state_and_a_foreign_one_refused(tmp_path):
    world = World(tmp_path / "data")
    for name in ("a.parquet", "b.parquet", "c.parquet"):
        world.shard(name, texts(name))()
    adoption = world.adoption(tmp_path / "lost")
    adoption.restore(["c.parquet", "a.parquet"])
    adoption.look()
    assert names(adoption.shards) == ["c.parquet", "a.parquet", "b.parquet"]
    with pytest.raises(DataError, match="belongs to another run"):
        adoption.restore(["a.parquet"])
    with pytest.raises(DataError, match=r"no longer holds z\.parquet"):
        world.adoption(tmp_path / "other").restore(["z.parquet"])
