"""Following a growing folder: every shard once, the same batches after any kill, and nothing held out is trained on."""

import json

import pytest
import torch

from weft.data import ByteTokenizer, DataError, Document, EndOfData, Loader
from weft.data.packing import IGNORED
from weft.data.split import held_out

from .test_packing import BOS, rows_by_hand
from .world import World, texts

CONTEXT = 16


def script(world):
    """Shards appear out of the order of their names, and late."""
    return [
        (0, world.shard("d.parquet", texts("d"), row_group_size=5)),
        (0, world.shard("e.parquet", [])),
        (3, world.shard("b.parquet", texts("b", 7))),
        (3, world.shard("c.parquet", ["", None, "last of c"])),
        (9, world.shard("a.parquet", texts("a", 20), row_group_size=3)),
        (12, world.complete),
    ]


ALL = [*texts("d"), *texts("b", 7), "last of c", *texts("a", 20)]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "data")
    made._script = script(made)
    made._act()
    return made


def summary(batch):
    return (batch.hash, batch.ids, batch.num_bytes, batch.cu_seqlens.tolist(), batch.tokens[0].tolist())


def batches_of(world, journal, *, size=3, state=None, **settings):
    return Loader(world.dataset(journal, **settings), batch_size=size, seed=1, state=state)


def test_rows_are_those_of_all_documents_in_the_order_of_adoption(world, tmp_path):
    rows = []
    for batch in batches_of(world, tmp_path / "journal", size=2):
        for number in range(len(batch.ids)):
            part = slice(number * CONTEXT, (number + 1) * CONTEXT)
            rows.append((batch.tokens[0, part].tolist(), batch.labels[0, part].tolist()))
    assert rows == [row[:2] for row in rows_by_hand(ALL, CONTEXT)]
    assert world.now >= 12, "it waited for the end"


def test_borders_positions_and_bytes(world, tmp_path):
    batches = list(batches_of(world, tmp_path / "journal", size=1))
    for batch, (_, _, starts, num_bytes) in zip(batches, rows_by_hand(ALL, CONTEXT), strict=True):
        assert batch.cu_seqlens.tolist() == [*starts, CONTEXT]
        assert batch.num_bytes == num_bytes
    assert sum(batch.num_bytes for batch in batches) == sum(len(text.encode()) for text in ALL)


def test_each_shard_is_opened_once_and_an_unfinished_one_never(world, tmp_path):
    (world.folder / "_f.parquet").write_bytes(b"half")
    dataset = world.dataset(tmp_path / "journal")
    opened = []
    open_shard = dataset.adoption.folder.open
    dataset.adoption.folder.open = lambda shard: opened.append(shard.name) or open_shard(shard)
    list(Loader(dataset, batch_size=3, seed=1))
    assert opened == ["d.parquet", "e.parquet", "b.parquet", "c.parquet", "a.parquet"]


def test_a_batch_does_not_wait_for_more_than_it_needs(world, tmp_path):
    loader = batches_of(world, tmp_path / "journal", size=1)
    stream = sum(len(text) + 1 for text in texts("d"))
    for _ in range(stream // CONTEXT):
        loader.next()
    assert world.now == 0, "every token of the first shard is dealt, the last one with its label"


@pytest.mark.parametrize("all_at_once", [False, True], ids=["shards-still-come", "all-came-meanwhile"])
def test_killed_and_resumed_at_every_step_gives_the_same_batches(tmp_path, all_at_once):
    def fresh(name):
        made = World(tmp_path / name)
        made._script = script(made)
        made._act()
        return made

    straight = [summary(batch) for batch in batches_of(fresh("straight"), tmp_path / "journal-straight")]
    assert len(straight) > 15
    for step in range(len(straight)):
        world, journal = fresh(f"world-{step}"), tmp_path / f"journal-{step}"
        loader = batches_of(world, journal)
        before = [summary(loader.next()) for _ in range(step)]
        state = json.loads(json.dumps(loader.state_dict()))
        lost = [summary(loader.next()) for _ in range(min(2, len(straight) - step))]  # done behind the last checkpoint
        if all_at_once:
            world.finish()  # while nobody ran, shards with earlier names appeared
        found = [summary(batch) for batch in batches_of(world, journal, state=state)]
        assert before + lost == straight[: step + 2]
        assert found[: len(lost)] == lost
        assert len(found) == len(straight) - step
        if not all_at_once:
            assert found == straight[step:]
        pieces = bytes_between([token for entry in before + found for token in entry[-1]])
        assert sorted(pieces) == sorted([*ALL, *[""] * (len(pieces) - len(ALL))])  # "": BOS tokens that are padding


def test_a_resume_after_every_single_row_is_exact_to_the_token(world, tmp_path):
    world.finish()
    straight = [summary(batch) for batch in batches_of(world, tmp_path / "journal", size=1)]
    state, found = None, []
    for _ in straight:
        loader = batches_of(world, tmp_path / "journal", size=1, state=state)
        found.append(summary(loader.next()))
        state = loader.state_dict()
    assert found == straight
    with pytest.raises(EndOfData):
        batches_of(world, tmp_path / "journal", size=1, state=state).next()


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batches_and_a_resume_may_change_their_number(world, tmp_path, world_size):
    world.finish()
    journal = tmp_path / "journal"
    straight = list(batches_of(world, journal, size=6))
    state = None
    for number, whole in enumerate(straight):
        if number == 2:
            world_size = 6 // world_size
        loaders = [
            Loader(world.dataset(journal), batch_size=6, seed=1, state=state, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        parts = [loader.next() for loader in loaders]
        assert torch.equal(torch.cat([part.tokens for part in parts], 1), whole.tokens)
        assert {part.hash for part in parts} == {whole.hash}
        state = loaders[-1].state_dict()


def test_a_stop_while_waiting_leaves_the_state_before_the_batch(world, tmp_path):
    stop_at = [2.0]

    def poll():
        if world.now >= stop_at[0]:
            raise InterruptedError

    loader = batches_of(world, tmp_path / "journal", poll=poll)
    done = []
    with pytest.raises(InterruptedError):
        done.extend(batch.hash for batch in loader)
    assert loader.state_dict() == batches_of(world, tmp_path / "journal", state=loader.state_dict()).state_dict()
    stop_at[0] = float("inf")
    rest = [batch.hash for batch in loader]  # the same loader goes on
    straight = [batch.hash for batch in batches_of(world, tmp_path / "journal")]
    assert len(rest) > 5
    assert done + rest == straight


def test_held_out_documents_are_never_trained_on_wherever_they_appear(world, tmp_path):
    world.finish()
    again = texts("d")[3]
    (world.folder / "_COMPLETE").unlink()
    world.shard("f.parquet", [again, "new"])()
    world.complete()
    modulus = 4
    tokens = []
    for batch in batches_of(world, tmp_path / "journal", modulus=modulus, size=1):
        tokens += batch.tokens[0][batch.labels[0] != IGNORED].tolist()
    pieces = bytes_between(tokens)
    kept = [text for text in [*ALL, again, "new"] if not held_out(Document(text, "x", 1), modulus)]
    assert sorted(pieces) == sorted(kept)
    assert len(kept) < len(ALL)


def bytes_between(tokens):
    pieces, current = [], None
    for token in [*tokens, BOS]:
        if token == BOS:
            if current is not None:
                pieces.append(ByteTokenizer().decode(current))
            current = []
        else:
            current.append(token)
    return pieces


def test_what_is_left_out_is_counted_or_fatal(world, tmp_path):
    world.finish()
    dataset = world.dataset(tmp_path / "journal")
    list(Loader(dataset, batch_size=3, seed=1))
    assert dataset.problems.examples == {"empty": ["c.parquet:1", "c.parquet:2: null"]}
    with pytest.raises(DataError, match=r"c\.parquet:1 \(empty\)"):
        list(Loader(world.dataset(tmp_path / "journal", on_error="fail"), batch_size=3, seed=1))


@pytest.mark.parametrize(
    "settings, said",
    [({"context": 8}, "context 16, this run 8"), ({"modulus": 3}, "modulus None, this run 3")],
    ids=["context", "split"],
)
def test_a_state_of_other_settings_is_refused(world, tmp_path, settings, said):
    loader = batches_of(world, tmp_path / "journal")
    loader.next()
    with pytest.raises(ValueError, match=said):
        batches_of(world, tmp_path / "journal", state=loader.state_dict(), **settings)


def test_a_state_whose_shard_is_gone_is_refused(world, tmp_path):
    loader = batches_of(world, tmp_path / "journal")
    loader.next()
    (world.folder / "d.parquet").unlink()
    with pytest.raises(DataError, match=r"d\.parquet .* cannot be read any more"):
        batches_of(world, tmp_path / "journal", state=loader.state_dict()).next()


def test_a_wrong_column_is_answered_with_those_that_exist(world, tmp_path):
    with pytest.raises(DataError, match=r"no column 'body'; its columns are text \(string\)"):
        batches_of(world, tmp_path / "journal", text_field="body").next()
