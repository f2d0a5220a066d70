"""How many steps of a run fit into a time on this machine: a short trial of the run's own step."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import torch

from weft.data import Batch
from weft.model import Decoder
from weft.train.config import RunConfig
from weft.train.device import choose_device, threads
from weft.train.micro import micro_batches
from weft.train.optim import Optimizers, clip_gradients, gradient_norm
from weft.train.precision import choose_precision

_WARM_UPS = 2


def seconds_a_step(config: RunConfig, *, counted: int = 3) -> float:
    """Median time of a training step of this run here, on random tokens; nothing is read or written.

    Args:
        config: the run; its vocabulary is `data.vocab_size`, that of the tokenizer a run trains for itself.
        counted: steps that are timed, after two that warm up.
    """
    device = choose_device(config.train.device)
    precision = choose_precision(config.train.precision, device)
    rows, context = config.train.batch_size, config.train.context
    shape = replace(config.model, vocab_size=config.data.vocab_size, max_position_embeddings=context)
    tokens = torch.randint(shape.vocab_size, (1, rows * context))
    batch = Batch(
        tokens=tokens,
        labels=tokens,
        positions=torch.arange(context).repeat(rows)[None],
        cu_seqlens=torch.arange(0, rows * context + 1, context, dtype=torch.int32),
        ids=[],
        hash="",
        num_bytes=0,
    )
    taken = []
    with threads(config.train.threads):
        model = Decoder(shape).to(device)
        optimizers = Optimizers(model, config.optimizer)
        for _ in range(_WARM_UPS + counted):
            began = time.perf_counter()
            for part in micro_batches(batch, config.train.accumulation, device):
                with precision.autocast(device):
                    loss, _ = model(part.tokens, part.labels, positions=part.positions, cu_seqlens=part.cu_seqlens)
                (loss / tokens.numel()).backward()
            norm = gradient_norm(optimizers.parameters)
            clip_gradients(optimizers.parameters, norm, config.optimizer.clip_norm)
            for _ in optimizers.step():
                pass
            optimizers.zero_grad()
            norm.item()  # waits for the device
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[_WARM_UPS:])
