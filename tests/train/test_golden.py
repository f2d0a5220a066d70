"""A short run repeats its recorded losses: to the bit where they were recorded, closely elsewhere."""

from __future__ import annotations

import json

import pytest

from tests.train.golden import PLACE, RECORD, STEPS, compute


def test_losses_and_gradient_norms_are_the_recorded_ones(tmp_path):
    recorded, found = json.loads(RECORD.read_text()), compute(tmp_path)
    assert len(recorded["loss"]) == STEPS
    same_place = all(recorded[name] == found[name] for name in PLACE)
    hint = "if the change is meant: python -m tests.train.golden"
    for name in ("loss", "grad_norm"):
        expected = recorded[name] if same_place else pytest.approx(recorded[name], rel=1e-5)
        assert found[name] == expected, hint
    assert recorded["loss"][-1] < recorded["loss"][0] - 1
