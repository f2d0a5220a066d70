"""ModelConfig: the pattern language, inheritance into attention entries, plain values there and back, errors."""

import subprocess
import sys

import pytest

from weft.attention.config import LatentConfig, NativeSparseConfig, RopeConfig, SlidingConfig
from weft.model.config import ModelConfig
from weft.model.pattern import lay_over, parse_pattern, spell

NAMES = ("swa", "mla", "nsa", "full", "local")


@pytest.mark.parametrize(
    "pattern, round_",
    [
        ("nsa", ("nsa",)),
        ("swa*2 mla", ("swa", "swa", "mla")),
        ("nsa*3 full", ("nsa", "nsa", "nsa", "full")),
        ("  local  swa*1\n mla ", ("local", "swa", "mla")),
        ("swa*10", ("swa",) * 10),
    ],
)
def test_pattern_writes_its_repeats_out(pattern, round_):
    assert parse_pattern(pattern, NAMES) == round_


def test_layers_are_spelled_as_a_pattern_that_reads_them_back():
    names = lay_over(("swa", "swa", "mla"), 7)
    assert spell(names) == "swa*2 mla swa*2 mla swa"
    assert parse_pattern(spell(names), NAMES) == names


@pytest.mark.parametrize(
    "pattern, message",
    [
        ("", "pattern is empty"),
        ("   ", "pattern is empty"),
        ("swa*2 mlaa", r"no attention entry 'mlaa' \(did you mean 'mla'\?\); there are swa, mla, nsa, full, local"),
        ("loca", r"did you mean 'local'"),
        ("swa*", "'swa\\*' is neither 'name' nor 'name\\*count'"),
        ("swa*-1", "neither"),
        ("2*swa", "neither"),
        ("swa*0 mla", "repeats nothing"),
    ],
)
def test_pattern_says_what_is_wrong(pattern, message):
    with pytest.raises(ValueError, match=message):
        parse_pattern(pattern, NAMES)


def test_pattern_repeats_over_the_layers_and_is_cut_at_the_end():
    assert lay_over(("swa", "swa", "mla"), 7) == ("swa", "swa", "mla", "swa", "swa", "mla", "swa")
    assert lay_over(("nsa", "full"), 1) == ("nsa",)


def test_entries_inherit_what_they_leave_open():
    config = ModelConfig(
        num_layers=4,
        hidden_size=96,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=24,
        norm_eps=1e-5,
        rope=RopeConfig(theta=5e5),
        attention={
            "near": SlidingConfig(window=32, num_attention_heads=3, num_key_value_heads=3, rope=RopeConfig(theta=1e4)),
            "far": NativeSparseConfig(v_head_dim=8),
        },
        pattern="near far mla full",
    )
    near, far, latent, full = config.layer_attention()
    assert (near.num_attention_heads, near.num_key_value_heads, near.head_dim, near.window) == (3, 3, 24, 32)
    assert (near.rope.theta, near.norm_eps) == (1e4, 1e-5)
    assert (far.num_attention_heads, far.num_key_value_heads, far.head_dim, far.v_head_dim) == (6, 2, 24, 8)
    assert far.rope.theta == latent.rope.theta == 5e5
    assert latent.num_attention_heads == 6
    assert (full.num_key_value_heads, full.head_dim, full.v_head_dim) == (2, 24, 24)


def test_heads_default_to_one_group_each_and_an_even_share_of_the_width():
    full = ModelConfig(hidden_size=96, num_attention_heads=6, pattern="full").layer_attention()[0]
    assert (full.num_key_value_heads, full.head_dim) == (6, 16)


def test_two_entries_of_a_kind_live_in_one_model():
    config = ModelConfig(
        num_layers=3,
        attention={"near": SlidingConfig(window=64), "wide": SlidingConfig(window=1024)},
        pattern="near wide swa",
    )
    assert [entry.window for entry in config.layer_attention()] == [64, 1024, SlidingConfig().window]


def test_a_kind_s_own_name_may_be_given_other_settings():
    config = ModelConfig(num_layers=1, attention={"swa": SlidingConfig(window=7)}, pattern="swa")
    assert config.layer_attention()[0].window == 7


@pytest.mark.parametrize("mlp, width", [("swiglu", 2752), ("relu2", 4096)])
def test_mlp_width_defaults_to_the_usual_factor(mlp, width):
    assert ModelConfig(hidden_size=1024, mlp=mlp).mlp_width == width  # 8/3 * 1024 = 2730.7, up to a multiple of 64
    assert ModelConfig(hidden_size=1024, mlp=mlp, intermediate_size=100).mlp_width == 100


def test_json_round_trip_keeps_every_field():
    config = ModelConfig(
        num_layers=5,
        attention={"far": NativeSparseConfig(rope=RopeConfig(theta=5e5)), "mla": LatentConfig(kv_lora_rank=32)},
        pattern="far*4 mla",
        logit_softcap=15,
        rope=RopeConfig(scaling="yarn", factor=4.0),
    )
    assert ModelConfig.from_json(config.to_json()) == config
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_from_dict_takes_kinds_by_name_and_entries_already_built():
    config = ModelConfig.from_dict({"attention": {"swa": {"window": 9}, "b": SlidingConfig(window=3)}})
    assert config.attention == {"swa": SlidingConfig(window=9), "b": SlidingConfig(window=3)}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"num_layer": 3}, r"model: there is no field 'num_layer' \(did you mean 'num_layers'\?\)"),
        ({"attention": {"far": {"window": 3}}}, "attention.far: the field 'kind' is missing"),
        ({"attention": {"far": {"kind": "nsaa"}}}, r"no kind 'nsaa' \(did you mean 'nsa'\?\)"),
        ({"attention": {"swa": {"windw": 3}}}, r"attention.swa: there is no field 'windw' \(did you mean 'window'\?\)"),
        ({"attention": {"swa": 3}}, "attention.swa: expected a mapping of fields, got 3"),
        ({"attention": {"swa": {"rope": {"tetha": 3}}}}, "attention.swa.rope: there is no field 'tetha'"),
        ({"rope": {"theta": "big"}}, "model.rope.theta: expected float, got 'big'"),
        ({"num_layers": "3"}, "model.num_layers: expected int, got '3'"),
        ({"num_layers": True}, "model.num_layers: expected int, got True"),
        ({"norm": "layernorm"}, "model.norm: expected 'rmsnorm' or 'dynamic_tanh', got 'layernorm'"),
        ({"head_dim": 1.5}, "model.head_dim: expected int or nothing, got 1.5"),
    ],
)
def test_from_dict_names_the_place_and_the_fix(values, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(values)


def test_from_dict_reports_all_at_once():
    with pytest.raises(ValueError, match=r"num_layer.*heads"):
        ModelConfig.from_dict({"num_layer": 3, "num_attention_heads": "x"})


@pytest.mark.parametrize(
    "values, message",
    [
        ({"num_layers": 0}, "num_layers is 0; it must be positive"),
        ({"logit_softcap": -1.0}, "logit_softcap is -1.0"),
        ({"ngram_size": 0}, "ngram_size is 0; it must be positive, or null for hidden_size"),
        ({"mlp": "gelu"}, "mlp is 'gelu'; it must be one of swiglu, relu2"),
        ({"pattern": "swa mlla"}, "did you mean 'mla'"),
        ({"hidden_size": 100, "num_attention_heads": 12}, "100 is not a multiple of num_attention_heads=12"),
        ({"num_key_value_heads": 5}, "num_key_value_heads=5 must divide num_attention_heads=12"),
        ({"attention": {"swa": NativeSparseConfig()}}, "attention.swa is of kind 'nsa'"),
        ({"attention": {"swa": SlidingConfig(window=0)}}, "attention.swa: .*window=0 must be at least 1"),
    ],
)
def test_problems_name_field_value_and_rule(values, message):
    config = ModelConfig(**values)
    with pytest.raises(ValueError, match=message):
        config.check()


def test_problems_are_gathered():
    found = ModelConfig(
        pattern="swa nsa", attention={"swa": SlidingConfig(window=0), "nsa": NativeSparseConfig(num_selected=1)}
    )
    assert len(found.problems()) == 2


def test_unused_entries_do_not_stop_a_model():
    assert ModelConfig(attention={"nsa": NativeSparseConfig(num_selected=1)}, pattern="swa").problems() == []


def test_config_and_presets_need_no_torch():
    code = (
        "import sys; from weft.model import ModelConfig, preset; "
        "ModelConfig().check(); preset('nano-d4').model.check(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
