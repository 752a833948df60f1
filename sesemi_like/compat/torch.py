"""Private parts of torch that have no public equivalent."""

from __future__ import annotations

import torch
from torch import Tensor


def copy_tensors(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copies many tensors in one call; on a GPU one kernel instead of one for each.

    Args:
        targets: Tensors of any shapes and dtypes, which are changed.
        sources: A tensor for each target, of its shape.
    """
    torch._foreach_copy_(targets, sources)


def cpu_has_bf16() -> bool:
    """Whether the CPU computes in bfloat16 natively: by AVX512-BF16 or AMX.

    Releases of torch that cannot tell count as without; float32 is right everywhere.
    """
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)
