"""`weft backends`: every op with every backend and the dispatcher's own verdicts."""

import inspect
import json

import pytest
import torch

import weft.ops
from weft.cli import backends as command
from weft.cli.main import main
from weft.ops import backend as dispatcher

COMMON = {"scale", "query_offset", "kv_lengths", "cu_seqlens", "backend"}
NOT_A_BACKENDS_CONCERN = {"key_positions", "window_positions", "page_table", "return_blocks", "ignore_index"}


def test_the_table_names_every_op_and_backend(capsys):
    assert main(["backends"]) == 0
    shown = capsys.readouterr().out
    assert f"torch {torch.__version__}" in shown
    for op in dispatcher.ops():
        section = shown[shown.index(f"\n{op} ") :]
        assert all(f" {name} " in section for name in dispatcher.available(op))


def test_json_gives_the_verdicts_for_what_the_flags_describe(capsys):
    words = [
        "--op",
        "selected_attention",
        "--dtype",
        "bfloat16",
        "--head-dim",
        "192",
        "--v-head-dim",
        "128",
        "--packed",
    ]
    assert main(["backends", "--json", "--device", "cpu", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    spec = dispatcher.Spec(
        op="selected_attention",
        device="cpu",
        dtype=torch.bfloat16,
        num_heads=8,
        num_groups=2,
        head_dim=192,
        v_head_dim=128,
        varlen=True,
        requires_grad=True,
        options=(("select_block", 64),),
    )
    assert answer["ops"] == {"selected_attention": [vars(verdict) for verdict in dispatcher.explain(spec)]}
    assert sum(verdict["chosen"] for verdict in answer["ops"]["selected_attention"]) == 1


def test_every_setting_of_every_op_has_its_usual_value():
    for op in dispatcher.ops():
        parameters = inspect.signature(getattr(weft.ops, op)).parameters.values()
        settings = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - COMMON - NOT_A_BACKENDS_CONCERN
        assert settings <= set(command.SETTINGS), op


@pytest.mark.parametrize(
    "words, message",
    [
        (["--op", "selcted_attention"], "there is no op 'selcted_attention' (did you mean selected_attention?)"),
        (["--groups", "0"], "--groups is 0; it must be at least 1"),
        (["--v-head-dim", "0"], "--v-head-dim is 0; it must be at least 1"),
        (["--heads", "7"], "--groups 2 does not divide --heads 7"),
        (["--dtype", "bf16"], "argument --dtype: there is no 'bf16' (did you mean"),
    ],
    ids=["op", "no-groups", "no-width", "groups", "dtype"],
)
def test_a_wrong_flag_is_one_line(words, message, capsys):
    assert main(["backends", *words]) == 2
    assert message in capsys.readouterr().err
