"""Decoder: shapes, loss, causality, packing, caches, checkpointing, options."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from weft.attention.config import FullConfig
from weft.model import Decoder, ModelConfig, preset
from weft.model.decoder import default_positions

ROUNDING = {"rtol": 1e-9, "atol": 1e-10}  # float64, other orders of summation


def test_logits_have_a_row_for_each_token_and_are_at_least_float32(woven, tokens):
    assert woven()(tokens).shape == (2, 23, 61)
    assert woven()(tokens).dtype == torch.float64
    assert woven().bfloat16()(tokens).dtype == torch.float32


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_loss_is_the_cross_entropy_of_the_logits(woven, tokens, softcap, tied):
    model = woven(logit_softcap=softcap, tie_embeddings=tied)
    labels = tokens.roll(-1, dims=1)
    labels[0, 5:9] = -100
    expected = F.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())
    torch.testing.assert_close(model.loss(tokens, labels), expected, **ROUNDING)
    total, count = model(tokens, labels)
    assert count == 2 * 23 - 4
    torch.testing.assert_close(total, expected * count, **ROUNDING)


def test_loss_without_any_label_is_zero(woven, tokens):
    assert woven().loss(tokens, torch.full_like(tokens, -100)) == 0


def test_softcap_bounds_the_logits_and_keeps_their_order(woven, tokens):
    capped, plain = woven(logit_softcap=2.0)(tokens), woven()(tokens)
    assert plain.abs().max() > 2 > capped.abs().max()
    torch.testing.assert_close(capped, 2 * torch.tanh(plain / 2), **ROUNDING)


def test_the_future_changes_nothing(woven, tokens):
    model = woven()
    changed = tokens.clone()
    changed[:, 15:] = (changed[:, 15:] + 1) % 61
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :15], after[:, :15])
    assert not torch.equal(before[:, 15:], after[:, 15:])


def test_packed_documents_equal_separate_ones(woven, tokens):
    model = woven()
    sizes = [1, 13, 3, 19, 10]
    bounds = torch.tensor([0, *torch.tensor(sizes).cumsum(0)], dtype=torch.int32)
    packed = model(tokens.reshape(1, -1), cu_seqlens=bounds)
    for document, start in zip(tokens.flatten().split(sizes), bounds, strict=False):
        alone = model(document[None])
        torch.testing.assert_close(packed[:, start : start + len(document)], alone, **ROUNDING)


def test_packed_gradients_equal_separate_ones(woven, tokens):
    packed, separate = woven(), woven()
    sizes = [9, 1, 36]
    bounds = torch.tensor([0, 9, 10, 46], dtype=torch.int32)
    labels = tokens.flip(1)
    packed(tokens.reshape(1, -1), labels.reshape(1, -1), cu_seqlens=bounds)[0].backward()
    for document, label in zip(tokens.flatten().split(sizes), labels.flatten().split(sizes), strict=True):
        separate(document[None], label[None])[0].backward()
    for (name, one), two in zip(packed.named_parameters(), separate.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, **ROUNDING, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("chunks", [[23], [1] * 23, [4, 4, 4, 4, 4, 3], [7, 1, 1, 13, 1], [3, 20]], ids=str)
def test_chunks_through_the_cache_equal_one_pass(woven, tokens, chunks):
    model = woven()
    cache = model.new_cache(2, 23)
    with torch.no_grad():
        parts = [model(chunk, cache=cache) for chunk in tokens.split(chunks, dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), **ROUNDING)
    assert cache.lengths.tolist() == [23, 23]


def test_padded_rows_of_unequal_length_equal_separate_ones(woven, tokens):
    model = woven()
    lengths = torch.tensor([17, 6])
    cache = model.new_cache(2, 20)
    with torch.no_grad():
        prefill = model(tokens[:, :17], cache=cache, lengths=lengths)
        step = model(tokens[:, 20:21], cache=cache)
        for row, length in enumerate(lengths.tolist()):
            own = torch.cat([tokens[row, :length], tokens[row, 20:21]])[None]
            alone = model(own)[0]
            torch.testing.assert_close(prefill[row, :length], alone[:-1], **ROUNDING)
            torch.testing.assert_close(step[row, 0], alone[-1], **ROUNDING)
    assert cache.lengths.tolist() == [18, 7]


def test_cache_reorders_truncates_and_counts(woven, tokens):
    model = woven()
    cache = model.new_cache(2, 23)
    with torch.no_grad():
        model(tokens[:, :16], cache=cache)
        cache.reorder(torch.tensor([1, 0]))
        step = model(tokens.flip(0)[:, 16:17], cache=cache)
        torch.testing.assert_close(step[:, 0], model(tokens.flip(0)[:, :17])[:, -1], **ROUNDING)
    # the step's query is the 17th token: 7 compressed entries, 2 whole blocks and 1 token, and a window in two layers
    assert cache.reads == {
        "compressed": 2 * 7,
        "selected": 2 * (4 + 4 + 1),
        "sliding": 2 * (5 + 5 + 2),
        "latent": 34,
        "full": 34,
    }
    assert cache.nbytes == sum(layer.nbytes for layer in cache.layers) > 0
    assert cache.max_length == 23


def test_truncated_cache_goes_on_where_it_was_cut(woven, tokens):
    model = woven()
    cache = model.new_cache(2, 23)
    with torch.no_grad():
        model(tokens[:, :4], cache=cache)  # shorter than the window: the rings have lost nothing
        cache.truncate(torch.tensor([3, 3]))
        assert cache.lengths.tolist() == [3, 3]
        again = model(tokens[:, 3:9], cache=cache)
        torch.testing.assert_close(again, model(tokens[:, :9])[:, 3:], **ROUNDING)


def test_a_cache_goes_back_in_all_layers_or_in_none(woven, tokens):
    model = woven(pattern="full swa nsa", num_layers=3)
    with torch.no_grad():
        cache = model.new_cache(2, 23)
        model(tokens[:, :20], cache=cache)
        with pytest.raises(ValueError, match=r"cannot shrink to 18.*new_cache\(\.\.\., rollback=1\)"):
            cache.truncate([18, 20])
        assert [layer.lengths.tolist() for layer in cache.layers] == [[20, 20]] * 3
        whole = model(tokens)
        torch.testing.assert_close(model(tokens[:, 20:], cache=cache), whole[:, 20:], **ROUNDING)

        cache = model.new_cache(2, 23, rollback=1)  # as the error says
        model(tokens[:, :20], cache=cache)
        cache.truncate([18, 18])
        cache.reorder((1, 0))
        back = model(tokens[[1, 0], 18:], cache=cache)
        torch.testing.assert_close(back, whole[[1, 0], 18:], **ROUNDING)


class Asked(TorchFunctionMode):
    """Counts how often numbers of a tensor are asked for: on a GPU each time waits."""

    def __init__(self):
        super().__init__()
        self.times = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.times += func in (torch.Tensor.tolist, torch.Tensor.item)
        return func(*args, **(kwargs or {}))


def test_a_cache_of_many_layers_asks_for_lengths_and_rows_once(woven, tokens):
    model = woven(pattern="full swa nsa", num_layers=6)
    cache = model.new_cache(2, 23, rollback=4, page_size=8)
    with torch.no_grad():
        for ask in (
            lambda: model(tokens[:, :20], cache=cache, lengths=torch.tensor([20, 19])),
            lambda: cache.truncate(torch.tensor([18, 17])),
            lambda: cache.reorder(torch.tensor([1, 0])),
        ):
            with Asked() as asked:
                ask()
            assert asked.times == 1


def test_pages_that_do_not_suffice_stop_all_layers_or_none(woven, tokens):
    model = woven()
    cache = model.new_cache(2, 23, page_size=8, num_pages=5)
    with torch.no_grad():
        model(tokens[:, :16], cache=cache)
        with pytest.raises(ValueError, match="num_pages=5 are left"):
            model(tokens[:, 16:17], cache=cache)
        assert [layer.lengths.tolist() for layer in cache.layers] == [[16, 16]] * len(cache.layers)
        cache.truncate([16, 0])
        rest = model(tokens[:, 16:], cache=cache, lengths=torch.tensor([7, 0]))
        torch.testing.assert_close(rest[0], model(tokens[:1])[0, 16:], **ROUNDING)


@pytest.mark.parametrize("what", ["attention", "mlp", "both"])
def test_activation_checkpoints_change_no_gradient_by_a_bit(woven, tokens, what):
    plain, frugal = woven(), woven(activation_checkpoint=what)
    for model in (plain, frugal):
        model.loss(tokens, tokens.roll(-1, 1)).backward()
    for one, two in zip(plain.parameters(), frugal.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad)


def test_activation_checkpoints_keep_fewer_tensors_for_the_backward_pass(woven, tokens):
    def kept(model):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            model.loss(tokens, tokens)
        return sum(sizes)

    none, attention, mlp, both = (
        kept(woven(activation_checkpoint=what)) for what in ("none", "attention", "mlp", "both")
    )
    assert both < attention < none
    assert both < mlp < none


def test_it_compiles_whole_and_gives_the_same_loss_and_gradients(woven, tokens):
    """The decoder around its layers; what the layers compile to is tested with them."""
    model = woven(pattern="full", num_layers=1, tie_embeddings=True, logit_softcap=5.0)
    bounds = torch.tensor([0, 20, 23], dtype=torch.int32)
    torch.compiler.reset()
    results = []
    for run in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        loss, _ = run(tokens[:1], tokens[1:], cu_seqlens=bounds)
        loss.backward()
        results.append([loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, **ROUNDING)


def test_default_positions_restart_with_documents_and_go_on_with_caches(woven, tokens):
    assert default_positions(tokens)[1].tolist() == list(range(23))
    bounds = torch.tensor([0, 3, 3, 4, 7], dtype=torch.int32)
    assert default_positions(tokens[:1, :7], cu_seqlens=bounds).tolist() == [[0, 1, 2, 0, 0, 1, 2]]
    model = woven()
    cache = model.new_cache(2, 9)
    model(tokens[:, :5], cache=cache, lengths=torch.tensor([5, 2]))
    assert default_positions(tokens[:, :2], cache=cache).tolist() == [[5, 6], [2, 3]]


def test_rows_without_positions_are_as_with_them(woven, tokens):
    model = woven()
    positions = torch.arange(23).expand(2, -1)
    assert torch.equal(model(tokens), model(tokens, positions=positions))


@pytest.mark.parametrize("norm", ["rmsnorm", "dynamic_tanh"])
@pytest.mark.parametrize("mlp", ["swiglu", "relu2"])
def test_every_combination_of_norm_and_mlp_learns(woven, tokens, norm, mlp):
    model = woven(norm=norm, mlp=mlp, tie_embeddings=True, init_std=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.15
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["swa-mla-small-tiny", "nsa-125m-tiny", "nsa-paper-tiny", "nano-d4-tiny"])
def test_tiny_presets_learn(name, tokens):
    torch.manual_seed(0)
    found = preset(name)
    model = Decoder(found.model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=found.training["optimizer"]["learning_rate"])
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(320), abs=1.0)
    assert losses[-1] < losses[0] - 0.2


def test_a_model_of_one_kind_is_a_plain_transformer(tokens):
    """Against a decoder written out with torch's own attention."""
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=61,
        num_layers=2,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention={"full": FullConfig()},
        pattern="full",
        init_std=0.2,
    )
    model = Decoder(config).double()
    state = model.state_dict()

    def norm(x, weight):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    angles = torch.arange(23).double()[:, None] * (1.0 / 10000 ** (torch.arange(0, 8, 2) / 8)).double()

    def rotate(x):  # (B, H, T, 8)
        first, second = x.chunk(2, -1)
        return torch.cat(
            [first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()], -1
        )

    x = state["embed_tokens.weight"][tokens]
    for index in range(2):
        part = {
            name.removeprefix(f"layers.{index}."): value for name, value in state.items() if f"layers.{index}." in name
        }
        y = norm(x, part["input_layernorm.weight"])
        q, k, v = ((y @ part[f"self_attn.{c}_proj.weight"].T).unflatten(-1, (-1, 8)).transpose(1, 2) for c in "qkv")
        out = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=True)
        x = x + out.transpose(1, 2).flatten(2) @ part["self_attn.o_proj.weight"].T
        y = norm(x, part["post_attention_layernorm.weight"])
        y = F.silu(y @ part["mlp.gate_proj.weight"].T) * (y @ part["mlp.up_proj.weight"].T)
        x = x + y @ part["mlp.down_proj.weight"].T
    expected = norm(x, state["norm.weight"]) @ state["lm_head.weight"].T
    # The rotary angles are float32 in the model: 23 * 2^-24 = 1e-6 radians at most.
    torch.testing.assert_close(model(tokens), expected, rtol=1e-5, atol=1e-5)


def test_copies_of_a_model_share_nothing(woven, tokens):
    model = woven(tie_embeddings=True)
    twin = copy.deepcopy(model)
    assert twin.lm_head.weight is twin.embed_tokens.weight
    with torch.no_grad():
        twin.embed_tokens.weight.zero_()
    assert model.embed_tokens.weight.abs().sum() > 0


@pytest.mark.parametrize(
    "bad", [torch.zeros(3, dtype=torch.int64), torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.int32)]
)
def test_tokens_of_another_shape_or_dtype_are_an_error(woven, bad):
    with pytest.raises(ValueError, match=r"tokens must be int64 of shape \(B, T\), got"):
        woven()(bad)


def test_a_broken_configuration_is_reported_as_a_whole():
    with pytest.raises(ValueError, match=r"cannot be built: .*no attention entry 'foo'"):
        Decoder(ModelConfig(pattern="foo"))
