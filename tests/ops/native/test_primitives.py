"""The kernels' primitives against torch: products of every shape of edge, powers of two, bfloat16, tasks."""

import pytest
import torch
from torch import Tensor

from weft.ops import native
from weft.ops.native.library import library

if native.unavailable() is not None:
    pytest.skip(str(native.unavailable()), allow_module_level=True)

NAN = float("nan")


def gemm(c: Tensor, a: Tensor, b: Tensor, accumulate: bool) -> None:
    """c = or += a @ b by the library; a has any strides, c and b contiguous rows."""
    (M, K), N = a.shape, b.shape[1]
    pointers = [x.data_ptr() for x in (c, a, b)]
    strides = (c.stride(0), *a.stride(), b.stride(0))
    c_at, a_at, b_at = (native.address(pointer) for pointer in pointers)
    native.call("weft_check_gemm", c_at, strides[0], a_at, *strides[1:3], b_at, strides[3], M, N, K, accumulate, 1)


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 13])
@pytest.mark.parametrize("columns", [1, 7, 16, 31, 48, 64, 65, 130])
def test_gemm(rows: int, columns: int, generator: torch.Generator) -> None:
    """Exact on small integers, whatever the strides; nothing beside C is touched, nothing beside A and B is read."""
    for depth in (1, 19, 300):
        for transposed in (False, True):
            a = torch.randint(-4, 5, (rows, depth), generator=generator).float()
            a = a.T.contiguous().T if transposed else a
            around = torch.full((depth, columns + 9), NAN)
            b = around[:, 3 : 3 + columns].copy_(torch.randint(-4, 5, (depth, columns), generator=generator))
            frame = torch.full((rows + 1, columns + 5), NAN)
            c = frame[:rows, 2 : 2 + columns]
            gemm(c, a, b, accumulate=False)
            assert torch.equal(c, a @ b)
            gemm(c, a, b, accumulate=True)
            assert torch.equal(c, 2 * (a @ b))
            assert frame.isnan().sum() == frame.numel() - c.numel()


def test_a_number_depends_on_its_row_and_column_only(generator: torch.Generator) -> None:
    """To the bit: a smaller product gives the same numbers."""
    a, b = torch.randn(23, 90, generator=generator), torch.randn(90, 150, generator=generator)
    whole = torch.empty(23, 150)
    gemm(whole, a, b, accumulate=False)
    for rows, columns in ((1, 150), (23, 5), (4, 70)):
        part = torch.empty(rows, columns)
        gemm(part, a[:rows], b[:, :columns], accumulate=False)
        assert torch.equal(part, whole[:rows, :columns])


@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 40), (16, 16), (33, 17)])
def test_transpose(rows: int, columns: int) -> None:
    x = torch.arange(rows * columns, dtype=torch.float32).view(rows, columns)
    out = torch.full((columns, rows), NAN)
    native.call("weft_check_transpose", native.pointer(out), rows, native.pointer(x), columns, rows, columns)
    assert torch.equal(out, x.T)


def exp2(x: Tensor) -> Tensor:
    out = torch.full_like(x, NAN)
    native.call("weft_check_exp2", native.pointer(out), native.pointer(x), len(x))
    return out


def test_exp2() -> None:
    """Within 1 ulp where the result is a normal number; the ends are exact."""
    x = torch.linspace(-125.99, 127.99, 1 << 18)
    wanted = x.double().exp2()
    assert ((exp2(x).double() - wanted).abs() / wanted).max() <= 2**-23
    ends = torch.tensor([0.0, -0.0, -126.0, -150.0, -1e30, -torch.inf, torch.inf, 128.0, 1e30, -1.0, 1.0, 10.0, NAN])
    got = exp2(torch.nn.functional.pad(ends, (0, 3)))[: len(ends)]
    assert got[:-1].tolist() == [1, 1, 0, 0, 0, 0, torch.inf, torch.inf, torch.inf, 0.5, 2, 1024]
    assert got[-1].isnan()


def test_bfloat16_rounds_as_torch_does(generator: torch.Generator) -> None:
    bits = torch.randint(-(2**31), 2**31, (3, 5, 7, 129), generator=generator, dtype=torch.int64).to(torch.int32)
    x = bits.view(torch.float32)
    x[0, 0, 0, :4] = torch.tensor([NAN, torch.inf, -torch.inf, 3.3895314e38])
    out = torch.empty(x.shape, dtype=torch.bfloat16)
    owner = torch.full((105,), -1)
    native.call("weft_check_copy", native.view(out), native.view(x), native.pointer(owner), 1)
    assert torch.equal(out.isnan(), x.isnan())
    assert torch.equal(out.nan_to_num(7.0), x.to(torch.bfloat16).nan_to_num(7.0))
    back = torch.empty(x.shape)
    native.call("weft_check_copy", native.view(back), native.view(out), native.pointer(owner), 1)
    assert torch.equal(back.nan_to_num(7.0), out.float().nan_to_num(7.0))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_task_is_done_by_a_thread_of_the_team(threads: int) -> None:
    x = torch.arange(2 * 11 * 3 * 4, dtype=torch.float32).view(2, 11, 3, 4)
    strided = torch.zeros(3, 2, 11, 4).permute(1, 2, 0, 3)
    owner = torch.full((66,), -1)
    native.call("weft_check_copy", native.view(strided), native.view(x), native.pointer(owner), threads)
    assert torch.equal(strided, x)
    assert owner.min() >= 0
    assert owner.max() < threads


def test_threads_are_those_of_torch() -> None:
    """One OpenMP runtime in the process: two would each start a thread for every core."""
    library()
    with open("/proc/self/maps") as maps:
        runtimes = {line.split()[-1] for line in maps if "libgomp" in line or "libomp" in line or "libiomp" in line}
    assert len(runtimes) == 1
