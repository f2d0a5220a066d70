"""What a general compressor makes of the same bytes: the yardstick beside a model's bits per byte."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Compression:
    """Args:
    num_bytes: bytes that went in.
    compressed_bytes: bytes that came out, headers included.
    """

    num_bytes: int
    compressed_bytes: int

    @property
    def bits_per_byte(self) -> float:
        """Compressed bits for each byte that went in."""
        return 8 * self.compressed_bytes / self.num_bytes


def xz(texts: Iterable[str]) -> Compression:
    """`cat FILES | xz -9` over these texts in UTF-8, end to end and in this order.

    Unlike a model that meets each document anew, xz may look back into earlier documents, 64 MiB far.

    Raises:
        ValueError: no bytes at all.
    """
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, preset=9)
    num_bytes = compressed = 0
    for text in texts:
        data = text.encode()
        num_bytes += len(data)
        compressed += len(compressor.compress(data))
    compressed += len(compressor.flush())
    if num_bytes == 0:
        raise ValueError("there is nothing to compress: the documents hold no bytes")
    return Compression(num_bytes, compressed)
