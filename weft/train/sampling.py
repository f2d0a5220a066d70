"""Text that the model writes on the way, into RUN/samples/step-000100.txt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from weft.data import Tokenizer
from weft.generate import stream
from weft.model import Decoder
from weft.train.folder import write_text


def write_samples(
    model: Decoder,
    tokenizer: Tokenizer,
    path: Path,
    *,
    prompts: Sequence[str],
    max_new_tokens: int,
    temperature: float,
    seed: int,
    poll: Callable[[], None],
) -> list[str]:
    """Continues each prompt and writes the texts, prompts included.

    Args:
        model: a decoder, not compiled.
        tokenizer: its tokenizer.
        path: the file.
        prompts: what to continue; the model's context bounds the whole.
        max_new_tokens: for each prompt; generation also ends where a document ends.
        temperature: 0 takes the likeliest token.
        seed: the same seed and weights write the same texts; each prompt draws by itself.
        poll: called after each token; whatever it raises ends the sampling.
    """
    ids = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    room = model.config.max_position_embeddings - max(map(len, ids))
    texts: list[list[int]] = [[] for _ in prompts]
    for step in stream(
        model,
        ids,
        max_new_tokens=max(0, min(max_new_tokens, room)),
        temperature=temperature,
        seed=[seed + row for row in range(len(ids))],
        stop_ids=(tokenizer.bos_id,),
    ):
        poll()
        for text, token in zip(texts, step, strict=True):
            if token is not None:
                text.append(token)
    samples = [tokenizer.decode([*start[1:], *text]) for start, text in zip(ids, texts, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    rule = "-" * 80
    write_text(path, "".join(f"{rule}\n{sample}\n" for sample in samples) + rule + "\n")
    return samples
