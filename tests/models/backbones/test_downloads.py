"""`pretrained: true` against a server on this machine: vision transformers as timm has them."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from sesemi_like.models.backbones import PyTorchImageModels

NAME = "weights.pth"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder, `tmp_path / "served"`; downloads are kept in another one."""
    (tmp_path / "served").mkdir()
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pretrained_weights_are_downloaded_once_and_fitted(tmp_path: Path, address: str) -> None:
    torch.manual_seed(3)
    settings: dict[str, Any] = {"img_size": 32, "global_pool": "token"}
    network: Any = timm.create_model("test_vit", num_classes=7, **settings)
    torch.save(network.state_dict(), tmp_path / "served" / NAME)
    overlay = {"url": f"{address}/{NAME}", "hf_hub_id": "", "mean": [0.5] * 3, "std": [0.5] * 3}
    given: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": overlay, **settings}
    own = PyTorchImageModels("test_vit", **given).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = network.eval().forward_features(images)
        torch.testing.assert_close(own(images), network.forward_head(tokens, pre_logits=True))
    assert own.normalization == ([0.5] * 3, [0.5] * 3)
    (tmp_path / "served" / NAME).unlink()
    larger: Any = PyTorchImageModels(
        "test_vit", **{**given, "img_size": 48}
    )  # from where it was kept
    assert larger.network.pos_embed.shape == (1, 10, 64)
    weight = larger.network.blocks[2].mlp.fc1.weight
    assert torch.equal(weight, network.blocks[2].mlp.fc1.weight)


def test_weights_that_cannot_be_downloaded_are_refused(address: str) -> None:
    overlay = {"url": f"{address}/{NAME}", "hf_hub_id": ""}
    with pytest.raises(ValueError, match=r"the weights of 'test_vit' could not be had .*404"):
        PyTorchImageModels("test_vit", pretrained=True, pretrained_cfg_overlay=overlay)
