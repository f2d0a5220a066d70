"""Settings are checked together, before any file is looked at."""

import dataclasses

import docstring_parser
import pytest

from weft.data import DataConfig


def test_the_defaults_are_sound():
    assert DataConfig().problems() == []


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"source": "csv"}, "data.source is 'csv'; expected one of auto, stdlib"),
        ({"source": "jsonl"}, "needs data.path"),
        ({"source": "stdlib", "path": "x"}, "reads no path"),
        ({"source": "synthetic:copy", "path": "x"}, "reads no path"),
        ({"path": "x", "follow": "y"}, "not both"),
        ({"follow": "y", "source": "jsonl"}, "reads Parquet shards"),
        ({"split": "random"}, "expected hash or none"),
        ({"on_error": "ignore"}, "expected skip or fail"),
        ({"split_modulus": 1}, "expected at least 2"),
        ({"validation_documents": 0}, "expected at least 1"),
        ({"vocab_size": 256}, "expected at least 257"),
        ({"text_field": ""}, "data.text_field is empty"),
        ({"separator": ""}, "data.separator is empty"),
        ({"follow_poll_seconds": 0}, "expected more than 0"),
        ({"synthetic_documents": 0}, "expected at least 1"),
        ({"synthetic_length": 8}, "expected at least 32"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_named_with_what_was_expected(settings, said):
    (problem,) = DataConfig(**settings).problems()
    assert said in problem


def test_all_problems_are_found_at_once():
    assert len(DataConfig(source="csv", split_modulus=0, vocab_size=1).problems()) == 3


def test_every_field_is_explained():
    explained = {param.arg_name for param in docstring_parser.parse(DataConfig.__doc__).params}
    assert explained == {field.name for field in dataclasses.fields(DataConfig)}
