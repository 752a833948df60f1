"""Runs of an adapted backbone: small checkpoints, and what is resumed, evaluated and predicted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from tiny_runs import TINY, weights

import sesemi_like
from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones import PyTorchImageModels
from sesemi_like.models.backbones.adapters import merge_adapters
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

pytest.importorskip("peft", reason="peft is not installed (the extra `peft`)")

pytestmark = pytest.mark.slow
KEY = "learner.hparams.model.backbone"
VIT: dict[str, Any] = {"img_size": 8, "patch_size": 4, "in_chans": 1, "global_pool": "token"}
BASE = ".base_layer."
IMAGES = 16  # a digit has 8 x 8 pixels


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained transformer, of random weights."""
    path = tmp_path_factory.mktemp("source") / "vit.pt"
    torch.manual_seed(4)
    torch.save(PyTorchImageModels("test_vit", **VIT).network.state_dict(), path)
    return path


def settings(source: Path, *, adapter: bool = True, saves: bool = False) -> list[str]:
    more = [f"+{KEY}.{key}={value}" for key, value in VIT.items() if key != "global_pool"]
    lora = f"+{KEY}.adapter={{kind: lora, rank: 2, norms: true}}"
    return [
        "backbone=timm",
        f"{KEY}.name=test_vit",
        f"{KEY}.global_pool=token",
        *more,
        f"+{KEY}.checkpoint_path={source}",
        *([lora] if adapter else []),
        "run.validate_every=5",
        f"learner.hparams.save_frozen={str(saves).lower()}",
        "learner.hparams.lr_scheduler.scheduler.max_iters=10",
        "learner.hparams.layer_decay=0.8",
        "learner.hparams.no_decay_1d=true",
    ]


def tiny(folder: Path, *overrides: str) -> tuple[Path, dict[str, Any]]:
    """A run of the quickstart, FixMatch with an EMA teacher, of ten steps."""
    tiny = [word for word in TINY if ".widths" not in word]
    batch = "data.train.unlabeled.batch_size_per_gpu=64"
    config = composed("quickstart", *tiny, batch, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def adapted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny(tmp_path_factory.mktemp("adapted"), *settings(source))


def test_checkpoints_hold_adapters_alone(source: Path, tmp_path: Path, adapted: Any) -> None:
    folder, summary = adapted
    whole, expected = tiny(tmp_path, *settings(source, saves=True))
    assert summary["metrics"] == expected["metrics"]
    kept, everything = weights(folder), weights(whole)
    assert not any(BASE in name for name in kept)
    assert any("lora_A" in name and "teacher" in name for name in kept)
    names = [n for n in everything if BASE in n and ".classifier." in n]
    assert len(names) == 6 * 4 * 2
    path = Path("checkpoints") / "last.ckpt"
    sizes = [sum(t.numel() for t in content.values()) for content in (kept, everything)]
    assert sizes[0] < 0.2 * sizes[1]
    assert (folder / path).stat().st_size < (whole / path).stat().st_size - 4 * 0.9 * (
        sizes[1] - sizes[0]
    )
    own, other = sesemi_like.load_model(folder), sesemi_like.load_model(whole)
    assert own.state_dict().keys() == other.state_dict().keys()
    for name, value in own.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_a_resumed_run_ends_with_the_same_bits(source: Path, tmp_path: Path, adapted: Any) -> None:
    half, _ = tiny(tmp_path / "half", *settings(source), "run.num_iterations=5")
    given = f"run.resume_from_checkpoint={half / 'checkpoints' / 'last.ckpt'}"
    resumed, summary = tiny(tmp_path / "resumed", *settings(source), given)
    assert summary["metrics"] == adapted[1]["metrics"]
    own, other = weights(resumed), weights(adapted[0])
    assert own.keys() == other.keys()
    assert [name for name in own if not torch.equal(own[name], other[name])] == []


def test_what_such_a_run_leaves_is_evaluated_predicted_and_trained_on(
    source: Path, tmp_path: Path, adapted: Any
) -> None:
    folder, summary = adapted
    given = [*settings(source), f"run.pretrained_checkpoint_path={folder}"]
    _, again = tiny(tmp_path / "validate", *given, "run.mode=VALIDATE")
    assert again["metrics"]["val/top1"] == summary["metrics"]["val/top1"]
    further, _ = tiny(tmp_path / "further", *given, "run.num_iterations=5")
    assert weights(further).keys() == weights(folder).keys()
    learner: Any = sesemi_like.load_model(folder)
    images = torch.rand(IMAGES, 1, 8, 8)
    with torch.no_grad():
        expected = learner(images)
        assert merge_adapters(learner) == 2 * 6 * 4  # of the teacher as well
        torch.testing.assert_close(learner(images), expected, rtol=1e-4, atol=1e-5)
    backbone = learner.networks.module("classifier").backbone.network
    torch.save(backbone.state_dict(), tmp_path / "merged.pt")
    PyTorchImageModels("test_vit", checkpoint_path=str(tmp_path / "merged.pt"), **VIT)


def test_weights_of_a_run_without_adapters_are_what_adapters_begin_with(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without = [*settings(source, adapter=False), "learner.hparams.model.ema=null"]
    plain, _ = tiny(tmp_path / "plain", *without, "run.num_iterations=2")
    given = [*settings(source), f"run.pretrained_checkpoint_path={plain}", "run.num_iterations=2"]
    adapted, _ = tiny(tmp_path / "adapted", *given)
    assert not any(BASE in name for name in weights(adapted))
    loaded = sesemi_like.load_model(adapted).state_dict()
    name = "networks.modules_by_name.classifier.backbone.network.blocks.0.attn.qkv.weight"
    assert torch.equal(loaded[name.replace("qkv.", "qkv.base_layer.")], weights(plain)[name])


def test_adapters_are_not_left_out_of_an_evaluation(
    source: Path, tmp_path: Path, adapted: Any
) -> None:
    given = [*settings(source, adapter=False), f"run.pretrained_checkpoint_path={adapted[0]}"]
    with pytest.raises(ConfigError, match=r"this model has none of the name .*base_layer"):
        tiny(tmp_path / "plain", *given, "run.mode=VALIDATE")
