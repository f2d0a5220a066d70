"""A decode step as an operator that torch.compile knows: the same arguments and shapes for every backend.

Legend: B batch, H query heads, G key/value groups, Dk and Dv head dims, n blocks in a list, Tw slots of the window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


class StepInputs(NamedTuple):
    """One query of each row by its caches, as `weft.ops.native_sparse_attention` has checked it.

    Args:
        q: (B, 1, H, Dk).
        k_cmp: (B, entries, G, Dk) and v_cmp: (B, entries, G, Dv); pools of pages where there is a table.
        v_cmp: See k_cmp.
        k_sel: (B, tokens, G, Dk) and v_sel: (B, tokens, G, Dv); pools of pages where there is a table.
        v_sel: See k_sel.
        k_win: (B, Tw, G, Dk) and v_win: (B, Tw, G, Dv).
        v_win: See k_win.
        gates: (B, 1, H, 3), compressed, selected, sliding.
        window_positions: (B, Tw) int64, position in each slot of the window, -1 if empty; None is 0 .. Tw - 1.
        page_table: (B, W) int32, see `pages.py`; None: nothing lies in pages.
        query_offsets: (B,) int64, position of each row's query; None: that of all is `query_offset`.
        kv_lengths: (B,) int64, tokens in each row; None: up to the query.
        query_offset: Position of every query.
        compress_block: l.
        compress_stride: d.
        select_block: l'.
        num_selected: n.
        window: Tokens in the window, the query's own included.
        scale: Factor on the scores.
    """

    q: Tensor
    k_cmp: Tensor
    v_cmp: Tensor
    k_sel: Tensor
    v_sel: Tensor
    k_win: Tensor
    v_win: Tensor
    gates: Tensor
    window_positions: Tensor | None
    page_table: Tensor | None
    query_offsets: Tensor | None
    kv_lengths: Tensor | None
    query_offset: int
    compress_block: int
    compress_stride: int
    select_block: int
    num_selected: int
    window: int
    scale: float

    def positions(self) -> list[int]:
        """Where each row's query stands, -1 in an empty row; asks the device where tensors say it."""
        if self.query_offsets is None:
            positions = [self.query_offset] * self.q.shape[0]
        else:
            positions = self.query_offsets.tolist()
        if self.kv_lengths is None:
            return positions
        return [min(t, length - 1) for t, length in zip(positions, self.kv_lengths.tolist(), strict=True)]


_TYPES: dict[Any, str] = {Tensor: "Tensor", Tensor | None: "Tensor?", int: "int", float: "float"}
_ARGUMENTS = ", ".join(f"{_TYPES[kind]} {name}" for name, kind in StepInputs.__annotations__.items())
_SCHEMA = f"({_ARGUMENTS}) -> (Tensor, Tensor)"


StepFunction: TypeAlias = Callable[[StepInputs], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class DecodeOperator:
    """Called with the fields of `StepInputs` one by one: as an operator where somebody looks on, else as a function.

    A processor whose caches hold a layer's weights takes 0.2 ms from the dispatcher to the function and back: a tenth
    of a compiled kernel's time.

    Args:
        operator: What torch.compile, modes (fake tensors, tracing) and the profiler see.
        function: What it does.
    """

    operator: Callable[..., tuple[Tensor, Tensor]]
    function: StepFunction

    def __call__(self, *arguments: Any) -> tuple[Tensor, Tensor]:
        if torch.compiler.is_compiling() or type(arguments[0]) is not Tensor or _somebody_looks_on():
            return self.operator(*arguments)
        return self.function(StepInputs(*arguments))


def _somebody_looks_on() -> bool:
    transformed = torch._C._are_functorch_transforms_active()  # torch.func.vmap and its like
    return transformed or is_in_torch_dispatch_mode() or torch.autograd._profiler_enabled()


def decode_operator(name: str, *, device: str = "default") -> Callable[[StepFunction], DecodeOperator]:
    """Registers `native_sparse_attention` of one query a row (Tq = 1), forward only, as an operator.

    Without what `torch.library.custom_op` wraps around it for gradients and aliases. The caller sees to it that no
    gradient is asked for.

    Args:
        name: "weft::" and the operator's own.
        device: The device's type on which it runs, such as "cpu"; "default": any.

    Returns:
        A decorator. The function changes none of its inputs and gives out (B, 1, H, Dv) in q's dtype and lists
        (B, 1, G, n) int32.
    """

    def register(function: StepFunction) -> DecodeOperator:
        torch.library.define(name, _SCHEMA)
        torch.library.impl(name, device)(lambda *arguments: function(StepInputs(*arguments)))
        torch.library.register_fake(name)(_shapes)
        namespace, _, own = name.partition("::")
        return DecodeOperator(getattr(getattr(torch.ops, namespace), own).default, function)

    return register


def _shapes(*arguments: Any) -> tuple[Tensor, Tensor]:
    step = StepInputs(*arguments)
    lists = step.q.new_empty(*step.q.shape[:2], step.k_cmp.shape[2], step.num_selected, dtype=torch.int32)
    return step.q.new_empty(*step.q.shape[:3], step.v_sel.shape[3]), lists
