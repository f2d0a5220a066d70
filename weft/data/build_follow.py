"""The part of `build_data` for a folder that still grows: everything that must be settled before its first batch.

Settled from the first shards, and kept: the tokenizer (if none is named) and the held-out documents. Which documents
are held out is decided by each one's text alone, so one that comes later is never trained on if it hashes alike,
although the validation set, once written, does not grow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from .adoption import Adoption
from .bpe import PATTERN, sample_bytes
from .build import Data, cache_key, fingerprint_of, kept_tokenizer
from .config import DataConfig
from .corpus import held_out_config
from .document import DataError, Document, Problems
from .follow import FollowDataset, shard_documents
from .packing import PackedDataset
from .publish import published_folder
from .report import Counts, Report
from .shards import ShardFolder
from .sources import open_source
from .split import held_out
from .store import StoreWriter, TokenStore, encode_documents
from .tokenizer import Tokenizer, load_tokenizer

_HELD_OUT = 256  # documents, where data.validation_documents says nothing


def build_followed(
    config: DataConfig,
    *,
    context: int,
    seed: int,
    cache: Path,
    leader: bool,
    poll: Callable[[], None],
    progress: Callable[[str], None],
) -> Data:
    """See `build_data`. Waits until the first shard is there.

    Raises:
        FileNotFoundError: the folder does not exist.
        DataError: the folder is complete, but holds nothing to train on or nothing to hold out.
    """
    path = Path(config.follow or "").expanduser()
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path} (data.follow); make it, even if its first shard is yet to come"
        )
    folder = cache / "follow"
    adoption = Adoption(
        ShardFolder(path),
        folder / "adopted.jsonl",
        leader=leader,
        poll_seconds=config.follow_poll_seconds,
        poll=poll,
    )
    progress(f"looking for shards in {path}")
    if adoption.get(0) is None:
        raise DataError(f"{path} is complete and holds no Parquet shard; nothing to train on")
    reading = _Reading(config, adoption, poll)
    if config.tokenizer is not None:
        tokenizer = load_tokenizer(config.tokenizer)
    else:
        key = cache_key(config.text_field, reading.modulus, config.vocab_size, PATTERN)
        tokenizer = kept_tokenizer(
            folder / f"tokenizer-{key}", reading.sample, config.vocab_size, poll=poll, progress=progress
        )
    validation = _validation(config, reading, tokenizer, folder, progress)
    train = FollowDataset(
        adoption,
        tokenizer,
        context,
        text_field=config.text_field,
        modulus=reading.modulus,
        on_error=config.on_error,
    )
    report = Report(
        source=f"growing folder {path} ({len(adoption.shards):,} shards so far, column {config.text_field!r})",
        tokenizer=tokenizer.name,
        split=reading.rule,
        train=None,
        validation=Counts.of(validation.meta) if validation else None,
        problems=train.problems,
    )
    return Data(
        train=train,
        validation=PackedDataset(validation, context) if validation else None,
        tokenizer=tokenizer,
        fingerprint=fingerprint_of(tokenizer, validation, also=["follow", config.text_field, reading.modulus]),
        report=report,
        seed=seed,
    )


class _Reading:
    """The first shards, read before the training starts.

    Args:
        config: Settings.
        adoption: Holds at least one shard.
        poll: May raise to stop.
    """

    def __init__(self, config: DataConfig, adoption: Adoption, poll: Callable[[], None]) -> None:
        self.config = config
        self.adoption = adoption
        self.poll = poll
        splits = config.split == "hash" and config.validation is None
        self.modulus = config.split_modulus if splits else None
        self.rule = (
            f"held out: documents whose sha256 is 0 modulo {self.modulus}"
            if splits
            else f"held out: {config.validation or 'nothing (data.split=none)'}"
        )

    def is_held_out(self, document: Document) -> bool:
        return self.modulus is not None and held_out(document, self.modulus)

    def documents(self, shard: int) -> Iterator[Document]:
        """All usable documents of an adopted shard. What is left out is counted when it is read for training."""
        problems = Problems(self.config.on_error)
        found = self.adoption.shards[shard]
        for _, document in shard_documents(self.adoption, found, self.config.text_field, problems):
            yield document

    def sample(self) -> Iterator[str]:
        """Training texts of the shards that are there now, up to a bound."""
        size, bound = 0, sample_bytes(self.config.vocab_size)
        for shard in range(len(self.adoption.shards)):
            for document in self.documents(shard):
                if not self.is_held_out(document):
                    yield document.text
                    size += len(document.text)
                    if size >= bound:
                        return

    def held_out(self) -> Iterator[Document]:
        """Held-out documents of the shards that are there now; of later ones, waiting for them, until there is one."""
        count, shard = 0, 0
        limit = self.config.validation_documents or _HELD_OUT
        while count < limit:
            known = shard < len(self.adoption.shards)
            if (not known and count) or self.adoption.get(shard) is None:
                return
            for document in filter(self.is_held_out, self.documents(shard)):
                yield document
                count += 1
                if count == limit:
                    return
            shard += 1

    def named(self) -> Iterator[Document]:
        """The documents of `data.validation`."""
        for count, document in enumerate(open_source(held_out_config(self.config), setting="data.validation")):
            if count == self.config.validation_documents:
                return
            yield document


def _validation(
    config: DataConfig,
    reading: _Reading,
    tokenizer: Tokenizer,
    folder: Path,
    progress: Callable[[str], None],
) -> TokenStore | None:
    """The held-out documents, chosen once and kept; None if none are to be held out."""
    if reading.modulus is None and config.validation is None:
        return None
    key = cache_key(
        config.text_field, reading.modulus, config.validation_documents, config.validation, tokenizer.fingerprint
    )
    target = folder / f"validation-{key}"
    if not TokenStore.is_valid(target):
        progress("choosing the held-out documents")
        with published_folder(target, is_valid=TokenStore.is_valid) as temporary:
            writer = StoreWriter(temporary, tokenizer)
            chosen = reading.named() if config.validation else reading.held_out()
            encoded = encode_documents(chosen, tokenizer, text=lambda document: document.text, poll=reading.poll)
            names = []
            for document, ids, num_bytes in encoded:
                writer.add(ids, num_bytes)
                names.append(document.where)
            if writer.close().num_documents == 0:
                raise DataError(
                    f"none of the documents in {config.validation or config.follow} is held out; lower "
                    "data.split_modulus, name data.validation, or set data.split=none"
                )
            (temporary / "documents.json").write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    return TokenStore(target)
