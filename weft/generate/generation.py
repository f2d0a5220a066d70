"""Prompts -> new tokens: one prefill for all of them, then a token a row and step, over the model's caches."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence

import torch

from weft.generate.sampling import Sampler
from weft.model.cache import DecoderCache
from weft.model.decoder import Decoder

_log = logging.getLogger(__name__)


def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    stop_ids: Collection[int] = (),
    page_size: int | None = None,
) -> list[list[int]]:
    """The new tokens of each prompt, without the prompt and without the token that stopped it.

    Args:
        model: the model; its caches take the weights' dtype and device.
        prompts: at least one token each; lengths may differ.
        max_new_tokens: at most so many for each prompt.
        temperature: divides the logits; 0 is greedy.
        top_k: draw among the k likeliest tokens; none: all.
        top_p: draw among the likeliest tokens that together have this probability; 1: all.
        seed: of all rows, or one for each. A row's tokens depend on its own seed and prompt only, not on its batch.
        stop_ids: tokens that end a row.
        page_size: tokens in a page of the caches (`Decoder.new_cache`): memory then grows with the text, rows of one
            prompt share it, and a row that ends gives its own back. None: room for all of it at once.
    """
    tokens: list[list[int]] = [[] for _ in prompts]
    steps = stream(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop_ids=stop_ids,
        page_size=page_size,
    )
    for step in steps:
        for row, token in zip(tokens, step, strict=True):
            if token is not None:
                row.append(token)
    return tokens


def stream(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    stop_ids: Collection[int] = (),
    page_size: int | None = None,
) -> Iterator[list[int | None]]:
    """Like `generate`, step by step: each step is the next token of each row, None for a row that has ended.

    Raises:
        ValueError: at once, for prompts or settings that make no sense.
    """
    seeds = [seed] * len(prompts) if isinstance(seed, int) else list(seed)
    _check(model, prompts, max_new_tokens, seeds)
    if page_size is not None:
        model.new_cache(1, 1, page_size=page_size)  # refuses what does not fit the layers, before the first step
    sampler = Sampler(temperature=temperature, top_k=top_k, top_p=top_p, seeds=seeds)
    return _steps(model, prompts, sampler, max_new_tokens=max_new_tokens, stop_ids=stop_ids, page_size=page_size)


@torch.inference_mode()
def _steps(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    sampler: Sampler,
    *,
    max_new_tokens: int,
    stop_ids: Collection[int],
    page_size: int | None,
) -> Iterator[list[int | None]]:
    if not prompts or max_new_tokens == 0:
        return
    device = model.embed_tokens.weight.device
    longest = max(map(len, prompts))
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    cache = model.new_cache(len(distinct), longest + max_new_tokens, page_size=page_size)
    logits = _prefill(model, distinct, cache, device)
    if len(distinct) < len(prompts):  # each prompt is read once; in pages its rows share what it left
        rows = torch.tensor([distinct.index(tuple(prompt)) for prompt in prompts], device=device)
        cache.reorder(rows)
        logits = logits[rows]
    running = [True] * len(prompts)
    real: torch.Tensor | None = None  # (B,) 1 for rows that go on, where the others gave their pages back
    for step in range(max_new_tokens):
        drawn = sampler.draw(logits)
        tokens = drawn.tolist()
        before, running = running, [on and token not in stop_ids for on, token in zip(running, tokens, strict=True)]
        if not any(running):
            return
        if page_size is not None and running != before:
            real = torch.tensor(running, dtype=torch.int64, device=device)
            cache.truncate(cache.lengths * real)
        yield [token if on else None for token, on in zip(tokens, running, strict=True)]
        if step + 1 < max_new_tokens:
            # Without pages the ended rows idle along.
            logits = model(drawn[:, None].to(device), cache=cache, lengths=real)[:, -1]


def _prefill(
    model: Decoder, prompts: Sequence[Sequence[int]], cache: DecoderCache, device: torch.device
) -> torch.Tensor:
    """Fills the cache with prompts of unequal length and returns the logits (B, V) behind each one's last token."""
    sizes = [len(prompt) for prompt in prompts]
    tokens = torch.zeros(len(prompts), max(sizes), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = torch.tensor(prompt)
    lengths = torch.tensor(sizes, device=device)
    ragged = lengths if min(sizes) < max(sizes) else None
    hidden = model.hidden_states(tokens.to(device), cache=cache, lengths=ragged)
    last = hidden[torch.arange(len(prompts), device=device), lengths - 1]  # (B, D): no logits for the rest
    return model.logits(last)


def _check(model: Decoder, prompts: Sequence[Sequence[int]], max_new_tokens: int, seeds: Sequence[int]) -> None:
    vocab_size, context = model.config.vocab_size, model.config.max_position_embeddings
    problems = []
    if max_new_tokens < 0:
        problems.append(f"max_new_tokens is {max_new_tokens}; it must not be negative")
    if len(seeds) != len(prompts):
        problems.append(f"there are {len(seeds)} seeds for {len(prompts)} prompts; give one, or one for each")
    for row, prompt in enumerate(prompts):
        if not prompt:
            problems.append(f"prompt {row} is empty; give it at least the tokenizer's beginning-of-text token")
        elif not 0 <= min(prompt) <= max(prompt) < vocab_size:
            problems.append(
                f"prompt {row} holds tokens outside the vocabulary of {vocab_size}: not the model's tokenizer"
            )
    if problems:
        raise ValueError("; ".join(problems))
    longest = max(map(len, prompts), default=0) + max_new_tokens
    if longest > context:
        _log.warning("up to %d tokens, but the model is meant for %d: expect worse text beyond", longest, context)
