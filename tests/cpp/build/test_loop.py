"""The order in which the tasks of a build are handed to its engine."""

from tests.cpp.trees import source, write_tree
from weft.cpp.build import run
from weft.cpp.engines.process import ProcessEngine

from .corpora import made, shards


class _Recorder(ProcessEngine):
    """One process that keeps as much submitted as a pool of two would."""

    slots = 4

    def __init__(self):
        super().__init__()
        self.labels = []

    def submit(self, task):
        self.labels.append(task.label)
        super().submit(task)


def test_once_all_is_scanned_the_largest_project_goes_first(tmp_path, monkeypatch):
    sizes = {"a": 3, "b": 9, "c": 1, "d": 6, "e": 12, "f": 2}
    roots = [
        write_tree(tmp_path / name, {f"f{n}.cpp": source(100 * ord(name) + n, 4) for n in range(size)})
        for name, size in sizes.items()
    ]
    engine = _Recorder()
    with monkeypatch.context() as patch:
        patch.setattr(run, "open_engine", lambda *_, **__: engine)
        made(tmp_path / "out", roots)
    scans = [label.split(":")[0] for label in engine.labels if "files" in label]
    documents = [label.split(":")[0] for label in engine.labels if "documents" in label]
    assert sorted(scans) == sorted(documents) == sorted(sizes)
    # four slots: when the last scan is in, the first projects may be under way
    assert engine.labels.index(f"{documents[0]}: documents") > engine.labels.index(
        next(label for label in engine.labels if label.startswith(f"{scans[-1]}:"))
    )
    ready = documents[len(documents) - 3 :]
    assert [sizes[name] for name in ready] == sorted((sizes[name] for name in ready), reverse=True)
    made(tmp_path / "plain", roots)
    assert shards(tmp_path / "out") == shards(tmp_path / "plain")
