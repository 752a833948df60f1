"""torch's private parts are there and do what is relied on."""

import torch

from sesemi_like.compat.torch import copy_tensors


def test_tensors_of_several_dtypes_are_copied_in_place() -> None:
    dtypes = (torch.float32, torch.bfloat16, torch.int64, torch.bool)
    targets = [torch.zeros(2, 3, dtype=dtype) for dtype in dtypes]
    sources = [torch.ones(2, 3, dtype=dtype) for dtype in dtypes]
    before = [target.data_ptr() for target in targets]
    copy_tensors(targets, sources)
    assert [target.data_ptr() for target in targets] == before
    assert all(torch.equal(t, s) for t, s in zip(targets, sources, strict=True))
