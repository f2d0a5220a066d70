"""What a run is told: flags over environment over YAML over preset over defaults, and mistakes answered in words."""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys

import pytest
import yaml

from weft.attention.config import NativeSparseConfig, SlidingConfig
from weft.cli.main import main
from weft.model.presets import preset, preset_names
from weft.model.schema import from_mapping
from weft.train.config import LoopConfig, OptimizerConfig, RunConfig, ScheduleConfig, TelemetryConfig
from weft.train.settings import read_settings


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Settings from a line of flags, a YAML text and environment variables."""

    def read(line="", text=None, **settings):
        words = ["--out", "run", *line.split()]
        if text is not None:
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
            path.write_text(text)
            words += ["--config", str(path)]
        return read_settings(words, prog="weft train", description="", **settings)

    return read


def test_without_a_word_everything_is_the_classes_default(read):
    assert read() == RunConfig(out="run")


def test_a_preset_brings_its_model_and_its_training(read):
    config, chosen = read("--preset nano-d4"), preset("nano-d4")
    assert config.model == chosen.model
    for part, fields in chosen.training.items():
        for name, value in fields.items():
            assert getattr(getattr(config, part), name) == value


@pytest.mark.parametrize("layers", [1, 2, 3, 4], ids=["preset", "yaml", "environment", "flag"])
def test_each_layer_lies_over_the_one_before(read, monkeypatch, layers):
    line, text = "--preset nano-d4-tiny", None  # which says batch_size 4
    if layers >= 2:
        text = "train: {batch_size: 2}"
    if layers >= 3:
        monkeypatch.setenv("WEFT_TRAIN__BATCH_SIZE", "3")
    if layers >= 4:
        line += " --train.batch_size 5"
    assert read(line, text).train.batch_size == [4, 2, 3, 5][layers - 1]


def test_yaml_may_name_the_preset_and_a_flag_another_one(read):
    assert read(text="preset: nano-d8").model.num_layers == 8
    assert read("--preset nano-d4", text="preset: nano-d8").model.num_layers == 4


def test_the_environment_may_name_preset_and_file(read, tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {steps: 7}")
    monkeypatch.setenv("WEFT_PRESET", "nano-d8")
    monkeypatch.setenv("WEFT_CONFIG", str(path))
    config = read()
    assert (config.model.num_layers, config.train.steps) == (8, 7)


def test_of_two_files_the_later_one_wins(read, tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("train: {steps: 1, context: 128}")
    second.write_text("train: {steps: 2}")
    config = read(f"--config {first} --config={second}")
    assert (config.train.steps, config.train.context) == (2, 128)


def test_defaults_of_a_caller_lie_below_the_preset(read):
    defaults = {"train": {"batch_size": 64, "steps": 33}}
    config = read(defaults=defaults, preset_name="nano-d4-tiny")
    assert (config.train.batch_size, config.train.steps) == (4, 33)


@pytest.mark.parametrize(
    "line",
    ["--model.attention.nsa.window 64", '--model.attention.nsa {"window":64,"kind":"nsa"}'],
    ids=["field", "json"],
)
def test_an_attention_entrys_field_is_a_flag(read, line):
    assert read(line).model.attention["nsa"] == NativeSparseConfig(window=64)


def test_a_field_of_a_presets_entry_leaves_its_other_fields(read):
    expected = dataclasses.replace(preset("nano-d4").model.attention["nsa"], window=96)
    assert read("--preset nano-d4 --model.attention.nsa.window 96").model.attention["nsa"] == expected
    config = read("--preset nano-d4", text="model: {attention: {nsa: {window: 96}}}")
    assert config.model.attention["nsa"] == expected
    assert config.model.attention.keys() == preset("nano-d4").model.attention.keys()


@pytest.mark.parametrize("order", [1, -1], ids=["kind first", "kind last"])
def test_an_entry_of_ones_own_needs_its_kind(read, order):
    flags = ["--model.attention.local.kind swa", "--model.attention.local.window 9"][::order]
    assert read(" ".join(flags)).model.attention == {"local": SlidingConfig(window=9)}
    with pytest.raises(ValueError, match=r"'local' has no kind; add --model\.attention\.local\.kind"):
        read("--model.attention.local.window 9")


def test_lists_and_small_numbers_are_understood(read):
    config = read('--optimizer.betas [0.8,0.9] --train.sample_prompts ["a","b"]', text="optimizer: {eps: 1e-10}")
    assert config.optimizer.betas == (0.8, 0.9)
    assert config.train.sample_prompts == ("a", "b")
    assert config.optimizer.eps == 1e-10


@pytest.mark.parametrize(
    "line, text, words",
    [
        ("--train.stps 5", None, r"no flag '--train\.stps' \(did you mean '--train\.steps'\?\)"),
        ("--trian.steps=5", None, r"did you mean '--train\.steps'"),
        ("--conf x", None, "did you mean '--config'"),
        ("five", None, "unexpected argument 'five'"),
        ("--train.steps five", None, "train.steps is 'five'; expected int"),
        (
            "--optimizer.name adam",
            None,
            r"optimizer\.name is 'adam' \(did you mean 'adamw'\?\); expected one of adamw, muon",
        ),
        ("--preset nano", None, "there is no preset 'nano'"),
        ("--model.attention.nsa.windo 5", None, r"attention: there is no field 'windo' \(did you mean 'window'"),
        ("--model.attention.nsa.window x", None, r"model\.attention: field 'window' is 'x'; expected int"),
        ("--preset nano-d4 --model.attention.nsa.kind mla", None, "field 'kind' is 'mla'; expected one of nsa"),
        ("--model.attention.nsa 5", None, "an entry is '5'; expected its fields"),
        ("--model.head_dim wide", None, r"model\.head_dim is 'wide'; expected int or null"),
        ("--train.compile maybe", None, "train.compile is 'maybe'; expected true or false"),
        ("--optimizer.betas 0.9", None, r"optimizer\.betas is '0\.9'; expected a list"),
        ("--optimizer.betas [0.9]", None, "expected a list of 2 elements"),
        ("--train foo", None, "train is 'foo'; expected a YAML file of its settings"),
        ("", "train: {stps: 5}", r"no setting 'train\.stps' \(did you mean 'train\.steps'\?\)"),
        ("", "modle: {num_layers: 5}", r"no setting 'modle\.num_layers' \(did you mean 'model\.num_layers'\?\)"),
        ("", "model: {attention: {nsa: {windo: 5}}}", "there is no field 'windo'"),
        ("", "model: {attention: {local: {window: 5}}}", "the field 'kind' is missing"),
        ("", "train: {steps: many}", "train.steps is 'many'; expected int"),
        ("", "train: 3", "train is 3; expected settings below it"),
        ("", "model: {attention: nsa}", r"model\.attention is 'nsa'; expected settings below it"),
        ("", "just words", "holds no settings"),
        ("", "a: [1", "is no YAML"),
    ],
    ids=lambda value: None if value is None else value[:24].strip() or None,
)
def test_mistakes_are_answered_with_the_fix(read, line, text, words):
    with pytest.raises(ValueError, match=words):
        read(line, text)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"train: {}  # \xff")
    with pytest.raises(ValueError, match=r"run\.yaml is no YAML: it is not UTF-8 text"):
        read_settings(["--out", "x", "--config", str(tmp_path / "run.yaml")], prog="weft train", description="")


def test_a_section_that_a_file_leaves_empty_is_left_alone(read):
    assert read(text="train:\nseed: 3") == dataclasses.replace(RunConfig(out="run"), seed=3)


@pytest.mark.parametrize("name", [*preset_names(), "nsa-125m-tiny", "nano-d4-tiny"])
def test_every_preset_holds_values_of_the_right_types(name):
    """The parser is not asked about them, which would cost every `--help` a tenth of its time."""
    chosen = preset(name)
    from_mapping(RunConfig, {"out": "x", **chosen.training, "model": chosen.model.to_dict()}, where="preset")


def test_a_mistyped_variable_is_noticed_and_others_are_left_alone(read, monkeypatch):
    monkeypatch.setenv("WEFT_BACKEND", "torch")
    assert read() == RunConfig(out="run")
    monkeypatch.setenv("WEFT_TRAIN__STPS", "5")
    with pytest.raises(ValueError, match=r"WEFT_TRAIN__STPS names no setting \(did you mean 'WEFT_TRAIN__STEPS'\?\)"):
        read()


def test_a_run_needs_a_folder():
    with pytest.raises(ValueError, match="say where it goes: --out RUN"):
        read_settings(["--train.steps", "5"], prog="weft train", description="")


def test_a_missing_file_is_named(read):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        read("--config nowhere.yaml")


def test_what_print_config_prints_is_a_config(read, tmp_path, capsys):
    line = "--preset nano-d4 --train.steps 9 --model.attention.nsa.window 96"
    with pytest.raises(SystemExit) as stop:
        read(f"{line} --print_config")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["train"]["steps"] == 9
    assert read(text=text) == read(line)


@pytest.mark.parametrize(
    "config, words",
    [
        (OptimizerConfig(learning_rate=0), r"optimizer\.learning_rate is 0; it must be positive"),
        (OptimizerConfig(betas=(0.9, 1.0)), r"optimizer\.betas holds 1\.0"),
        (OptimizerConfig(clip_norm=-1), r"optimizer\.clip_norm is -1; it must not be negative"),
        (ScheduleConfig(min_ratio=2), r"schedule\.min_ratio is 2; it must lie in \[0, 1\]"),
        (ScheduleConfig(warmup_steps=-1), r"schedule\.warmup_steps is -1"),
        (ScheduleConfig(steps=0), r"schedule\.steps is 0"),
        (LoopConfig(steps=0), r"train\.steps is 0; it must be positive"),
        (LoopConfig(batch_size=6, accumulation=4), r"accumulation 4 does not divide train\.batch_size 6"),
        (LoopConfig(checkpoint_every=-1), r"train\.checkpoint_every is -1; it must not be negative"),
        (LoopConfig(sample_every=5, sample_prompts=()), r"train\.sample_prompts is empty"),
        (LoopConfig(threads=0), r"train\.threads is 0"),
        (TelemetryConfig(line_every=0), r"telemetry\.line_every is 0"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_every_impossible_value_is_found(config, words):
    assert len(config.problems()) == 1
    name = {OptimizerConfig: "optimizer", ScheduleConfig: "schedule", LoopConfig: "train", TelemetryConfig: "telemetry"}
    with pytest.raises(ValueError, match=words):
        RunConfig("run", **{name[type(config)]: config}).check()


def test_all_problems_of_a_run_are_named_at_once():
    config = RunConfig("run", optimizer=OptimizerConfig(eps=-1), train=LoopConfig(steps=0, context=0))
    with pytest.raises(ValueError, match=r"optimizer\.eps .*train\.steps .*train\.context"):
        config.check()


def test_the_commands_mistakes_take_one_line_and_exit_with_2(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--train.steps", "5"]) == 2
    assert main(["train", "--out", str(out), "--data.path", "no/such/place", "--telemetry.progress", "none"]) == 2
    assert not out.exists(), "a run that could not begin leaves nothing"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("weft: error: the run has no folder")
    assert "no/such/place" in lines[1]


def test_help_comes_without_torch_and_within_half_a_second_of_computing():
    code = "import sys; from weft.cli.main import main; main(['train', '--help']); assert 'torch' not in sys.modules"
    seconds = []
    while len(seconds) < 5 and min(seconds, default=1) > 0.5:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "--train.steps" in shown
    assert "optimizer steps of the whole run" in shown  # the fields' docstrings are the help
    assert min(seconds) < 0.5
