"""One save, one load: of every kind of part, at any moment of a step."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from torch import nn

from weft.train.state import Counters, RandomState, TrainState


def draws():
    return random.random(), float(np.random.rand()), torch.rand(3).tolist()


def test_random_state_brings_back_python_numpy_and_torch():
    state = RandomState().state_dict()
    first = draws()
    RandomState().load_state_dict(state)
    assert draws() == first


def test_random_state_survives_the_way_through_text_and_tensors():
    np.random.standard_normal()  # leaves the second normal value in numpy's pocket
    held = TrainState(heavy={}, light={"random": RandomState()})
    tensors, text = held.save()
    first = (np.random.standard_normal(), *draws())
    held.load({name: tensor.clone() for name, tensor in tensors.items()}, text)
    assert (np.random.standard_normal(), *draws()) == first


def test_what_is_drawn_inside_untouched_leaves_no_trace():
    generators = RandomState()
    state = generators.state_dict()
    with generators.untouched():
        inside = draws()
    assert draws() == inside
    generators.load_state_dict(state)


def test_a_save_in_the_middle_of_a_step_holds_the_last_finished_one():
    counters, model = Counters(), nn.Linear(2, 2)
    state = TrainState(heavy={"model": model}, light={"counters": counters})
    with state.updating():
        counters.step = 1
    counters.step = 99  # a step that is being computed
    _, text = state.save()
    assert json.loads(text)["counters"]["step"] == 1
    assert state.kept("counters")["step"] == 1


def test_an_update_that_fails_is_not_kept():
    counters = Counters()
    state = TrainState(heavy={}, light={"counters": counters})

    def fails():
        with state.updating():
            counters.step = 5
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fails()
    assert state.kept("counters")["step"] == 0


def test_a_tied_weight_is_saved_once_and_still_tied_after_loading():
    def tied():
        model = nn.Module()
        model.embedding = nn.Embedding(4, 3)
        model.head = nn.Linear(3, 4, bias=False)
        model.head.weight = model.embedding.weight
        return model

    first, second = tied(), tied()
    tensors, text = TrainState(heavy={"model": first}, light={}).save()
    assert list(tensors) == ["model.embedding.weight"]
    TrainState(heavy={"model": second}, light={}).load(tensors, text)
    assert torch.equal(first.head.weight, second.head.weight)
    assert second.head.weight is second.embedding.weight


def test_empty_tensors_are_no_shared_ones():
    class Part:
        def state_dict(self):
            return {"a": torch.zeros(0), "b": torch.zeros(0)}

        def load_state_dict(self, state): ...

    tensors, _ = TrainState(heavy={"part": Part()}, light={}).save()
    assert sorted(tensors) == ["part.a", "part.b"]


@pytest.mark.parametrize(
    "heavy, light",
    [({"model": nn.Linear(2, 2)}, {}), ({"model": nn.Linear(2, 3), "counters": Counters()}, {})],
    ids=["a part too few", "another shape"],
)
def test_a_state_that_does_not_fit_is_refused_in_words(heavy, light):
    tensors, text = TrainState(heavy={"model": nn.Linear(2, 2), "counters": Counters()}, light={}).save()
    with pytest.raises(ValueError, match="the checkpoint"):
        TrainState(heavy=heavy, light=light).load(tensors, text)


def test_a_part_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="registered twice: counters"):
        TrainState(heavy={"counters": Counters()}, light={"counters": Counters()})


def test_inventory_names_every_part_with_its_size():
    state = TrainState(heavy={"model": nn.Linear(512, 512, bias=False)}, light={"counters": Counters()})
    assert state.inventory() == ["model: 1 tensors, 1.0 MiB", "counters: 0 tensors, 0.0 MiB"]


def test_counters_refuse_what_they_do_not_count():
    with pytest.raises(ValueError, match="'sheep'"):
        Counters().load_state_dict({"sheep": 7})
