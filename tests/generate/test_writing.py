"""Text in, pieces of text out, and several rows written in order."""

import pytest

from weft.generate import InOrder, generate, write


def gathered(pieces, count):
    texts, ended = [""] * count, [False] * count
    for piece in pieces:
        assert not ended[piece.row]
        texts[piece.row] += piece.text
        ended[piece.row] = piece.last
    assert all(ended)
    return texts


def test_pieces_are_the_decoded_tokens_behind_bos_and_prompt(woven, letters):
    model = woven()
    prompts = ["loom", "", "a longer one"]
    settings = {"max_new_tokens": 15, "temperature": 0.8, "seed": [4, 5, 6]}
    tokens = generate(
        model, [[letters.bos_id, *letters.encode(p)] for p in prompts], stop_ids={letters.bos_id}, **settings
    )
    assert gathered(write(model, letters, prompts, **settings), 3) == [letters.decode(row) for row in tokens]


def test_a_row_ends_where_the_model_draws_bos(woven, letters):
    model = woven(head_init="zero")  # every token equally likely: one draw in 61 is BOS
    texts = gathered(write(model, letters, ["x"] * 4, max_new_tokens=60, seed=range(4)), 4)
    assert min(map(len, texts)) < 60


def test_pieces_come_as_they_are_made(woven, letters):
    pieces = write(woven(), letters, ["x"], max_new_tokens=200, temperature=0)
    assert next(pieces).text  # without waiting for the other 199


def test_the_first_unfinished_row_is_written_live():
    written = []
    rows = InOrder(["A:", "B:", "C:"], written.append, footing="|")
    rows.push(1, "b1")
    rows.push(0, "a1")
    assert "".join(written) == "A:a1"
    rows.push(1, "b2")
    rows.end(1)
    rows.push(2, "c1")
    assert "".join(written) == "A:a1"
    rows.end(0)
    assert "".join(written) == "A:a1|B:b1b2|C:c1"
    rows.push(2, "c2")
    rows.end(2)
    assert "".join(written) == "A:a1|B:b1b2|C:c1c2|"


def test_several_rows_come_out_whole_and_in_order(woven, letters):
    written = []
    prompts = ["ab", "cdefg", "x"]
    output = InOrder([f"<{prompt}>" for prompt in prompts], written.append)
    for piece in write(woven(), letters, prompts, max_new_tokens=9, seed=7):
        output.push(piece.row, piece.text)
        if piece.last:
            output.end(piece.row)
    texts = gathered(write(woven(), letters, prompts, max_new_tokens=9, seed=7), 3)
    assert "".join(written) == "".join(f"<{prompt}>{text}\n" for prompt, text in zip(prompts, texts, strict=True))


@pytest.mark.parametrize("prompts", [[], ["a"]])
def test_one_last_piece_for_each_row(woven, letters, prompts):
    assert sum(piece.last for piece in write(woven(), letters, prompts, max_new_tokens=3)) == len(prompts)
