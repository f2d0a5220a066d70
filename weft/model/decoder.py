"""The language model: embedding, layers of attention and MLP around one residual stream, output head.

Legend: B rows, T tokens, D hidden_size, V vocab_size. Parameters carry the names of Hugging Face's Llama.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from weft import ops
from weft.attention.build import build_attention
from weft.attention.config import AttentionConfig
from weft.attention.protocol import AttentionCache, AttentionModule
from weft.model.cache import DecoderCache
from weft.model.config import ModelConfig
from weft.model.init import init_weights
from weft.model.mlp import build_mlp
from weft.model.ngram import NgramEmbedding, TokenHistory, preceding
from weft.model.norm import build_norm
from weft.model.weights import load_weights, read_config, save

Device: TypeAlias = torch.device | str


class DecoderLayer(nn.Module):
    """Pre-norm layer: `x + attention(norm(x))`, then `x + mlp(norm(x))`.

    Args:
        config: the model.
        attention: this layer's attention.
    """

    def __init__(self, config: ModelConfig, attention: AttentionConfig) -> None:
        super().__init__()
        self.input_layernorm = build_norm(config)
        self.self_attn = build_attention(attention, config.hidden_size)
        self.post_attention_layernorm = build_norm(config)
        self.mlp = build_mlp(config)
        self.recompute_attention = config.activation_checkpoint in ("attention", "both")
        self.recompute_mlp = config.activation_checkpoint in ("mlp", "both")

    def forward(self, x: torch.Tensor, cache: Any = None, **where: Any) -> torch.Tensor:
        """(B, T, D) -> (B, T, D); `where` is the attention's positions, cu_seqlens and lengths."""
        training = torch.is_grad_enabled() and cache is None
        if self.recompute_attention and training:
            x = x + checkpoint(self._attend, x, None, use_reentrant=False, **where)
        else:
            x = x + self._attend(x, cache, **where)
        if self.recompute_mlp and training:
            return x + checkpoint(self._transform, x, use_reentrant=False)
        return x + self._transform(x)

    def new_cache(
        self,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype,
        device: Device,
        **room: Any,
    ) -> AttentionCache:
        """An empty cache of its attention; `room` as there."""
        return cast("AttentionModule", self.self_attn).new_cache(batch_size, max_length, dtype, device, **room)

    def _attend(self, x: torch.Tensor, cache: Any, **where: Any) -> torch.Tensor:
        return self.self_attn(self.input_layernorm(x), cache=cache, **where)

    def _transform(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """A causal language model of `config`, its weights drawn from torch's global generator.

    Args:
        config: the model. Its problems, if it has any, are raised as one ValueError.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        config.check()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_ngrams = (
            NgramEmbedding(config.ngram_rows, config.hidden_size, config.ngram_orders, config.ngram_size)
            if config.ngram_rows
            else None
        )
        self.embed_norm = build_norm(config) if config.embedding_norm else None
        self.layers = nn.ModuleList(DecoderLayer(config, attention) for attention in config.layer_attention())
        self.norm = build_norm(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie()
        init_weights(self)

    @property
    def blocks(self) -> list[DecoderLayer]:
        """The layers, first to last."""
        return cast("list[DecoderLayer]", list(self.layers))

    def tie(self) -> None:
        """Lets the head use the embedding's matrix, if the configuration says so; again after either is replaced."""
        if self.config.tie_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    def forward(
        self,
        tokens: torch.Tensor,
        labels: torch.Tensor | None = None,
        *,
        positions: torch.Tensor | None = None,
        cache: DecoderCache | None = None,
        cu_seqlens: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> Any:
        """Logits, or with labels the loss; both in one place so that wrappers (DDP, FSDP, compile) see every use.

        Args:
            tokens: (B, T) int64.
            labels: (B, T) int64, the token that should follow each one; -100 is not counted.
            positions: (B, T) int64 within the document; none: counted from the cache's lengths, the documents' starts
                or 0.
            cache: from `new_cache`; `tokens` continue its rows, and it is updated in place.
            cu_seqlens: (N + 1,) int32 starts of documents that lie end to end in one row (B is 1), with the end behind.
            lengths: (B,) int64, with a cache: how many tokens of each row are real; the rest, to its right, is padding.

        Returns:
            Logits (B, T, V) in at least float32; with labels: (sum of the losses in nats, number of labels counted).
        """
        hidden = self.hidden_states(tokens, positions=positions, cache=cache, cu_seqlens=cu_seqlens, lengths=lengths)
        if labels is None:
            return self.logits(hidden)
        return self.loss_sum(hidden, labels), (labels != -100).sum()

    def hidden_states(
        self,
        tokens: torch.Tensor,
        *,
        positions: torch.Tensor | None = None,
        cache: DecoderCache | None = None,
        cu_seqlens: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, T, D) after the last norm; arguments as in `forward`."""
        if tokens.ndim != 2 or tokens.dtype != torch.int64:
            raise ValueError(f"tokens must be int64 of shape (B, T), got {tokens.dtype} of shape {list(tokens.shape)}")
        # A device is waited for once, not in each layer.
        counts = None if lengths is None else tuple(lengths.tolist())
        if cache is not None:
            cache.require_room(tokens.shape[1], counts)
        if positions is None:
            positions = default_positions(tokens, cache=cache, cu_seqlens=cu_seqlens)
        where = {"positions": positions, "cu_seqlens": cu_seqlens, "lengths": counts}
        x = self._embed(tokens, positions, cache, lengths)
        for index, layer in enumerate(self.blocks):
            x = layer(x, None if cache is None else cache.layers[index], **where)
        return self.norm(x)

    def _embed(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        cache: DecoderCache | None,
        lengths: torch.Tensor | None,
    ) -> torch.Tensor:
        x = self.embed_tokens(tokens)
        if self.embed_ngrams is not None:
            reach = self.embed_ngrams.reach
            if cache is None or cache.history is None:
                grams = preceding(tokens, positions, reach)
            else:
                grams = cache.history.extend(tokens, positions, reach, lengths)
            x = x + self.embed_ngrams(grams)
        return x if self.embed_norm is None else self.embed_norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(..., D) from `hidden_states` -> (..., V) in at least float32."""
        logits = self.lm_head(hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        cap = self.config.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def loss_sum(self, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Sum over the counted labels of the cross entropy in nats, without the whole table of logits.

        Args:
            hidden: (B, T, D).
            labels: (B, T) int64; -100 is not counted.
        """
        return ops.linear_cross_entropy(
            hidden.flatten(0, 1),
            self.lm_head.weight,
            labels.flatten(),
            softcap=self.config.logit_softcap,
            reduction="sum",
        )

    def loss(self, tokens: torch.Tensor, labels: torch.Tensor, **where: Any) -> torch.Tensor:
        """Mean cross entropy in nats over the counted labels (0 when there is none); `where` as in `forward`."""
        total, count = self(tokens, labels, **where)
        return total / count.clamp(min=1)

    def new_cache(
        self,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: Device | None = None,
        *,
        rollback: int = 0,
        page_size: int | None = None,
        num_pages: int | None = None,
    ) -> DecoderCache:
        """Empty caches for `batch_size` rows of at most `max_length` tokens.

        Args:
            batch_size: rows.
            max_length: tokens that fit in a row.
            dtype: of what is kept; none: the weights'.
            device: where; none: that of the weights.
            rollback: tokens by which any row can be truncated later, as speculative decoding does.
            page_size: tokens in a page, a multiple of every layer's select_block: rows take pages as they grow and
                share them when they are repeated. None: all of the memory at once.
            num_pages: pages that each layer has; none: as many as the rows need.
        """
        weight = self.embed_tokens.weight
        dtype, device = dtype or weight.dtype, device or weight.device
        room = {"rollback": rollback, "page_size": page_size, "num_pages": num_pages}
        layers = [layer.new_cache(batch_size, max_length, dtype, device, **room) for layer in self.blocks]
        history = None if self.embed_ngrams is None else TokenHistory(batch_size, max_length, device)
        return DecoderCache(layers, history)

    def num_parameters(self, *, trainable: bool = False, embeddings: bool = True) -> int:
        """Parameters, a shared one counted once.

        Args:
            trainable: only those that get a gradient.
            embeddings: the embedding and an untied head as well.
        """
        tables = {id(self.embed_tokens.weight), id(self.lm_head.weight)}
        if self.embed_ngrams is not None:
            tables |= {id(parameter) for parameter in self.embed_ngrams.parameters()}
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if (parameter.requires_grad or not trainable) and (embeddings or id(parameter) not in tables)
        )

    def save(self, folder: str | Path) -> None:
        """Writes `model.safetensors` and `config.json` into the folder, which is made if needed."""
        save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, device: Device = "cpu", dtype: torch.dtype | None = None) -> Decoder:
        """The model that `save` wrote.

        Args:
            folder: holds `model.safetensors` and `config.json`.
            device: where its weights go.
            dtype: of the weights; none: as saved.
        """
        with torch.device("meta"):  # no time, memory or random numbers spent on weights that are replaced
            model = cls(read_config(Path(folder)))
        model.to_empty(device=device)
        load_weights(model, Path(folder), dtype)
        return model


def default_positions(
    tokens: torch.Tensor, *, cache: DecoderCache | None = None, cu_seqlens: torch.Tensor | None = None
) -> torch.Tensor:
    """(B, T) int64: each token's place in its document, going on where the cache ends, restarting with a document."""
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    if cache is not None:
        return cache.lengths[:, None] + steps
    if cu_seqlens is not None:
        starts = cu_seqlens.to(torch.int64)
        document = torch.searchsorted(starts, steps, right=True) - 1
        return (steps - starts[document])[None]
    return steps.expand(tokens.shape)
