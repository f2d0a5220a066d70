"""`weft generate`: over an exported model's folder."""

import io

import pytest

from tests.generate.exported import exported
from weft.cli.load import load
from weft.cli.main import main
from weft.generate import generate

__all__ = ["exported"]


def run(folder, *words):
    return main(["generate", str(folder), "--device", "cpu", "--max-new-tokens", "12", *words])


def expected(folder, prompt, *, seed=0, **settings):
    model, tokenizer, _ = load(str(folder), device="cpu")
    ids = [tokenizer.bos_id, *tokenizer.encode(prompt)]
    new = generate(model, [ids], max_new_tokens=12, seed=seed, stop_ids=[tokenizer.bos_id], **settings)[0]
    return prompt + tokenizer.decode(new) + "\n"


def test_the_prompt_and_its_continuation_are_printed(exported, capsys):
    assert run(exported, "--prompt", "def ", "--temperature", "0") == 0
    assert capsys.readouterr().out == expected(exported, "def ", temperature=0)


def test_sampling_settings_reach_the_sampler(exported, capsys):
    words = ["--temperature", "0.9", "--top-k", "40", "--top-p", "0.9", "--seed", "5"]
    assert run(exported, "--prompt", "def ", *words) == 0
    assert capsys.readouterr().out == expected(exported, "def ", temperature=0.9, top_k=40, top_p=0.9, seed=5)


def test_pages_change_no_letter(exported, capsys):
    assert run(exported, "--prompt", "def ", "--page-size", "64") == 0
    assert capsys.readouterr().out == expected(exported, "def ", temperature=0.8)


def test_several_prompts_and_samples_have_headings(exported, capsys):
    assert run(exported, "--prompt", "a", "--prompt", "import", "--num-samples", "2", "--seed", "3") == 0
    assert capsys.readouterr().out == "".join(
        f"--- seed {seed} ---\n" + expected(exported, prompt, seed=seed, temperature=0.8)
        for prompt in ("a", "import")
        for seed in (3, 4)
    )


def test_the_prompt_may_come_from_a_file_or_a_pipe(exported, capsys, monkeypatch, tmp_path):
    (tmp_path / "prompt.txt").write_text("naïve\n", encoding="utf-8")
    assert run(exported, "--prompt-file", str(tmp_path / "prompt.txt"), "--temperature", "0") == 0
    from_file = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("naïve\n".encode())))
    assert run(exported, "--temperature", "0") == 0
    assert capsys.readouterr().out == from_file == expected(exported, "naïve\n", temperature=0)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--temperature", "-1"], "temperature is -1.0; it must be 0 (greedy) or positive"),
        (["--top-k", "0"], "top_k is 0"),
        (["--device", "gpu"], "--device is 'gpu'; expected auto, cpu, cuda or cuda:N"),
        (["--num-samples", "0"], "--num-samples is 0; it must be at least 1"),
        (["--max-new-tokens", "-1"], "max_new_tokens is -1; it must not be negative"),
        (["--seed", str(2**63)], "it must lie in 0 to 2^63 - 1"),
        (["--prompt", "caf\udce9"], "--prompt is not UTF-8 text (at character 3)"),
        (["--prompt-file", "latin.txt"], "--prompt-file latin.txt is not UTF-8 text (at byte 3)"),
        (["--prompt-file", "missing.txt"], "No such file or directory: missing.txt"),
        (["--temprature", "1"], "there is no flag '--temprature' (did you mean --temperature?)"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(exported, capsys, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    prompt = [] if "--prompt-file" in words else ["--prompt", "x"]
    assert run(exported, *prompt, *words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == "", "a mistake is found before anything is printed"


def test_bytes_piped_in_that_are_no_text_are_a_mistake(exported, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    assert run(exported) == 2
    assert "the text piped in is not UTF-8 text (at byte 3)" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_told_apart_from_none(exported, capsys, tmp_path):
    assert run(exported.parent / "exportd", "--prompt", "x") == 2
    assert "no run or model folder (did you mean exported?)" in capsys.readouterr().err
    assert run(tmp_path, "--prompt", "x") == 2
    assert "is neither a run (it has no checkpoints/) nor an exported model" in capsys.readouterr().err
