"""The benchmarks of whole rows: costs are counted right, contenders are checked, results are complete."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.bench import attention, dense, selection, train_step
from weft.bench.check import Check
from weft.bench.costs import dense_cost, sparse_costs
from weft.bench.decode_step import DecodeShape
from weft.bench.dense import dense_variants
from weft.bench.floors import Floors
from weft.bench.inputs import Inputs
from weft.bench.memory import peak_bytes
from weft.bench.peers import Peer
from weft.bench.timing import time_in_turn
from weft.cli.main import main

SMALL = DecodeShape(
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, v_head_dim=12, hidden_size=64,
    compress_block=8, compress_stride=4, select_block=16, num_selected=3, window=20,
)  # fmt: skip
FLOORS = Floors(tflop_s=0.1, gb_s=10.0)
SETTINGS: dict[str, Any] = {"shape": SMALL, "dtype": torch.float32, "device": "cpu", "repeats": 1, "floors": FLOORS}


def test_costs_are_those_of_the_readme():
    """native_sparse_attention/README.md: 9.8 TFLOP against 70.4 at T = 65,536 with H = 64, D = 128."""
    shape = DecodeShape(head_dim=128, v_head_dim=128)
    parts = {name: round(cost.flops / 1e12, 1) for name, cost in sparse_costs(shape, 65536).items()}
    assert parts == {
        "compressed_attention": 4.4,
        "block_selection": 2.2,
        "selected_attention": 2.1,
        "sliding_attention": 1.1,
        "native_sparse_attention": 9.8,
    }
    assert round(dense_cost(shape, 65536).flops / 1e12, 1) == 70.4


def test_a_slow_dense_way_is_not_tried_on_longer_rows():
    times = {"sparse auto": 1.0, "quick": 10.0, "near": 10.9, "slow": 11.1, "peer 1.0": 10.0}
    contenders = {name: {"median_ms": time} for name, time in times.items()}
    entry = {"contenders": contenders, "dense": ["quick", "near", "slow"], "best_dense": "quick"}
    assert attention.near_the_fastest(entry) == ["quick", "near"]


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_dense_way_is_right(both: bool, dtype: torch.dtype):
    inputs = Inputs(SMALL, 150, dtype, "cpu")
    check = Check(inputs, both=both)
    ways = dense_variants(inputs, both=both)
    assert "torch sdpa, keys repeated" in ways
    for name, attend in ways.items():
        check.dense(name, attend)
    assert len(check.found) == len(ways) * (2 if both else 1)


@pytest.mark.parametrize("length", [1, 9, 150])
def test_the_sparse_side_is_right(length: int):
    inputs = Inputs(SMALL, length, torch.float32, "cpu")
    check = Check(inputs, both=True)
    check.sparse("sparse", inputs.sparse("torch"))
    assert check.found["sparse, queries with other blocks"] == 0


def test_a_wrong_contender_is_found():
    inputs = Inputs(SMALL, 150, torch.float32, "cpu")

    def late_wrong(*tensors: Tensor, **where: Any) -> Any:
        out, lists = inputs.sparse("torch")(*tensors, **where)
        return torch.cat([out[:, :-1], out[:, -1:] * 1.01], 1), lists

    def wrong_gradient(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return inputs.dense()(q, k, v + 0.1 * (v - v.detach()))

    def other_blocks(*tensors: Tensor, **where: Any) -> Any:
        out, lists = inputs.sparse("torch")(*tensors, **where)
        return out, lists + 1

    check = Check(inputs, both=True)
    with pytest.raises(RuntimeError, match="its outputs deviate"):
        check.sparse("late", late_wrong)
    with pytest.raises(RuntimeError, match="its gradients deviate"):
        check.dense("slope", wrong_gradient)
    with pytest.raises(RuntimeError, match="chose other blocks"):
        check.sparse("other", other_blocks)


def test_result_is_complete():
    peer = Peer("pytest", "not attention", lambda inputs: None, lambda i: (lambda q: q, [i.q], torch.empty_like(i.q)))
    absent = Peer("no-such-package", "", lambda inputs: None, peer.build)
    result = attention.measure_attention([60, 150], peers=(peer, absent), passes=("forward",), **SETTINGS)
    assert [(entry["length"], entry["pass"]) for entry in result["entries"]] == [(60, "forward"), (150, "forward")]
    entry = result["entries"][1]
    sparse = entry["contenders"]["sparse auto"]
    assert {"median_ms", "tflop_s", "gb_s", "share_of_arithmetic", "share_of_floor", "peak_mib"} <= sparse.keys()
    assert entry["best_dense"] in entry["contenders"]
    assert entry["backends"]["auto"]
    assert entry["absent"] == {"no-such-package": "not installed"}
    assert any(name.startswith("pytest ") for name in entry["contenders"])
    assert len(attention.rows(result)) == 1 + sum(len(each["contenders"]) + 1 for each in result["entries"])


def test_every_op_is_measured():
    result = selection.measure_selection([150], backends=("auto", "torch"), **SETTINGS)
    (entry,) = result["entries"]
    assert entry["contenders"].keys() == {f"{op} {name}" for op in selection.OPS for name in ("auto", "torch")}
    assert entry["choice_ms"] > 0
    assert entry["attention_ms"] > 0


def test_a_training_step_learns():
    shape = train_step.TrainShape(
        hidden_size=32, num_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16
    )
    result = train_step.measure_train([70], shape=shape, dtype=torch.float32, device="cpu", repeats=1, floors=FLOORS)
    (entry,) = result["entries"]
    assert list(entry["contenders"]) == list(train_step.PATTERNS)
    for pattern, one in entry["contenders"].items():
        assert one["backends"].keys() == set(pattern.split())
        assert one["losses"][-1] < one["losses"][0]
        assert one["share_of_arithmetic"] > 0
    assert entry["contenders"]["full"]["times_full"] == 1
    assert len(train_step.rows(result)) == 1 + len(train_step.PATTERNS)


def test_every_pattern_has_the_same_tokens_and_its_own_work():
    shape = train_step.TrainShape(64, 2, 4, 2, 16)
    steps = [train_step.TrainStep(name, shape, 80, torch.float32, "cpu") for name in ("full", "swa nsa")]
    assert torch.equal(steps[0].tokens, steps[1].tokens)
    products = 2 * 80 * sum(x.numel() for x in steps[0].model.parameters() if x.dim() == 2)
    products -= 2 * 80 * shape.vocab_size * shape.hidden_size  # the embedding is looked up
    keys = 2 * 2 * 4 * (16 + 16) * (80 * 81 // 2)  # two layers, 4 heads, keys and values of 16
    assert steps[0].flops == pytest.approx(3 * (products + keys))
    assert steps[1].flops != steps[0].flops


def test_the_budget_ends_the_rounds():
    ran: list[int] = []
    times = time_in_turn({"a": lambda: ran.append(1)}, repeats=50, warmups=1, budget=0.0)
    assert times["a"].runs == 1


def test_peak_memory_is_seen():
    held = peak_bytes(lambda: torch.ones(1 << 24).sum())
    assert held is None or 60 << 20 <= held <= 100 << 20


WORDS = ["--heads", "4", "--groups", "2", "--head-dim", "16", "--sizes", "8", "4", "16", "3", "20", "--repeats", "1"]


@pytest.mark.parametrize(
    "words",
    [
        ["attention", *WORDS, "--no-peers"],
        ["selection", *WORDS],
        ["train", "--hidden-size", "128", "--repeats", "1"],
    ],
    ids=lambda words: words[0],
)
def test_commands_write_and_draw(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    json_file, png_file = tmp_path / "result.json", tmp_path / "result.png"
    files = ["--json", str(json_file), "--png", str(png_file)]
    assert main(["bench", *words, "--length", "60", *files]) == 0
    written = json.loads(json_file.read_text())
    assert written["command"].startswith(f"weft bench {words[0]}")
    assert written["entries"]
    assert png_file.read_bytes().startswith(b"\x89PNG")
    assert "tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message",
    [
        (["attention", "--groups", "3"], "--groups 3 does not divide --heads 16"),
        (
            ["attention", "--dense", "none", "--length", "60", *WORDS],
            "there is no dense side called none; there are weft",
        ),
        (["selection", "--device", "cuda"], "torch sees no CUDA device here"),
        (["train", "--hidden-size", "100"], "--hidden-size 100 must be a multiple of 128"),
    ],
    ids=["groups", "dense", "device", "width"],
)
def test_wrong_flags_are_answered(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("usable", [set(), {"flash"}, {"flash", "cudnn"}], ids=["none", "flash", "both"])
def test_sdpa_kernels_are_those_that_torch_says_it_can_use(usable: set[str], monkeypatch: pytest.MonkeyPatch):
    asked = []
    for name in ("flash", "cudnn"):
        answer = lambda params, name=name: asked.append(params) or name in usable  # noqa: E731
        monkeypatch.setattr(torch.backends.cuda, f"can_use_{name}_attention", answer)
    inputs = Inputs(SMALL, 20, torch.bfloat16, "cpu")
    assert {name for name, _ in dense._sdpa_kernels(inputs, both=True)} == {f"torch sdpa, {name}" for name in usable}
    assert [params.query.shape for params in asked] == [(1, 4, 20, 16)] * 2
    assert asked[0].value.shape == (1, 2, 20, 16)  # as wide as the keys
    assert asked[0].query.requires_grad
