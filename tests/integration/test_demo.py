"""`weft demo`, whole but tiny: it trains, writes, measures, and says so in its last line and in the run's folder."""

import json
import lzma
import math
import re

import pytest

from tests.integration.corpus import beginnings
from weft.cli.main import main
from weft.data import DataConfig, held_out_documents
from weft.demo import ShowsSamples, shortened


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for index, text in enumerate(beginnings()):
        (folder / f"{index}.py").write_text(text, encoding="utf-8")
    return folder


def run_demo(corpus, folder, capsys):
    words = ["demo", "--preset", "nano-d4-tiny", "--train.steps", "3", "--data.path", str(corpus), "--out", str(folder)]
    code = main([*words, "--data.vocab_size", "512", "--train.sample_tokens", "8"])
    return code, capsys.readouterr().out.splitlines()


def test_it_trains_writes_and_measures(corpus, tmp_path, capsys):
    folder = tmp_path / "run"
    code, lines = run_demo(corpus, folder, capsys)
    assert code == 0
    line = re.fullmatch(r"held-out: (\d\.\d\d) bits per byte \(xz -9: (\d\.\d\d)\)", lines[-1])
    assert line is not None
    text = "\n".join(lines)
    assert text.index("before its first step the model writes:") < text.index("after 3 steps it writes:")

    data = b"".join(doc.text.encode() for doc in held_out_documents(DataConfig(path=str(corpus))))
    facts = json.loads((folder / "demo.json").read_text())
    assert facts["held_out"]["bytes"] == len(data) > 0
    assert math.isclose(
        facts["held_out"]["xz_bits_per_byte"], 8 * len(lzma.compress(data, preset=9)) / len(data), rel_tol=1e-3
    )
    assert line[1] == f"{facts['held_out']['bits_per_byte']:.2f}"
    assert line[2] == f"{facts['held_out']['xz_bits_per_byte']:.2f}"
    assert facts["training"]["steps"] == 3
    assert facts["command"].startswith("weft demo --preset nano-d4-tiny")
    assert lines[-1] in (folder / "report.md").read_text()

    code, again = run_demo(corpus, folder, capsys)  # a finished run is measured again, not trained again
    assert code == 0
    assert again[-1] == lines[-1]
    assert (folder / "report.md").read_text().count("## Files it never saw") == 1


def test_samples_appear_when_a_sampling_ends(tmp_path):
    said = []

    class Quiet:
        say = staticmethod(said.append)
        start = step = close = phase = staticmethod(lambda *words: None)

    shows = ShowsSamples(Quiet(), tmp_path)
    shows.phase("evaluating")
    shows.phase("")
    assert said == []
    for step in (0, 20):
        shows.phase("sampling")
        (tmp_path / f"step-{step:06d}.txt").write_text("-" * 80 + f"\ndef f{step}\n" + "-" * 80 + "\n")
        shows.phase("")
    assert said[0] == "before its first step the model writes:"
    assert said[2] == "after 20 steps it writes:"
    assert "| def f20" in said[3]


def test_long_samples_are_cut():
    rule = "-" * 80 + "\n"
    shown = shortened(rule + "one\n" * 40 + rule + "two\n" + rule)
    assert shown.count("| one") == 14
    assert "    | ..." in shown
    assert shown.count("| two") == 1
