"""The learning rate over the run, as a factor on every peak rate.

A pure function of the step: there is nothing to save, and a resumed run cannot disagree with a straight one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from weft.train.config import RunConfig

Schedule: TypeAlias = Callable[[int], float]
"""Step (the first is 1) -> factor on the peak learning rates."""


def build_schedule(config: RunConfig) -> Schedule:
    """The schedule that `config.schedule` names, over `config.schedule_steps` steps.

    Each rises linearly to 1 at the last warm-up step. `cosine` falls from there to `min_ratio` (Loshchilov & Hutter
    2017, without restarts); `wsd` stays at 1 and falls over its last part (Hu et al. 2024, MiniCPM; the shape `sqrt`
    is Haegele et al. 2024); `constant` stays. After the end the factor is the last one.
    """
    settings, total, warmup = config.schedule, config.schedule_steps, config.warmup_steps
    decay_steps = round(settings.decay_fraction * total)
    decay_start = max(warmup, total - decay_steps)

    def cosine(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * _share(step, warmup, total)))

    def warmup_stable_decay(step: int) -> float:
        done = _share(step, decay_start, total)
        return 1 - (math.sqrt(done) if settings.decay_shape == "sqrt" else done)

    height = {"cosine": cosine, "wsd": warmup_stable_decay, "constant": lambda step: 1.0}[settings.name]

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return settings.min_ratio + (1 - settings.min_ratio) * height(min(step, total))

    return factor


def _share(step: int, start: int, end: int) -> float:
    """How much of start..end is over at `step`, 0 to 1."""
    return 1.0 if end <= start and step >= end else max(0.0, (step - start) / max(1, end - start))
