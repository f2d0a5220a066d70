"""Which backend runs a layer's op: chosen when the layer is built, kept, and chosen anew only where it moves."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops import Spec, Verdict, explain, resolve
from weft.ops.backend import AUTO


class Situation(NamedTuple):
    """In what a layer's op is asked for, as far as it decides who can do it.

    Args:
        device: A device's type.
        dtype: Of the queries.
        requires_grad: In training.
        varlen: Documents are packed.
        ring: Keys lie in a ring.
        paged: Keys lie in pages.
    """

    device: str
    dtype: torch.dtype
    requires_grad: bool = False
    varlen: bool = False
    ring: bool = False
    paged: bool = False


class BackendChoice:
    """The backends of one op for one layer, one for each situation the layer meets.

    That of the layer's parameters is settled at once, so that an unsuitable backend fails where it was asked for;
    others (another device, autocast) when they first come.

    Args:
        spec: What the layer asks of the op wherever it is; the situation is filled in.
        asked: A backend's name, or "auto".
    """

    def __init__(self, spec: Spec, asked: str) -> None:
        self.spec, self.asked = spec, asked
        self._names: dict[Situation, str] = {}

    def name(
        self,
        device: torch.device,
        dtype: torch.dtype,
        *,
        requires_grad: bool = False,
        varlen: bool = False,
        ring: bool = False,
        paged: bool = False,
    ) -> str:
        """Name of the backend for a situation.

        Raises:
            ValueError: if the backend that was asked for cannot run it, with its reason.
        """
        situation = Situation(device.type, dtype, requires_grad, varlen, ring, paged)
        if situation not in self._names:
            self._names[situation] = resolve(self._spec(situation), self.asked).name
        return self._names[situation]

    def keep(self, name: str, device: torch.device, dtype: torch.dtype, *, requires_grad: bool, varlen: bool) -> None:
        """Lets "auto" mean ``name`` in this situation, as it did when a run began that now goes on.

        Raises:
            ValueError: if that backend cannot run it here, with its reason.
        """
        situation = Situation(device.type, dtype, requires_grad, varlen)
        if self.asked == AUTO:
            self._names[situation] = resolve(self._spec(situation), name).name

    def name_for(self, q: Tensor, *, varlen: bool = False, ring: bool = False, paged: bool = False) -> str:
        """Name of the backend for queries ``q`` as they come."""
        requires_grad = torch.is_grad_enabled() and q.requires_grad
        return self.name(q.device, q.dtype, requires_grad=requires_grad, varlen=varlen, ring=ring, paged=paged)

    def explain(self, device: torch.device, dtype: torch.dtype) -> list[Verdict]:
        """Every backend's verdict on whole rows in ``dtype`` on ``device``."""
        return explain(self._spec(Situation(device.type, dtype)), self.asked)

    def _spec(self, situation: Situation) -> Spec:
        device, dtype, requires_grad, varlen, ring, paged = situation
        keys = {"ring": ring, "paged": paged}
        options = tuple((name, keys.get(name, value)) for name, value in self.spec.options)
        return dataclasses.replace(
            self.spec, device=device, dtype=dtype, requires_grad=requires_grad, varlen=varlen, options=options
        )
