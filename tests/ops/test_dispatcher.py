"""The dispatcher: an explicit name runs or raises, "auto" takes the first that can, and both can be explained."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

import weft.ops as ops
from weft.ops import FunctionBackend, Spec, backend

SPEC = Spec(op="toy", device="cpu", dtype=torch.float32, num_heads=4, num_groups=2, options=(("window", 8),))


def no_bfloat16(spec: Spec) -> str | None:
    return "float32 only, got bfloat16" if spec.dtype == torch.bfloat16 else None


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An op with two backends in a registry of its own, and no environment."""
    registry: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(backend, "_REGISTRY", registry)
    monkeypatch.setattr(backend, "_RESOLVED", {})
    monkeypatch.setattr(backend, "_LOGGED", set())
    monkeypatch.setattr(backend, "_environment", [""])
    ops.register("toy", FunctionBackend("quick", lambda x: ("quick", x), no_bfloat16))
    ops.register("toy", FunctionBackend("plain", lambda x: ("plain", x)))
    return registry


def set_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WEFT_BACKEND", value)
    monkeypatch.setattr(backend, "_environment", [])  # as in a new process: not read yet
    monkeypatch.setattr(backend, "_RESOLVED", {})


@pytest.mark.usefixtures("toy")
def test_auto_takes_the_first_that_can() -> None:
    assert ops.available("toy") == ("quick", "plain")
    assert ops.resolve(SPEC)(1) == ("quick", 1)
    assert ops.resolve(replace(SPEC, dtype=torch.bfloat16))(1) == ("plain", 1)


@pytest.mark.usefixtures("toy")
def test_explicit_backend_never_falls_back() -> None:
    assert ops.resolve(SPEC, "plain").name == "plain"
    with pytest.raises(ValueError, match="toy: backend='quick' cannot run this: float32 only, got bfloat16"):
        ops.resolve(replace(SPEC, dtype=torch.bfloat16), "quick")


@pytest.mark.usefixtures("toy")
def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ValueError, match="toy: no backend is called 'quik'; did you mean 'quick'\\?"):
        ops.resolve(SPEC, "quik")
    with pytest.raises(ValueError, match="no op is called 'toi'; did you mean 'toy'\\?"):
        ops.available("toi")


def test_no_backend_can(toy: dict[str, Any]) -> None:
    del toy["toy"]["plain"]
    with pytest.raises(ValueError, match="no backend can run this \\(quick: float32 only, got bfloat16\\)"):
        ops.resolve(replace(SPEC, dtype=torch.bfloat16))


@pytest.mark.usefixtures("toy")
def test_a_name_is_given_once() -> None:
    for name in ("quick", "auto"):
        with pytest.raises(ValueError, match=f"toy: the backend name '{name}' is taken"):
            ops.register("toy", FunctionBackend(name, print))


@pytest.mark.usefixtures("toy")
def test_a_new_backend_changes_earlier_choices() -> None:
    narrow = replace(SPEC, dtype=torch.bfloat16, device="cuda")
    assert ops.resolve(narrow).name == "plain"
    ops.register("other", FunctionBackend("plain", print))
    assert ops.resolve(narrow).name == "plain"
    assert ops.ops() == ("other", "toy")


@pytest.mark.usefixtures("toy")
def test_explain_gives_every_verdict() -> None:
    verdicts = ops.explain(SPEC)
    assert [(v.name, v.chosen) for v in verdicts] == [("quick", True), ("plain", False)]
    assert "quick comes first" in verdicts[1].reason
    verdicts = ops.explain(replace(SPEC, dtype=torch.bfloat16))
    assert [(v.name, v.chosen) for v in verdicts] == [("quick", False), ("plain", True)]
    assert verdicts[0].reason == "float32 only, got bfloat16"
    verdicts = ops.explain(SPEC, "plain")
    assert [(v.name, v.chosen) for v in verdicts] == [("quick", False), ("plain", True)]
    assert "backend='plain'" in verdicts[1].reason


@pytest.mark.usefixtures("toy")
def test_auto_logs_its_choice_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="weft.ops")
    for heads in (4, 8):  # another spec with the same choice for the same reason says nothing new
        for _ in range(3):
            ops.resolve(replace(SPEC, dtype=torch.bfloat16, num_heads=heads))
    ops.resolve(SPEC, "plain")
    assert [record.getMessage() for record in caplog.records] == [
        "toy runs on backend plain (first that supports this; not quick: float32 only, got bfloat16)"
    ]


@pytest.mark.usefixtures("toy")
def test_environment_stands_in_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, "plain")
    assert ops.resolve(SPEC).name == "plain"
    assert ops.resolve(SPEC, "quick").name == "quick"  # a name in the code wins
    assert "WEFT_BACKEND=plain" in ops.explain(SPEC)[1].reason
    monkeypatch.setenv("WEFT_BACKEND", "quick")
    monkeypatch.setattr(backend, "_RESOLVED", {})
    assert ops.resolve(SPEC).name == "plain"  # read once


@pytest.mark.usefixtures("toy")
def test_environment_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, "quick")
    with pytest.raises(ValueError, match="WEFT_BACKEND=quick cannot run this: float32 only"):
        ops.resolve(replace(SPEC, dtype=torch.bfloat16))
    set_environment(monkeypatch, "plian")
    with pytest.raises(ValueError, match="WEFT_BACKEND=plian: no backend has that name; did you mean 'plain'\\?"):
        ops.resolve(SPEC)


@pytest.mark.usefixtures("toy")
def test_environment_leaves_ops_without_that_backend_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ops.register("other", FunctionBackend("special", print))
    set_environment(monkeypatch, "special")
    assert ops.resolve(replace(SPEC, op="other")).name == "special"
    assert ops.resolve(SPEC).name == "quick"


def test_spec_gives_an_ops_own_settings() -> None:
    assert SPEC.option("window") == 8
    assert SPEC.option("sinks") is None


def test_every_op_has_its_backends() -> None:
    expected = {
        "block_selection",
        "compressed_attention",
        "full_attention",
        "linear_cross_entropy",
        "native_sparse_attention",
        "selected_attention",
        "sliding_attention",
    }
    assert expected <= set(ops.ops())
    for op in expected:
        assert {"torch", "reference"} <= set(ops.available(op))
        assert ops.available(op)[-1] == "reference"  # the slowest comes last


def test_what_the_op_tells_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Spec] = []
    probe = FunctionBackend("probe", lambda q, k, v, **kwargs: kwargs, lambda spec: seen.append(spec))
    monkeypatch.setitem(backend._REGISTRY, "sliding_attention", {"probe": probe})
    monkeypatch.setattr(backend, "_RESOLVED", {})
    q, k, v = (torch.zeros(1, 5, heads, width, dtype=torch.bfloat16) for heads, width in ((6, 9), (2, 9), (2, 7)))
    settings = ops.sliding_attention(q, k, v.requires_grad_(), window=3, sinks=1, backend="probe")
    options = (("window", 3), ("sinks", 1), ("ring", False))
    assert seen == [
        Spec("sliding_attention", "cpu", torch.bfloat16, 6, 2, 9, 7, False, True, options, queries=8, keys=8)
    ]
    assert settings["scale"] == pytest.approx(1 / 3)
    with torch.no_grad():
        ops.sliding_attention(q, k, v, window=3, sinks=1, scale=2.0, backend="probe")
    assert seen[1].requires_grad is False
