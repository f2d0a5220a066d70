"""A folder that another program fills while we read, in a time that only passes when somebody sleeps."""

from pathlib import Path

from weft.data import Adoption, ByteTokenizer, FollowDataset, ShardFolder

from .conftest import write_parquet


class World:
    """Acts at given times; its clock stands still but for `sleep`.

    Args:
        folder: Where the shards appear.
        script: (second, action without arguments), in order.
    """

    def __init__(self, folder, script=()):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.now = 0.0
        self._script = list(script)
        self._last = 0.0
        self._act()

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        assert self._script or self.now < self._last + 5, "somebody waits although nothing will happen any more"
        self._act()

    def finish(self):
        """Let everything happen."""
        while self._script:
            self._script.pop(0)[1]()

    def _act(self):
        while self._script and self._script[0][0] <= self.now:
            self._script.pop(0)[1]()
            self._last = self.now

    def shard(self, name, texts, **settings):
        """The action that makes a shard appear."""
        return lambda: write_parquet(self.folder / name, texts, **settings)

    def complete(self):
        (self.folder / "_COMPLETE").touch()

    def adoption(self, journal, **settings):
        return Adoption(
            ShardFolder(self.folder), journal, poll_seconds=1.0, clock=self.clock, sleep=self.sleep, **settings
        )

    def dataset(self, journal, *, context=16, modulus=None, poll=lambda: None, **settings):
        adoption = self.adoption(journal, poll=poll)
        return FollowDataset(adoption, ByteTokenizer(), context, modulus=modulus, **settings)


def texts(shard, count=12):
    return [f"shard {shard} text {number} " + "x" * (number * 5 % 23) for number in range(count)]
