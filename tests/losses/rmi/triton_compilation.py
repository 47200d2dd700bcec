"""Compile the Triton kernels for devices that need not be present, which `test_triton` does in a separate process.

The interpreter does not check types; the compiler does, up to machine code.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from segmi.losses.rmi.cuda import pixel_kernels, window_kernels

POINTERS: Final = {
    **dict.fromkeys(("products", "totals", "sums", "linear", "parts", "frames", "term_scale", "pixel_scale"), "*fp64"),
    **dict.fromkeys(("active", "whole", "near"), "*u8"), "maps": "*fp32", "out": "*fp32",
}  # fmt: skip
ONES: Final = ("C", "sw", "lw", "tiles", "groups", "ow", "slots", "blocks")  # constants where they are 1


def compile_kernel(kernel: Any, capability: int, types: dict[str, str], constants: dict[str, Any]) -> str:
    """Return the PTX code."""
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    return str(triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["ptx"])


def main(capability: int, labels: str, *, integers: bool, sigmoid: bool, ones: bool) -> None:
    """Compile all kernels with one choice of types; integer sums have no float64 product."""
    real = tl.float32 if integers else tl.float64
    total = tl.int64 if integers else tl.float64
    stored = dict.fromkeys(("coefficients", "offsets", "stencils", "constants"), "*fp32" if integers else "*fp64")
    shared: dict[str, Any] = {
        "R": 3, "K": 8, "POSITIONS": 16, "TILES": 16, "STEPS": 4, "DROP": True, "SIGMOID": sigmoid, "PIXELS": sigmoid,
        "sum_type": total, "count_type": total if "fp" in labels else tl.int32,
    }  # fmt: skip
    shared |= dict.fromkeys(ONES, 1) if ones else {}
    types = POINTERS | stored | {"labels": labels}
    maps = {"dtype": tl.int32 if integers else tl.float64}
    for kernel in (window_kernels._products_kernel, window_kernels._windows_kernel, window_kernels._dropped_kernel):
        code = compile_kernel(kernel, capability, types, shared | maps | {"BLOCK": 128})
        assert not integers or kernel is not window_kernels._products_kernel or "fma.rn.f64" not in code
    compile_kernel(pixel_kernels._pixel_kernel, capability, types, shared | {"sum_type": real, "BLOCK": 1024})
    code = compile_kernel(pixel_kernels._gradient_kernel, capability, types, shared | {"dtype": real, "BLOCK": 512})
    assert not integers or "fma.rn.f64" not in code
    exact = {"coefficients": "*fp64", "offsets": "*fp64"}
    compile_kernel(pixel_kernels._stencil_kernel, capability, types | exact, {"R": 3, "TAPS": 64, "POSITIONS": 16})


if __name__ == "__main__":
    {
        "GeForce, logits": lambda: main(89, "*i32", integers=True, sigmoid=True, ones=False),
        "GeForce, pooled maps": lambda: main(75, "*fp32", integers=True, sigmoid=False, ones=True),
        "data center, logits": lambda: main(90, "*i32", integers=False, sigmoid=True, ones=False),
        "data center, maps": lambda: main(80, "*fp32", integers=False, sigmoid=False, ones=True),
    }[sys.argv[1]]()
