"""Small corpora in the forms that users bring."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from weft.data import ByteTokenizer, PackedDataset, StoreWriter, TokenStore


def write_store(folder, texts, tokenizer=None):
    """A store of these texts, one id a byte unless told otherwise."""
    tokenizer = tokenizer or ByteTokenizer()
    writer = StoreWriter(folder, tokenizer)
    for text in texts:
        writer.add(tokenizer.encode(text), len(text.encode()))
    writer.close()
    return TokenStore(folder)


def write_parquet(path, texts, *, column="text", row_group_size=None):
    """A Parquet file that appears whole, as a careful writer makes it."""
    table = pyarrow.table({column: texts, "number": list(range(len(texts)))})
    temporary = path.with_name(f".{path.name}.tmp")
    pyarrow.parquet.write_table(table, temporary, row_group_size=row_group_size)
    temporary.rename(path)
    return path


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def texts_of(source):
    return [document.text for document in source]


@pytest.fixture
def packed(tmp_path):
    """Makes the packed rows of some texts."""

    def make(texts, context):
        return PackedDataset(write_store(tmp_path / f"store-{context}-{len(texts)}", texts), context)

    return make
