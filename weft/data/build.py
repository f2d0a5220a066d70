"""Settings -> data that training can read: a tokenizer, token stores in a cache folder, packed rows."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adoption import no_poll
from .bpe import PATTERN, train_bpe
from .config import DataConfig
from .corpus import Corpus
from .follow import FollowDataset
from .packing import PackedDataset
from .publish import published_folder
from .report import Counts, Report
from .split import Part
from .store import StoreWriter, TokenStore, encode_documents
from .tokenizer import ByteTokenizer, Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from .loader import Loader

_LAYOUT = 1  # part of every cache key: raise it when the same settings give other tokens
_REPORT = "report.json"


def no_progress(doing: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Data:
    """What a run trains on.

    Args:
        train: The training rows.
        validation: The held-out rows; None if nothing is held out.
        tokenizer: Text <-> ids.
        fingerprint: Equal for equal tokens, split and tokenizer, wherever the files lie.
        report: What was read and what was left out.
        seed: Of the order of the training rows.
    """

    train: PackedDataset | FollowDataset
    validation: PackedDataset | None
    tokenizer: Tokenizer
    fingerprint: str
    report: Report
    seed: int

    def loader(
        self, *, batch_size: int, state: dict[str, Any] | None = None, rank: int = 0, world_size: int = 1
    ) -> Loader:
        """Batches of the training rows, without end (of a followed folder: until it is read); see `Loader`."""
        from .loader import Loader

        return Loader(self.train, batch_size=batch_size, seed=self.seed, state=state, rank=rank, world_size=world_size)


def build_data(
    config: DataConfig,
    *,
    context: int,
    seed: int,
    cache_folder: str | Path,
    rank: int = 0,
    poll: Callable[[], None] = no_poll,
    progress: Callable[[str], None] = no_progress,
) -> Data:
    """Reads, splits and encodes what `config` names, or finds it in the cache folder, where it is kept.

    With several processes rank 0 calls this first and the others after it: they find its results.

    Args:
        config: What to read.
        context: Tokens of a row.
        seed: Of the order of the training rows.
        cache_folder: Keeps the trained tokenizer, the tokens and, with `config.follow`, the order of the shards; give
            every run its own, or it cannot be resumed on its own.
        rank: Of this process; 0 decides which shards of a followed folder are finished.
        poll: Called every so often; may raise to stop.
        progress: Called with what is being done, for a person to read.

    Raises:
        ValueError: settings that make no sense, data that are not what they say (DataError names file and line).
        FileNotFoundError: a path that does not exist.
    """
    if found := config.problems():
        raise ValueError("; ".join(found))
    cache = Path(cache_folder)
    if config.follow:
        from .build_follow import build_followed  # which builds on this module

        return build_followed(
            config, context=context, seed=seed, cache=cache, leader=rank == 0, poll=poll, progress=progress
        )
    corpus = Corpus(config)
    tokenizer = corpus_tokenizer(config, corpus, cache, poll=poll, progress=progress)
    folder = cache / f"tokens-{cache_key(corpus.signature, tokenizer.fingerprint)}"
    if not _is_whole(folder):
        with published_folder(folder, is_valid=_is_whole) as temporary:
            _encode_corpus(corpus, tokenizer, temporary, poll=poll, progress=progress)
    report = _read_report(folder)
    train = TokenStore(folder / "train")
    held_out = TokenStore(folder / "validation") if report.validation else None
    return Data(
        train=PackedDataset(train, context),
        validation=PackedDataset(held_out, context) if held_out else None,
        tokenizer=tokenizer,
        fingerprint=fingerprint_of(tokenizer, train, held_out),
        report=report,
        seed=seed,
    )


def corpus_tokenizer(
    config: DataConfig,
    corpus: Corpus,
    cache: Path,
    *,
    poll: Callable[[], None] = no_poll,
    progress: Callable[[str], None] = no_progress,
) -> Tokenizer:
    """The tokenizer that the settings name; else one trained on the training documents and kept in `cache`."""
    if config.tokenizer is not None:
        return load_tokenizer(config.tokenizer)
    if config.source.startswith("synthetic:"):
        return ByteTokenizer()
    key = cache_key(corpus.signature, config.vocab_size, PATTERN)
    return kept_tokenizer(
        cache / f"tokenizer-{key}", corpus.tokenizer_texts, config.vocab_size, poll=poll, progress=progress
    )


def kept_tokenizer(
    folder: Path,
    texts: Callable[[], Iterable[str]],
    vocab_size: int,
    *,
    poll: Callable[[], None],
    progress: Callable[[str], None],
) -> Tokenizer:
    """The BPE in `folder`; if there is none yet, it is trained and kept there."""

    def is_valid(folder: Path) -> bool:
        return (folder / "tokenizer.json").is_file() and (folder / "tokenizer_config.json").is_file()

    def polled() -> Iterator[str]:
        for text in texts():
            poll()
            yield text

    if not is_valid(folder):
        progress(f"training a tokenizer of {vocab_size:,} entries")
        with published_folder(folder, is_valid=is_valid) as temporary:
            train_bpe(polled(), vocab_size).save(temporary)
    return load_tokenizer(folder, name="BPE trained on the training documents")


def cache_key(*parts: Any) -> str:
    """Short hash of everything that what is kept depends on."""
    return hashlib.sha256(json.dumps([_LAYOUT, *parts]).encode()).hexdigest()[:16]


def fingerprint_of(tokenizer: Tokenizer, *stores: TokenStore | None, also: Any = None) -> str:
    """Of the contents: tokenizer, stores, and whatever else decides about the rows."""
    return cache_key(tokenizer.fingerprint, [store and store.meta.fingerprint for store in stores], also)


def _encode_corpus(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    poll: Callable[[], None],
    progress: Callable[[str], None],
) -> None:
    """Fill `folder` with the stores `train` and `validation` (if anything is held out) and report.json."""
    started = time.perf_counter()
    expected = corpus.num_bytes
    writers: dict[Part, StoreWriter] = {}
    done = 0

    def before_group() -> None:
        poll()
        progress(f"encoding documents: {done / 1e6:.1f} of about {expected / 1e6:.1f} MB")

    encoded = encode_documents(corpus, tokenizer, text=lambda placed: placed.document.text, poll=before_group)
    for placed, ids, num_bytes in encoded:
        if placed.part not in writers:
            writers[placed.part] = StoreWriter(folder / placed.part, tokenizer)
        writers[placed.part].add(ids, num_bytes)
        done += num_bytes
    if "train" not in writers:
        raise corpus.without_documents(corpus.source)
    if corpus.validation is not None and "validation" not in writers:
        raise corpus.without_documents(corpus.validation)
    counts = {part: Counts.of(writer.close()) for part, writer in writers.items()}
    report = Report(
        source=corpus.source.description,
        tokenizer=tokenizer.name,
        split=corpus.split,
        train=counts["train"],
        validation=counts.get("validation"),
        problems=corpus.problems,
        seconds=time.perf_counter() - started,
    )
    (folder / _REPORT).write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")


def _read_report(folder: Path) -> Report:
    return Report.from_dict(json.loads((folder / _REPORT).read_text(encoding="utf-8")))


def _is_whole(folder: Path) -> bool:
    try:
        report = _read_report(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return TokenStore.is_valid(folder / "train") and (
        report.validation is None or TokenStore.is_valid(folder / "validation")
    )
