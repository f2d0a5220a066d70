"""A report with the shape of a real one, small enough to check by hand: 2 sparse layers, 40 tokens, blocks of 4."""

import numpy as np
import pytest

from weft.inspect import LayerView, Report, SparseView

TOKENS, GROUPS, HEADS, BLOCK, SLOTS, WINDOW = 40, 2, 4, 4, 4, 6


def sparse_view(seed: int) -> SparseView:
    random = np.random.default_rng(seed)
    columns = -(-TOKENS // BLOCK)
    blocks = np.full((TOKENS, GROUPS, SLOTS), -1, np.int32)
    importance = np.zeros((TOKENS, GROUPS, columns), np.float32)
    for token in range(TOKENS):
        own = token // BLOCK
        for group in range(GROUPS):
            shares = random.dirichlet(np.ones(own + 1))
            importance[token, group, : own + 1] = shares
            forced = {0, own, max(own - 1, 0)}
            free = [block for block in np.argsort(-shares) if block not in forced][: SLOTS - len(forced)]
            chosen = sorted(forced | {int(block) for block in free})
            blocks[token, group, : len(chosen)] = chosen
    gates = random.dirichlet([1.0, 2.0, 3.0], (TOKENS, HEADS)).astype(np.float32)
    return SparseView(BLOCK, SLOTS, WINDOW, 2, 1, blocks, importance, gates)


@pytest.fixture
def report() -> Report:
    layers = []
    for index in range(2):
        view = sparse_view(index)
        layers.append(LayerView(index, "nsa", view.reads().sum(axis=2).mean(axis=1), view))
    layers.append(LayerView(2, "mla", np.arange(1.0, TOKENS + 1)))
    pieces = ("</script>", "<b>&", "\n", "é", *(f" w{i}" for i in range(TOKENS - 4)))
    return Report("runs/x <i>", (("weights", "step 3 & more"),), pieces, tuple(layers))
