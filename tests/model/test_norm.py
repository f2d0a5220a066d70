"""RMSNorm and DynamicTanh against their formulas, and in low precision."""

import pytest
import torch

from weft.model.mlp import ReLUSquaredMLP, SwiGLUMLP, relu_squared
from weft.model.norm import DynamicTanh, RMSNorm


def test_dynamic_tanh_is_its_formula(generator):
    norm = DynamicTanh(6, alpha=0.7).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(6, generator=generator))
        norm.bias.copy_(torch.randn(6, generator=generator))
    x = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    alpha = norm.alpha.item()
    torch.testing.assert_close(norm(x), norm.weight * torch.tanh(alpha * x) + norm.bias)


def test_dynamic_tanh_differentiates(generator):
    norm = DynamicTanh(3).double()
    x = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, a, w, b: torch.func.functional_call(norm, {"alpha": a, "weight": w, "bias": b}, x),
        (x, *norm.parameters()),
    )


def test_rms_norm_statistics_are_float32_in_low_precision():
    """300^2 overflows float16, and a mean of bfloat16 squares would be off by percents."""
    norm = RMSNorm(512)
    x = torch.linspace(-300, 300, 512)
    expected = x / x.square().mean().sqrt()
    for dtype, rtol in ((torch.float16, 2**-10), (torch.bfloat16, 2**-7)):  # one rounding of input, one of output
        out = norm(x.to(dtype))
        assert out.dtype == dtype
        torch.testing.assert_close(out.float(), expected, rtol=rtol, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [RMSNorm, DynamicTanh])
def test_norms_keep_shape_and_dtype_under_float32_weights(kind, dtype):
    assert kind(8)(torch.ones(2, 3, 8, dtype=dtype)).dtype == dtype
    assert kind(8)(torch.ones(2, 3, 8, dtype=dtype)).shape == (2, 3, 8)


def test_swiglu_is_its_formula(generator):
    mlp = SwiGLUMLP(4, 6).double()
    x = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    gate, up, down = (part.weight for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
    a = x @ gate.T
    torch.testing.assert_close(mlp(x), (a / (1 + torch.exp(-a)) * (x @ up.T)) @ down.T)


def test_relu_squared_is_its_formula(generator):
    mlp = ReLUSquaredMLP(4, 6).double()
    x = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(mlp(x), (x @ mlp.up_proj.weight.T).clamp(min=0) ** 2 @ mlp.down_proj.weight.T)


def test_relu_squared_has_its_derivatives(generator):
    x = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(relu_squared, x)
    assert torch.autograd.gradgradcheck(relu_squared, x)


def test_relu_squared_stays_in_its_format_under_autocast(generator):
    x = torch.randn(3, 5, generator=generator).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert relu_squared(x).dtype == torch.bfloat16
