"""A model trains on a C++ corpus while it is being written, is killed, goes on, and ends like one that came later."""

from __future__ import annotations

import signal

import pytest

from tests.cpp.build.corpora import made
from tests.cpp.trees import projects
from tests.integration.killing import finish, last_step, processes, start, wait_for
from tests.train.runs import assert_same_run, rows, tiny_run
from weft.cpp.build.shards import ShardWriter


@pytest.mark.slow
def test_training_follows_a_build_and_resumes_exactly(tmp_path, monkeypatch):
    corpus, context = tmp_path / "corpus", processes()
    corpus.mkdir()

    def run(name):
        followed = {"data__path": None, "data__follow": str(corpus), "data__split": "none"}
        settings = {"train__steps": 1000, "train__checkpoint_every": 3, "data__follow_poll_seconds": 0.05}
        return tiny_run(tmp_path / name, corpus, **followed, **settings)

    trainers = []

    def train_meanwhile(writer):
        """Behind the first shard a run begins and is killed, behind the second another goes on with it."""
        publish(writer)
        if len(writer.shards) <= 2:
            goal = last_step(tmp_path / "live") + 5
            trainers.append(start(context, run("live")))
            assert wait_for(lambda: last_step(tmp_path / "live") >= goal, trainers[-1])
            assert not (corpus / "_COMPLETE").exists()
            if len(writer.shards) == 1:
                trainers[0].kill()
                assert finish(trainers[0]) == -signal.SIGKILL

    publish = ShardWriter._publish
    monkeypatch.setattr(ShardWriter, "_publish", train_meanwhile)
    made(corpus, projects(tmp_path, 2, files=2), max_tokens=400, shard_rows=10, shuffle_window=10)
    assert len(list(corpus.glob("*.parquet"))) > 3
    assert finish(trainers[1]) == 0
    assert finish(start(context, run("late"))) == 0
    assert len(rows(tmp_path / "late")) > 20
    assert_same_run(tmp_path / "live", tmp_path / "late")
