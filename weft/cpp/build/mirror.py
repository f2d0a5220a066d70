"""A copy of the shards where `--mirror` says, any place that fsspec knows: for readers who share no disk."""

from __future__ import annotations

from pathlib import Path


class Mirror:
    """Copies whole files; like the folder itself it shows a file under its name only when it is whole.

    Args:
        url: Of a folder, such as s3://bucket/corpus; made if need be.

    Raises:
        ImportError: fsspec, or what it needs for this kind of place, is not installed.
        ValueError: the URL names no kind of place that fsspec knows.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise ImportError("--mirror needs fsspec: pip install 'weft-lm[cloud]' (and s3fs, gcsfs, ...)") from error
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except ValueError as error:
            raise ValueError(f"--mirror {url}: {error}") from error
        self._root = root.rstrip("/")

    def copy(self, path: Path, name: str) -> None:
        """Have this file there as `name`, unless one of its size is there already.

        Args:
            path: A file that does not change any more.
            name: Below the folder, with forward slashes.
        """
        target = f"{self._root}/{name}"
        if not self._files.exists(target) or self._files.size(target) != path.stat().st_size:
            self.replace(path, name)

    def replace(self, path: Path, name: str) -> None:
        """Have this file there as `name`, whatever was there before."""
        folder, _, last = f"{self._root}/{name}".rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.tmp-{last}"
        self._files.put_file(str(path), temporary)
        self._files.mv(temporary, f"{folder}/{last}")
