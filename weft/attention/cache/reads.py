"""Counting what an attention read, from the very positions and lists that it was given.

``queries`` are positions (B, T) int64 of the real queries, -1 for padding, which reads nothing. Each count is a tensor
without dimensions, per key/value group and summed over rows and queries; nothing here waits for a device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def read_tokens(queries: Tensor) -> Tensor:
    """By dense attention: every token at or before the query."""
    return (queries + 1).sum()


def read_window(key_positions: Tensor, queries: Tensor, *, window: int, sinks: int = 0) -> Tensor:
    """By a sliding window over keys at ``key_positions`` (B, n), -1 in empty slots."""
    keys = key_positions.sort(dim=1).values

    def up_to(position: Tensor) -> Tensor:
        return torch.searchsorted(keys, position.clamp(min=-1).contiguous(), right=True)

    behind = queries - window
    in_window = up_to(queries) - up_to(behind)
    in_sinks = up_to(behind.clamp(max=sinks - 1)) - up_to(torch.full_like(queries, -1))
    return (in_window + in_sinks).sum()


def read_entries(last_tokens: Tensor, queries: Tensor) -> Tensor:
    """By attention over compressed entries whose last tokens stand at ``last_tokens`` (B, E), -1 where none is."""
    entries = last_tokens.sort(dim=1).values
    none = torch.full_like(queries, -1)
    return (torch.searchsorted(entries, queries, right=True) - torch.searchsorted(entries, none, right=True)).sum()


def read_blocks(block_indices: Tensor, queries: Tensor, *, block: int) -> Tensor:
    """By attention over the tokens of chosen blocks (B, T, G, n), -1 in unused slots, at or before the query."""
    first = block_indices.long() * block
    tokens = torch.minimum(first + block, queries[:, :, None, None] + 1) - first
    read = tokens.clamp(min=0).where(block_indices >= 0, 0).sum(dim=-1)  # (B, T, G)
    return read.amax(dim=-1).sum()  # all groups read equally many
