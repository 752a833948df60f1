"""torch's private parts are there and do what is relied on."""

import pytest
import torch

from sesemi_like.compat.torch import copy_tensors, cpu_has_bf16

BF16_TESTS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def test_tensors_of_several_dtypes_are_copied_in_place() -> None:
    dtypes = (torch.float32, torch.bfloat16, torch.int64, torch.bool)
    targets = [torch.zeros(2, 3, dtype=dtype) for dtype in dtypes]
    sources = [torch.ones(2, 3, dtype=dtype) for dtype in dtypes]
    before = [target.data_ptr() for target in targets]
    copy_tensors(targets, sources)
    assert [target.data_ptr() for target in targets] == before
    assert all(torch.equal(t, s) for t, s in zip(targets, sources, strict=True))


@pytest.mark.parametrize("name", BF16_TESTS)
def test_torch_can_tell_what_the_cpu_supports(name: str) -> None:
    assert getattr(torch.cpu, name)() in (False, True)


@pytest.mark.parametrize("supported", [(), BF16_TESTS[:1], BF16_TESTS[1:]])
def test_either_extension_brings_bf16(
    monkeypatch: pytest.MonkeyPatch, supported: tuple[str, ...]
) -> None:
    for name in BF16_TESTS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in supported)
    assert cpu_has_bf16() is bool(supported)
    for name in BF16_TESTS:
        monkeypatch.delattr(torch.cpu, name)
    assert cpu_has_bf16() is False
