"""A training step of whole models, forward, backward and optimizer: one decoder under several patterns of attention.

All patterns take the same row: their times are at equal tokens. Their losses on it say that they learn, not how well;
for that there is `weft train`.
"""

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from weft.attention import AttentionConfig, FullConfig, NativeSparseConfig, SlidingConfig
from weft.attention.layer import AttentionLayer
from weft.bench.floors import Floors, measure_floors
from weft.bench.machine import describe_machine
from weft.bench.measure import Tell, milliseconds, silent
from weft.bench.memory import mebibytes, peak_bytes
from weft.bench.timing import Times, time_in_turn
from weft.model import Decoder, ModelConfig
from weft.model.describe import describe

PATTERNS = ("full", "swa", "nsa", "swa nsa")
"""By the names of `ModelConfig`; "full" is what the others are compared with."""

LOSS = "next token: mean cross entropy in nats over all tokens of the row"

BACKWARD = 2
"""FLOPs of a backward pass of a model in those of its forward pass: each product has two gradients."""

STEPS = 3
"""Steps on the row before anything is timed: the loss must fall."""


@dataclass(frozen=True)
class TrainShape:
    """A small decoder.

    Args:
        hidden_size: its width.
        num_layers: over which a pattern repeats.
        num_attention_heads: H.
        num_key_value_heads: G.
        head_dim: Dk and Dv.
        vocab_size: of the embedding and the head.
    """

    hidden_size: int = 512
    num_layers: int = 2
    num_attention_heads: int = 8
    num_key_value_heads: int = 2
    head_dim: int = 64
    vocab_size: int = 8192


def measure_train(
    lengths: Sequence[int],
    *,
    shape: TrainShape,
    dtype: torch.dtype,
    device: str,
    patterns: Sequence[str] = PATTERNS,
    repeats: int = 5,
    budget: float | None = 60.0,
    floors: Floors | None = None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Times a step over one row at each length.

    Args:
        lengths: tokens of the row.
        dtype: that autocast computes in; float32 is without autocast.
        patterns: of attention, by the names of `ModelConfig`.
        floors: of this machine and dtype; None measures them.

    Returns:
        What `weft bench train` writes: settings, machine, floors, and one of `entries` for each length.

    Raises:
        RuntimeError: a model does not learn its row by heart in a few steps.
    """
    described = describe_machine(device)
    floors = floors or measure_floors(dtype, device)
    entries = []
    for length in lengths:
        steps = {pattern: TrainStep(pattern, shape, length, dtype, device) for pattern in patterns}
        losses = {pattern: step.learn() for pattern, step in steps.items()}
        peaks = {pattern: peak_bytes(step, device) for pattern, step in steps.items()}
        times = time_in_turn(dict(steps), repeats=repeats, warmups=1, device=device, budget=budget)
        contenders = {
            pattern: _contender(step, times[pattern], times.get("full"), floors)
            | {"losses": losses[pattern], "peak_mib": mebibytes(peaks[pattern])}
            for pattern, step in steps.items()
        }
        entries.append({"length": length, "contenders": contenders})
        tell(f"T = {length}: " + ", ".join(f"{name} {one['median_ms']:.0f} ms" for name, one in contenders.items()))
        del steps
        gc.collect()
    return {
        **described,
        "shape": asdict(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "loss": LOSS,
        "optimizer": "AdamW",
        "batch_size": 1,
        "repeats": repeats,
        "floors": floors.as_json(),
        "entries": entries,
    }


def _contender(step: "TrainStep", times: Times, full: Times | None, floors: Floors) -> dict[str, Any]:
    """A pattern's times and what follows from them; the share of arithmetic is its model FLOPs utilisation."""
    tflop_s = step.flops / times.median / 1e12
    return milliseconds(times) | {
        "tokens_s": round(step.tokens.numel() / times.median),
        "times_full": None if full is None else round(full.median / times.median, 3),
        "tflop": round(step.flops / 1e12, 4),
        "tflop_s": round(tflop_s, 4),
        "share_of_arithmetic": round(tflop_s / floors.tflop_s, 4),
        "parameters": step.parameters,
        "backends": step.backends,
    }


class TrainStep:
    """A model, its optimizer and one row; a call is a step.

    Args:
        pattern: of attention, by the names of `ModelConfig`; "swa" has a window of 512 tokens.
        asked: backend of the attention layers.
    """

    def __init__(
        self, pattern: str, shape: TrainShape, length: int, dtype: torch.dtype, device: str, asked: str = "auto"
    ) -> None:
        entries: dict[str, AttentionConfig] = {
            "nsa": NativeSparseConfig(backend=asked),
            "swa": SlidingConfig(window=512, backend=asked),
            "full": FullConfig(backend=asked),
        }
        named = pattern.replace("*", " ").split()
        torch.manual_seed(0)
        config = ModelConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            num_layers=shape.num_layers,
            num_attention_heads=shape.num_attention_heads,
            num_key_value_heads=shape.num_key_value_heads,
            head_dim=shape.head_dim,
            attention={name: entry for name, entry in entries.items() if name in named},
            pattern=pattern,
            max_position_embeddings=length,
        )
        self.device, self.dtype = device, dtype
        self.model = Decoder(config).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.tokens = torch.randint(shape.vocab_size, (1, length), generator=torch.Generator().manual_seed(length)).to(
            device
        )  # the same for every pattern
        described = describe(config, contexts=(length,))
        self.flops = (1 + BACKWARD) * described.flops_per_token[length] * length
        self.parameters = described.parameters["total"]
        layers = [module for module in self.model.modules() if isinstance(module, AttentionLayer)]
        self.backends = {
            name: layer.choice.name(torch.device(device), dtype, requires_grad=True)
            for name, layer in zip(config.layer_names(), layers, strict=True)
        }

    def __call__(self) -> Tensor:
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            loss = self.model.loss(self.tokens, self.tokens.roll(-1, 1))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def learn(self) -> list[float]:
        """The losses of a few steps on the row. Raises RuntimeError if they do not fall."""
        losses = [float(self()) for _ in range(STEPS)]
        if not losses[-1] < losses[0]:
            raise RuntimeError(f"the loss on one row went from {losses[0]:.3f} to {losses[-1]:.3f} in {STEPS} steps")
        return [round(loss, 3) for loss in losses]


def rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The result as lines of a table, its head first."""
    head = ("tokens", "attention", "backend", "ms", "tokens/s", "times full", "TFLOP/s", "of arithmetic", "peak MiB")
    lines: list[tuple[str, ...]] = [head]
    for entry in result["entries"]:
        for pattern, one in entry["contenders"].items():
            lines.append(
                (
                    f"{entry['length']:,}",
                    pattern,
                    ", ".join(dict.fromkeys(one["backends"].values())),
                    f"{one['median_ms']:.0f}",
                    f"{one['tokens_s']:,}",
                    "" if one["times_full"] is None else f"{one['times_full']:.2f}",
                    f"{one['tflop_s']:.3g}",
                    f"{one['share_of_arithmetic']:.0%}",
                    "" if one["peak_mib"] is None else f"{one['peak_mib']:,.0f}",
                )
            )
    return lines
