"""What to read, how to split it and how to turn it into tokens. Imports no torch, so that `--help` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SYNTHETIC_KINDS = ("copy", "recall", "needle")
SOURCE_KINDS = ("auto", "stdlib", "text", "folder", "jsonl", "parquet", *(f"synthetic:{k}" for k in SYNTHETIC_KINDS))


@dataclass(frozen=True)
class DataConfig:
    """Where the documents come from, which of them are held out, and which tokenizer reads them.

    Args:
        source: Kind of source: auto, stdlib, text, folder, jsonl, parquet, synthetic:copy, synthetic:recall or
            synthetic:needle. auto looks at `path`; without a path it is stdlib, the Python standard library's source.
        path: File or folder to read: a text file, a .jsonl, .jsonl.gz or .parquet file, or a folder of any of them.
        follow: Folder of Parquet shards that is still growing; read until its `_COMPLETE` appears. Instead of `path`.
        include: Comma-separated globs; of a folder only the files whose name or relative path matches one are read
            ("*.py,*.md"). None reads every file that is text.
        exclude: Comma-separated globs of files and folders to leave out ("tests,*.min.js").
        text_field: Field of a JSONL object or column of a Parquet file that holds the text.
        separator: String between the documents of a text file, such as "<|endoftext|>". None: a file is one document.
        validation: File or folder of held-out documents of the same kind; then nothing is split off the training data.
        split: hash holds out the documents whose SHA-256 (of the path relative to the source folder; of the text where
            a file holds many documents) is 0 modulo `split_modulus`; none holds out nothing.
        split_modulus: One document in this many is held out (in the long run).
        validation_documents: At most this many held-out documents are kept for validation; None keeps all. The rest is
            not trained on either. With `follow`, None means 256.
        tokenizer: "byte", a folder or file made by `weft data tokenizer` or by Hugging Face (tokenizer.json), or a name
            on the Hugging Face hub. None trains a byte-level BPE on the training documents and keeps it (for synthetic
            sources None is "byte").
        vocab_size: Entries of the BPE that is trained where no tokenizer is named.
        on_error: What a malformed line, bad encoding or empty record does: skip counts it and goes on, fail stops with
            its file and line.
        follow_poll_seconds: Seconds between two looks at a growing folder while there is nothing to read.
        synthetic_documents: Documents that a synthetic source makes.
        synthetic_length: Length of one synthetic document in bytes, about.
    """

    source: str = "auto"
    path: str | None = None
    follow: str | None = None
    include: str | None = None
    exclude: str | None = None
    text_field: str = "text"
    separator: str | None = None
    validation: str | None = None
    split: Literal["hash", "none"] = "hash"
    split_modulus: int = 10
    validation_documents: int | None = None
    tokenizer: str | None = None
    vocab_size: int = 4096
    on_error: Literal["skip", "fail"] = "skip"
    follow_poll_seconds: float = 2.0
    synthetic_documents: int = 20_000
    synthetic_length: int = 256

    def problems(self) -> list[str]:
        """Everything that is wrong with these settings on their own, one sentence each. Looks at no file."""
        found = []
        if self.source not in SOURCE_KINDS:
            found.append(f"data.source is {self.source!r}; expected one of {', '.join(SOURCE_KINDS)}")
        elif self.source in ("text", "folder", "jsonl", "parquet") and not (self.path or self.follow):
            found.append(f"data.source={self.source} needs data.path: the file or folder to read")
        elif self.path and (self.source == "stdlib" or self.source.startswith("synthetic:")):
            found.append(
                f"data.source={self.source} reads no path, but data.path is {self.path!r}; leave one of them out"
            )
        if self.follow and self.path:
            found.append(
                "data.follow and data.path are both set; follow a growing folder or read a finished path, not both"
            )
        if self.follow and self.source not in ("auto", "parquet"):
            found.append(f"data.follow reads Parquet shards; data.source is {self.source!r}, expected auto or parquet")
        if self.split not in ("hash", "none"):
            found.append(f"data.split is {self.split!r}; expected hash or none")
        if self.on_error not in ("skip", "fail"):
            found.append(f"data.on_error is {self.on_error!r}; expected skip or fail")
        if self.split_modulus < 2:
            found.append(
                f"data.split_modulus is {self.split_modulus}; expected at least 2 (data.split=none holds out nothing)"
            )
        if self.validation_documents is not None and self.validation_documents < 1:
            found.append(
                f"data.validation_documents is {self.validation_documents}; expected at least 1 "
                "(data.split=none holds out nothing)"
            )
        if self.vocab_size < 257:
            found.append(f"data.vocab_size is {self.vocab_size}; expected at least 257: the 256 bytes and BOS")
        if not self.text_field:
            found.append("data.text_field is empty; expected the name of the field that holds the text")
        if self.separator == "":
            found.append(
                "data.separator is empty; leave it out (a file is one document) or name the string between documents"
            )
        if self.follow_poll_seconds <= 0:
            found.append(f"data.follow_poll_seconds is {self.follow_poll_seconds}; expected more than 0")
        if self.synthetic_documents < 1:
            found.append(f"data.synthetic_documents is {self.synthetic_documents}; expected at least 1")
        if self.synthetic_length < 32:
            found.append(f"data.synthetic_length is {self.synthetic_length}; expected at least 32")
        return found
