"""Files that hold a benchmark's words are recognised, wherever they stand."""

import pytest

from weft.cpp.decontaminate import is_contaminated, load_benchmarks

TASK = "Write a function that takes a list of integers and returns the sum of the even ones only, please"


def test_a_run_of_words_in_common_is_found_whatever_stands_between_the_words(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "one.jsonl").write_text(f'{{"prompt": "{TASK}"}}')
    runs = load_benchmarks([tmp_path / "tasks"])
    assert is_contaminated(("/* " + TASK.replace(" ", "\n * ").upper() + " */").encode(), runs)
    assert not is_contaminated(" ".join(TASK.split()[:12]).encode(), runs)
    assert not is_contaminated(b"int main() { return 0; }", runs)


def test_no_benchmark_contaminates_nothing():
    assert not is_contaminated(TASK.encode(), load_benchmarks([]))


def test_a_benchmark_without_words_is_a_mistake(tmp_path):
    (tmp_path / "empty.txt").write_text("too few words")
    with pytest.raises(ValueError, match="no run of 13 words"):
        load_benchmarks([tmp_path / "empty.txt"])
    with pytest.raises(FileNotFoundError):
        load_benchmarks([tmp_path / "nowhere"])
