"""From logits to the next token of each row: greedy, or drawn with temperature, top-k and top-p.

A row draws from its own stream of random numbers, one number a token: what it draws depends on its seed and its logits,
not on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class Sampler:
    """Draws the next token of each row.

    Args:
        temperature: divides the logits; 0 takes the likeliest token (the lowest index among equals) and draws nothing.
        top_k: only the k likeliest tokens can be drawn; none: all.
        top_p: only the smallest set of likeliest tokens that together have at least this probability (Holtzman et al.
            2019), after temperature and top_k; 1: all.
        seeds: one for each row, 0 to 2^63 - 1.
    """

    def __init__(self, *, temperature: float, top_k: int | None, top_p: float, seeds: Sequence[int]) -> None:
        problems = []
        if not 0 <= temperature < float("inf"):
            problems.append(f"temperature is {temperature}; it must be 0 (greedy) or positive")
        if top_k is not None and top_k < 1:
            problems.append(f"top_k is {top_k}; it must be at least 1, or none for all tokens")
        if not 0 < top_p <= 1:
            problems.append(f"top_p is {top_p}; it must be above 0 and at most 1")
        problems += [f"seed is {seed}; it must lie in 0 to 2^63 - 1" for seed in seeds if not 0 <= seed < 2**63]
        if problems:
            raise ValueError("; ".join(problems))
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, V) logits -> (B,) int64 tokens. Each call takes one number from each row's stream.

        Raises:
            ValueError: logits that are NaN or +inf, from which nothing can be drawn.
        """
        if logits.isnan().any() or logits.isposinf().any():
            raise ValueError("the model's logits hold NaN or infinity; its weights or its backend are broken")
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        # float64: a cumulative sum over a large vocabulary in float32 can end below the number drawn.
        ordered, tokens = (logits.double() / self.temperature).sort(dim=-1, descending=True, stable=True)
        probabilities = kept(ordered.softmax(dim=-1), top_k=self.top_k, top_p=self.top_p)
        cumulative = probabilities.cumsum(dim=-1)
        numbers = [torch.rand(1, generator=stream, dtype=torch.float64) for stream in self._streams]
        threshold = torch.stack(numbers).to(logits.device) * cumulative[:, -1:]
        # The first place whose sum passes the number. Numbers lie in [0, 1), so it is a place of positive probability.
        place = torch.searchsorted(cumulative, threshold, right=True)
        return tokens.gather(1, place.clamp(max=tokens.shape[1] - 1)).squeeze(1)


def kept(probabilities: torch.Tensor, *, top_k: int | None, top_p: float) -> torch.Tensor:
    """Zeroes what top-k and top-p leave out; not normalised again.

    Args:
        probabilities: (B, V), descending in each row.
        top_k: see `Sampler`.
        top_p: see `Sampler`; a share of what top-k kept.
    """
    if top_k is not None:
        rank = torch.arange(probabilities.shape[-1], device=probabilities.device)
        probabilities = probabilities.masked_fill(rank >= top_k, 0.0)
    if top_p < 1:
        mass = probabilities.sum(dim=-1, keepdim=True)
        before = probabilities.cumsum(dim=-1) - probabilities  # mass of the likelier ones; 0 for the first, always kept
        probabilities = probabilities.masked_fill(before >= top_p * mass, 0.0)
    return probabilities
