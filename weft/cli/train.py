"""Train a model on text, or go on with a run: the same command again resumes from its newest valid checkpoint.

Settings in force, first to last: flags; the environment (WEFT_TRAIN__STEPS=100); --config FILE, YAML such as
RUN/config.yaml; --preset NAME; the defaults below.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft.train.settings import read_settings


def main(words: Sequence[str], *, prog: str) -> int:
    """Runs the command; returns 0, or the exit code of a run that was asked to stop and can go on."""
    config = read_settings(words, prog=prog, description=__doc__ or "")
    from weft.train import train  # brings torch, which --help and mistakes do not need

    return train(config).exit_code
