"""phi: each compressor against its definition, block by block."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.attention.compressor import ConvCompressor, MeanCompressor, MlpCompressor, build_compressor
from weft.ops.geometry import compressed_bounds

L, D, DIM = 12, 4, 6
KINDS = ("mean", "conv", "mlp")


def compressor(kind: str, dtype: torch.dtype = torch.float64) -> MeanCompressor:
    torch.manual_seed(0)
    phi = build_compressor(kind, DIM, block=L, stride=D)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in phi.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return phi.to(dtype)


def by_definition(phi: MeanCompressor, block: Tensor) -> Tensor:
    """(l, G, D) -> (G, D), as Eq. 7 has it."""
    if isinstance(phi, MlpCompressor):
        placed = block + phi.position[:, None]
        first, _, last = phi.mlp
        return torch.stack([last(F.gelu(first(placed[:, g].reshape(-1)))) for g in range(block.shape[1])])
    if isinstance(phi, ConvCompressor):
        kernel = phi.weight.T[:, None]  # (D, 1, l), depthwise
        y = F.conv1d(block.permute(1, 2, 0), kernel, stride=D, groups=DIM).squeeze(-1)
        return y + phi.mlp(y)
    return block.sum(0) / L


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 1, 11, 12, 15, 16, 37], ids=str)
def test_entry_i_is_phi_of_its_block(kind: str, length: int) -> None:
    phi, x = compressor(kind), torch.randn(2, length, 3, DIM, dtype=torch.float64)
    out = phi(x)
    assert out.shape == (2, 0 if length < L else (length - L) // D + 1, 3, DIM)
    for row in range(2):
        for i in range(out.shape[1]):
            expected = by_definition(phi, x[row, i * D : i * D + L])
            torch.testing.assert_close(out[row, i], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("documents", [(5, 12, 1, 52, 11, 20), (3, 4), (40,), (0, 16, 0, 17)], ids=str)
def test_no_block_crosses_documents(kind: str, documents: tuple[int, ...]) -> None:
    phi, x = compressor(kind), torch.randn(1, sum(documents), 2, DIM, dtype=torch.float64)
    bounds = torch.tensor([0, *documents]).cumsum(0).to(torch.int32)
    out = phi(x, cu_seqlens=bounds)
    separate = torch.cat([phi(part) for part in x.split(documents, dim=1)], dim=1)
    torch.testing.assert_close(out, separate, rtol=1e-12, atol=1e-12)
    assert out.shape[1] == int(compressed_bounds(bounds, L, D)[-1])


def test_a_compiled_graph_has_one_shape_whatever_the_documents() -> None:
    phi = compressor("mean")
    compiled = torch.compile(phi, fullgraph=True, backend="eager")
    x = torch.randn(1, 60, 2, DIM, dtype=torch.float64)
    for edges in ([0, 5, 60], [0, 25, 60]):
        bounds = torch.tensor(edges, dtype=torch.int32)
        expected = phi(x, cu_seqlens=bounds)
        out = compiled(x, cu_seqlens=bounds)
        assert out.shape[1] == (60 - L) // D + 1
        assert torch.equal(out[:, : expected.shape[1]], expected)
        assert torch.isfinite(out).all()


def test_conv_starts_as_the_mean() -> None:
    x = torch.randn(1, 40, 2, DIM)
    conv, mean = (build_compressor(kind, DIM, block=L, stride=D) for kind in ("conv", "mean"))  # type: ignore[arg-type]
    torch.testing.assert_close(conv(x), mean(x))


@pytest.mark.parametrize("kind", ["conv", "mlp"])
def test_every_parameter_learns(kind: str) -> None:
    phi = compressor(kind)
    phi(torch.randn(1, 40, 2, DIM, dtype=torch.float64)).pow(2).sum().backward()
    for name, parameter in phi.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0, name


def test_mean_of_bfloat16_is_summed_in_float32() -> None:
    x = torch.full((1, 512, 1, 1), 1.0).bfloat16()
    x[:, 0] = 256.0  # 256 + 1 = 256 in bfloat16
    mean = build_compressor("mean", 1, block=512, stride=512)(x)
    assert mean.item() == torch.tensor((256 + 511) / 512).bfloat16().item()
