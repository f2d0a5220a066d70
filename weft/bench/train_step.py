"""A training step of whole models, forward, backward and optimizer: the same decoder with each kind of attention."""

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from weft.attention import AttentionConfig, FullConfig, NativeSparseConfig, SlidingConfig
from weft.attention.layer import AttentionLayer
from weft.bench.machine import describe_machine
from weft.bench.measure import Tell, milliseconds, silent
from weft.bench.memory import mebibytes, peak_bytes
from weft.bench.timing import time_in_turn
from weft.model import Decoder, ModelConfig

KINDS = ("nsa", "swa", "full")


@dataclass(frozen=True)
class TrainShape:
    """A small decoder.

    Args:
        hidden_size: its width.
        num_layers: all of one kind.
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
    kinds: Sequence[str] = KINDS,
    repeats: int = 5,
    budget: float | None = 60.0,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Times a step over one row at each length.

    Args:
        lengths: tokens of the row.
        dtype: that autocast computes in; float32 is without autocast.
        kinds: of KINDS.

    Raises:
        RuntimeError: a step's loss is not finite, or a model does not learn its row by heart in a few steps.
    """
    described = describe_machine(device)
    entries = []
    for length in lengths:
        steps = {kind: TrainStep(kind, shape, length, dtype, device) for kind in kinds}
        checks = {kind: step.check() for kind, step in steps.items()}
        peaks = {kind: peak_bytes(step, device) for kind, step in steps.items()}
        times = time_in_turn(dict(steps), repeats=repeats, warmups=1, device=device, budget=budget)
        contenders = {
            kind: milliseconds(times[kind])
            | {
                "tokens_s": round(length / times[kind].median),
                "peak_mib": mebibytes(peaks[kind]),
                "backend": step.backend,
            }
            for kind, step in steps.items()
        }
        entries.append({"length": length, "contenders": contenders, "checks": checks})
        tell(f"T = {length}: " + ", ".join(f"{kind} {one['median_ms']:.0f} ms" for kind, one in contenders.items()))
        del steps
        gc.collect()
    return {
        **described,
        "shape": asdict(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "repeats": repeats,
        "entries": entries,
    }


class TrainStep:
    """A model, its optimizer and one row; a call is a step.

    Args:
        kind: of KINDS.
        asked: backend of the attention layers.
    """

    def __init__(
        self, kind: str, shape: TrainShape, length: int, dtype: torch.dtype, device: str, asked: str = "auto"
    ) -> None:
        entries: dict[str, AttentionConfig] = {
            "nsa": NativeSparseConfig(backend=asked),
            "swa": SlidingConfig(window=512, backend=asked),
            "full": FullConfig(backend=asked),
        }
        torch.manual_seed(0)
        config = ModelConfig(
            vocab_size=shape.vocab_size,
            hidden_size=shape.hidden_size,
            num_layers=shape.num_layers,
            num_attention_heads=shape.num_attention_heads,
            num_key_value_heads=shape.num_key_value_heads,
            head_dim=shape.head_dim,
            attention={kind: entries[kind]},
            pattern=kind,
            max_position_embeddings=length,
        )
        self.device, self.dtype = device, dtype
        self.model = Decoder(config).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.tokens = torch.randint(shape.vocab_size, (1, length), device=device)
        layer = next(module for module in self.model.modules() if isinstance(module, AttentionLayer))
        self.backend = layer.choice.name(torch.device(device), dtype, requires_grad=True)

    def __call__(self) -> Tensor:
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            loss = self.model.loss(self.tokens, self.tokens.roll(-1, 1))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def check(self) -> dict[str, float]:
        """Loss before and after a few steps on the one row."""
        losses = [float(self()) for _ in range(3)]
        if not losses[-1] < losses[0]:
            raise RuntimeError(f"the loss on one row went from {losses[0]:.3f} to {losses[-1]:.3f} in three steps")
        return {"first_loss": round(losses[0], 3), "third_loss": round(losses[-1], 3)}


def rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The result as lines of a table, its head first."""
    lines: list[tuple[str, ...]] = [("tokens", "attention", "backend", "ms", "tokens/s", "peak MiB")]
    for entry in result["entries"]:
        for kind, one in entry["contenders"].items():
            numbers = (f"{one['median_ms']:.0f}", f"{one['tokens_s']:,}", f"{one['peak_mib'] or 0:,.0f}")
            lines.append((f"{entry['length']:,}", kind, one["backend"], *numbers))
    return lines
