"""Which source a path is, and what is said when it is none. Synthetic tasks."""

import re

import pytest

from weft.data import Corpus, DataConfig, DataError, open_source
from weft.data.sources import source_kind

from .conftest import texts_of, write_jsonl, write_parquet


@pytest.mark.parametrize(
    "files, kind",
    [
        (["a.py", "b.txt"], "folder"),
        (["a.jsonl", "b/c.jsonl.gz"], "jsonl"),
        (["a.parquet", "README.md", "LICENSE", "manifest.json"], "parquet"),
        (["a.jsonl", "a.py"], "folder"),
        (["a.jsonl", "a.parquet"], "folder"),
        (["README.md"], "folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_folder_is_what_its_files_are(tmp_path, files, kind):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert source_kind(DataConfig(path=str(tmp_path))) == kind


@pytest.mark.parametrize(
    "name, kind",
    [("a.txt", "text"), ("a.py", "text"), ("a.JSONL", "jsonl"), ("a.jsonl.zst", "jsonl"), ("a.parquet", "parquet")],
)
def test_a_file_is_what_its_name_says(tmp_path, name, kind):
    (tmp_path / name).write_text("x")
    assert source_kind(DataConfig(path=str(tmp_path / name))) == kind


def test_without_a_path_it_is_the_standard_library():
    assert source_kind(DataConfig()) == "stdlib"


def test_a_named_kind_wins_over_the_name(tmp_path):
    path = tmp_path / "records.log"
    path.write_text('{"text": "one"}\n')
    assert texts_of(open_source(DataConfig(path=str(path), source="jsonl"))) == ["one"]


def test_a_missing_path_says_what_is_there_instead(tmp_path):
    (tmp_path / "data.jsonl").touch()
    with pytest.raises(FileNotFoundError, match=r"there is no .*daat \(data\.path\); .* exists and holds data\.jsonl"):
        open_source(DataConfig(path=str(tmp_path / "daat")))


@pytest.mark.parametrize("kind", ["folder", "jsonl", "parquet"])
def test_a_folder_without_such_files_is_an_error(tmp_path, kind):
    (tmp_path / "a.bin").touch() if kind != "folder" else None
    with pytest.raises(DataError, match=f"holds no {'' if kind == 'folder' else kind + ' '}files; nothing to read"):
        open_source(DataConfig(path=str(tmp_path), source=kind))


def test_globs_that_match_nothing_are_named(tmp_path):
    (tmp_path / "a.py").write_text("x")
    with pytest.raises(DataError, match=r"no files that match data\.include='\*\.cpp'"):
        open_source(DataConfig(path=str(tmp_path), include="*.cpp"))


def test_a_folder_given_as_a_text_file(tmp_path):
    with pytest.raises(DataError, match=r"is a folder; data\.source=text reads one file"):
        open_source(DataConfig(path=str(tmp_path), source="text"))


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"include": "*.py"}, r"data\.include chooses files of a folder, but data\.source=stdlib is none"),
        ({"source": "synthetic:copy", "exclude": "a"}, r"data\.exclude .* data\.source=synthetic:copy is none"),
        ({"path": "a.txt", "include": "*.txt"}, r"data\.include .* but a\.txt is none"),
        ({"path": ".", "separator": "x"}, r"data\.separator divides a text file, but \. is read as folder"),
        ({"path": "a.jsonl", "separator": "x"}, r"data\.separator .* a\.jsonl is read as jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_that_would_do_nothing_is_refused(settings, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    write_jsonl(tmp_path / "a.jsonl", [{"text": "x"}])
    with pytest.raises(DataError, match=said):
        open_source(DataConfig(**settings))


def test_held_out_files_may_be_one_file_beside_a_chosen_folder(tmp_path):
    (tmp_path / "project").mkdir()
    for name in ("project/a.py", "project/a.md", "held-out.py"):
        (tmp_path / name).write_text(name)
    config = DataConfig(
        path=str(tmp_path / "project"), include="*.py", source="auto", validation=str(tmp_path / "held-out.py")
    )
    assert [placed.document.text for placed in Corpus(config)] == ["project/a.py", "held-out.py"]


def test_contradicting_settings_are_refused_together():
    with pytest.raises(ValueError, match=r"data\.source is 'x'.*; data\.split_modulus is 0"):
        open_source(DataConfig(source="x", split_modulus=0))


def test_one_source_reads_what_another_wrote(tmp_path):
    texts = ["one", "two\nlines", "drei ß"]
    write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    write_parquet(tmp_path / "a.parquet", texts)
    for name in ("a.jsonl", "a.parquet"):
        assert texts_of(open_source(DataConfig(path=str(tmp_path / name)))) == texts


def synthetic(kind, **settings):
    return open_source(DataConfig(source=f"synthetic:{kind}", synthetic_documents=50, **settings))


@pytest.mark.parametrize("kind", ["copy", "recall", "needle"])
@pytest.mark.parametrize("length", [32, 256, 1000])
def test_synthetic_documents_have_about_the_length_asked_for_and_never_change(kind, length):
    texts = texts_of(synthetic(kind, synthetic_length=length))
    assert texts == texts_of(synthetic(kind, synthetic_length=length))
    assert len(set(texts)) == 50
    sizes = [len(text.encode()) for text in texts]
    shortest_needle = 90
    assert all(0.75 * length <= size <= max(1.25 * length, shortest_needle) for size in sizes)


def test_copy_repeats_its_word():
    for text in texts_of(synthetic("copy")):
        word, again = re.fullmatch(r"copy ([a-z]+) = ([a-z]+)\n", text).groups()
        assert word == again


def test_recall_asks_for_every_pair_once_and_answers_right():
    for text in texts_of(synthetic("recall")):
        given = dict(re.findall(r"([a-z]{2})=(\d)", text))
        asked = re.findall(r"([a-z]{2})\?(\d)", text)
        assert len(asked) == len(given) > 10
        assert dict(asked) == given


def test_needle_hides_its_number_anywhere():
    places = set()
    for text in texts_of(synthetic("needle", synthetic_length=512)):
        name, number = re.search(r"What is the number of the (\w+)\? (\d{5})\n$", text).groups()
        places.add(text.index(f"The number of the {name} is {number}.") * 4 // len(text))
    assert places >= {0, 1, 2}
