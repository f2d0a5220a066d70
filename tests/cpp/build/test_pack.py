"""Work files: whole or not there, every record by itself."""

import pytest

from weft.cpp.build.pack import Pack, PackWriter


def test_records_come_back(tmp_path):
    records = [({"path": f"{n}.c", "n": n}, b"int x;\n" * n) for n in range(5)]
    with PackWriter(tmp_path / "a.pack") as writer:
        for about, text in records:
            writer.add(about, text)
    with Pack(tmp_path / "a.pack") as pack:
        entries = list(pack.entries())
        assert [about for about, _ in entries] == [about for about, _ in records]
        assert [pack.read(ref) for _, ref in reversed(entries)] == [text for _, text in reversed(records)]


def test_an_empty_pack_is_a_pack(tmp_path):
    with PackWriter(tmp_path / "a.pack"):
        pass
    with Pack(tmp_path / "a.pack") as pack:
        assert list(pack.entries()) == []


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(TypeError), PackWriter(tmp_path / "a.pack") as writer:
        writer.add({"not": {"json"}}, b"text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"short", b"x" * 100])
def test_another_file_is_no_pack(tmp_path, data):
    (tmp_path / "a.pack").write_bytes(data)
    with pytest.raises(ValueError, match="no whole work file; delete it"):
        Pack(tmp_path / "a.pack")
