"""The specification again, in loops over Python numbers and nothing else: what every backend is measured against.

Shares no code with Weft. Arrays are numpy float64; a `Place` says where a query stands.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Place:
    """Query at row b, index i: it stands at token t of its document, which begins at key `token` and entry `block`."""

    b: int
    i: int
    t: int
    token: int
    block: int
    length: int  # tokens of the document that exist


def places(batch, queries, tokens, l_cmp, d, query_offset=0, kv_lengths=None, cu_seqlens=None):
    if cu_seqlens is None:
        for b in range(batch):
            offset = query_offset if np.isscalar(query_offset) else query_offset[b]
            length = tokens if kv_lengths is None else kv_lengths[b]
            for i in range(queries):
                yield Place(b, i, min(int(offset) + i, int(length) - 1), 0, 0, int(length))
        return
    block = 0
    for start, end in itertools.pairwise(cu_seqlens):
        for i in range(start, end):
            yield Place(0, i, i - start, start, block, end - start)
        block += sum(1 for first in range(0, end - start, d) if first + l_cmp <= end - start)


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def softmax(scores):
    """(probabilities, log of the sum of exponentials); nothing and -inf for no scores."""
    if not scores:
        return [], -math.inf
    top = max(scores)
    total = sum(math.exp(s - top) for s in scores)
    return [math.exp(s - top) / total for s in scores], top + math.log(total)


def attend(query, keys, values, scale, width):
    p, lse = softmax([dot(query, key) * scale for key in keys])
    out = [0.0] * width
    for weight, value in zip(p, values, strict=True):
        for c in range(width):
            out[c] += weight * float(value[c])
    return out, lse, p


def visible_blocks(t, l_cmp, d):
    """Blocks whose last token is at or before t."""
    count = 0
    while count * d + l_cmp - 1 <= t:
        count += 1
    return count


def compressed(q, k, v, where, l_cmp, d, scale):
    heads, groups, width = q.shape[2], k.shape[2], v.shape[3]
    out, lse = np.zeros((*q.shape[:3], width)), np.zeros(q.shape[:3])
    for x in where:
        for h in range(heads):
            g = h // (heads // groups)
            seen = range(x.block, x.block + visible_blocks(x.t, l_cmp, d))
            out[x.b, x.i, h], lse[x.b, x.i, h], _ = attend(
                q[x.b, x.i, h], [k[x.b, s, g] for s in seen], [v[x.b, s, g] for s in seen], scale, width
            )
    return out, lse


def importance(q, k, x, g, l_cmp, d, l_sel, scale):
    """p_slc of group g for the query at x: probability of each compressed block, shared out token by token."""
    heads, groups = q.shape[2], k.shape[2]
    scores = [0.0] * (x.t // l_sel + 1)
    for h in range(g * heads // groups, (g + 1) * heads // groups):
        count = visible_blocks(x.t, l_cmp, d)
        p, _ = softmax([dot(q[x.b, x.i, h], k[x.b, x.block + i, g]) * scale for i in range(count)])
        for i in range(count):
            for token in range(i * d, i * d + l_cmp):
                scores[token // l_sel] += p[i] / l_cmp
    return scores


def selection(q, k, where, l_cmp, d, l_sel, n, scale):
    groups = k.shape[2]
    lists = np.full((*q.shape[:2], groups, n), -1, dtype=np.int32)
    for x in where:
        for g in range(groups):
            if x.t < 0:
                continue
            scores = importance(q, k, x, g, l_cmp, d, l_sel, scale)
            current = x.t // l_sel
            chosen = {j for j in (0, current - 1, current) if j >= 0}
            rest = sorted((j for j in range(current + 1) if j not in chosen), key=lambda j: (-scores[j], j))
            for j in rest:
                if len(chosen) < n:
                    chosen.add(j)
            for slot, j in enumerate(sorted(chosen)):
                lists[x.b, x.i, g, slot] = j
    return lists


def over_tokens(q, k, v, where, scale, visible):
    """Attention over the document's tokens p for which visible(x, g, p)."""
    heads, groups, width = q.shape[2], k.shape[2], v.shape[3]
    out = np.zeros((*q.shape[:3], width))
    for x in where:
        for h in range(heads):
            g = h // (heads // groups)
            seen = [x.token + p for p in range(x.length) if p <= x.t and visible(x, g, p)]
            out[x.b, x.i, h], _, _ = attend(
                q[x.b, x.i, h], [k[x.b, s, g] for s in seen], [v[x.b, s, g] for s in seen], scale, width
            )
    return out


def selected(q, k, v, lists, where, l_sel, scale):
    return over_tokens(q, k, v, where, scale, lambda x, g, p: p // l_sel in {j for j in lists[x.b, x.i, g] if j >= 0})


def sliding(q, k, v, where, window, sinks, scale):
    return over_tokens(q, k, v, where, scale, lambda x, g, p: p >= x.t - window + 1 or p < sinks)


def full(q, k, v, where, scale):
    return over_tokens(q, k, v, where, scale, lambda x, g, p: True)


def native_sparse(tensors, where, l_cmp, d, l_sel, n, window, scale):
    q, gates = tensors["q"], tensors["gates"]
    lists = selection(q, tensors["k_cmp"], where, l_cmp, d, l_sel, n, scale)
    branches = (
        compressed(q, tensors["k_cmp"], tensors["v_cmp"], where, l_cmp, d, scale)[0],
        selected(q, tensors["k_sel"], tensors["v_sel"], lists, where, l_sel, scale),
        sliding(q, tensors["k_win"], tensors["v_win"], where, window, 0, scale),
    )
    out = np.zeros_like(branches[0])
    for index in np.ndindex(out.shape):
        for c in range(3):
            out[index] += gates[index[:3]][c] * branches[c][index]
    return out, lists


def cross_entropy(hidden, weight, labels, ignore_index, softcap):
    losses = []
    for row, label in zip(hidden, labels, strict=True):
        logits = [dot(row, column) for column in weight]
        if softcap is not None:
            logits = [softcap * math.tanh(z / softcap) for z in logits]
        losses.append(0.0 if label == ignore_index else softmax(logits)[1] - logits[label])
    return losses
