"""Saving and loading: equal logits, tied heads, nothing executed, mistakes named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from weft.model import Decoder, weights_sha256


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_loaded_model_has_the_same_logits_to_the_bit(woven, tokens, tmp_path, tied):
    model = woven(tie_embeddings=tied)
    model.save(tmp_path / "new" / "folder")
    loaded = Decoder.load(tmp_path / "new" / "folder")
    assert loaded.config == model.config
    assert torch.equal(loaded(tokens), model(tokens))
    assert (loaded.lm_head.weight is loaded.embed_tokens.weight) == tied
    assert weights_sha256(loaded) == weights_sha256(model)


def test_a_loaded_model_trains(woven, tokens, tmp_path):
    woven(tie_embeddings=True).save(tmp_path)
    loaded = Decoder.load(tmp_path)
    loaded.loss(tokens, tokens).backward()
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in loaded.parameters())
    assert {id(p) for p in loaded.parameters()} >= {id(loaded.lm_head.weight)}


def test_a_tied_matrix_is_written_once(woven, tmp_path):
    woven(tie_embeddings=True).save(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")


def test_the_dtype_can_be_chosen(woven, tokens, tmp_path):
    model = woven()
    model.save(tmp_path)
    loaded = Decoder.load(tmp_path, dtype=torch.float32)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded(tokens).double(), model(tokens), rtol=1e-3, atol=1e-4)


def test_loading_draws_no_random_numbers(woven, tmp_path):
    woven().save(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Decoder.load(tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_saving_again_replaces_and_leaves_nothing_else(woven, tmp_path):
    woven().save(tmp_path)
    woven(init_std=0.3).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert weights_sha256(Decoder.load(tmp_path)) == weights_sha256(woven(init_std=0.3))


def test_the_hash_sees_every_tensor_and_no_file(woven):
    model = woven()
    hashes = {weights_sha256(model)}
    assert hashes == {weights_sha256(woven())}
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.view(-1)[0] += 1
        hashes.add(weights_sha256(model))
    assert len(hashes) == 1 + len(list(model.parameters()))


def test_missing_files_are_named(tmp_path, woven):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        Decoder.load(tmp_path / "nowhere")
    woven().save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights: .*model\.safetensors"):
        Decoder.load(tmp_path)


def test_tensors_that_do_not_fit_are_named_with_both_shapes(tmp_path, woven):
    woven().save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["norm.weight"]
    tensors["head.weight"] = torch.zeros(1)
    tensors["lm_head.weight"] = torch.zeros(5, 32)
    save_file(tensors, tmp_path / "model.safetensors")
    message = r"lacks norm\.weight; .*unknown head\.weight; .*lm_head\.weight \(\[5, 32\], expected \[61, 32\]\)"
    with pytest.raises(ValueError, match=message):
        Decoder.load(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"num_layer": 3}', "[]"])
def test_a_config_that_is_none_is_named(tmp_path, woven, content):
    woven().save(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json is no model configuration of Weft's"):
        Decoder.load(tmp_path)


def test_a_damaged_file_is_named(tmp_path, woven):
    woven().save(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        Decoder.load(tmp_path)


def test_the_config_is_plain_json(tmp_path, woven):
    woven().save(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["pattern"] == "swa nsa mla full"
    assert values["attention"]["swa"]["kind"] == "swa"
