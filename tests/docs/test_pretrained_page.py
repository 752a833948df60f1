"""The folder that the page on pretrained weights makes is read in every way that it lists."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from reader import FENCE

from sesemi_like.models.backbones import PyTorchImageModels

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pretrained.md"
(MAKES,) = (body for _, body in FENCE.findall(PAGE.read_text()) if "# make_weights.py" in body)


def test_its_folder_is_a_checkpoint_and_a_model_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("make_weights.py").write_text(MAKES)
    runpy.run_path("make_weights.py")
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    settings: dict[str, Any] = {"img_size": 160, "global_pool": "token"}
    read = PyTorchImageModels("test_vit", checkpoint_path="weights/vit", **settings).eval()
    named = PyTorchImageModels("local-dir:weights/vit", pretrained=True, **settings).eval()
    assert torch.equal(read(images), named(images))
