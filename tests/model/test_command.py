"""`weft model describe`."""

import json

import pytest

from weft.cli.main import main
from weft.model import describe, preset


def test_tables_hold_the_counts(capsys):
    assert main(["model", "describe", "nano-d4"]) == 0
    shown = capsys.readouterr().out
    found = describe(preset("nano-d4").model)
    assert f"nano-d4: {found.parameters['total']:,} parameters" in shown
    assert "4 layers: swa nsa swa mla" in shown
    for number in [*found.parameters.values(), *found.layers[1].reads.values()]:
        assert f"{number:,}" in shown
    assert "forward FLOPs a token" in shown


def test_json_is_for_machines(capsys):
    assert main(["model", "describe", "nsa-125m", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["parameters"] == describe(preset("nsa-125m").model).parameters
    assert values["layers"][0]["reads"]["65536"] == 5631
    assert values["training"]["schedule"]["warmup_steps"] == 2000
    assert values["config"]["pattern"] == "nsa"


@pytest.mark.parametrize(
    "words, message",
    [
        (["describe", "nano-d4x"], "there is no preset 'nano-d4x' (did you mean 'nano-d4'?)"),
        (["describe"], "required: PRESET"),
        (["describe", "nano-d4", "--jsn"], "there is no flag '--jsn' (did you mean --json?)"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(words, message, capsys):
    assert main(["model", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
