"""timm's models as backbones: features, settings and weights, and clear refusals."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn

from sesemi_like.config.instantiate import instantiate
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones import PyTorchImageModels


def problem(**settings: Any) -> str:
    """What a user is reported about a backbone that cannot be built from a config."""
    config = OmegaConf.create({"_target_": "sesemi_like.PyTorchImageModels", **settings})
    with pytest.raises(ConfigError) as caught:
        instantiate(config, key="learner.hparams.model.backbone")
    return str(caught.value)


@pytest.fixture
def classifier() -> Any:
    """A tiny model as timm saves it: with a classifier of seven classes."""
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=7)


def assert_same_features(backbone: nn.Module, classifier: Any) -> None:
    images = torch.randn(2, 3, 64, 64)
    expected = classifier.eval().forward_head(classifier.forward_features(images), pre_logits=True)
    torch.testing.assert_close(backbone.eval()(images), expected)


# Among them, models that put layers behind the pooling (timm's `num_features` leaves them out).
@pytest.mark.parametrize(
    ("settings", "side", "size"),
    [
        ({"name": "test_resnet"}, 64, None),
        ({"name": "resnet10t", "in_chans": 1}, 64, 512),
        ({"name": "resnet10t", "global_pool": "catavgmax"}, 64, 1024),
        ({"name": "resnet10t", "global_pool": None}, 64, 512),
        ({"name": "mobilenetv3_small_050"}, 64, 1024),
        ({"name": "test_vit", "img_size": 32}, 32, 64),
        ({"name": "test_vit", "img_size": 32, "global_pool": "token", "in_chans": 1}, 32, 64),
        ({"name": "test_convnext"}, 64, None),
    ],
)
def test_features_have_the_size_that_is_reported(
    settings: dict[str, Any], side: int, size: int | None
) -> None:
    backbone = PyTorchImageModels(**settings)
    assert backbone.training
    features = backbone(torch.randn(2, settings.get("in_chans", 3), side, side))
    assert features.shape == (2, backbone.out_features)
    assert size in (None, backbone.out_features)
    features.square().sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_building_draws_from_the_generator_as_timm_alone_does() -> None:
    torch.manual_seed(0)
    backbone = PyTorchImageModels("test_resnet")
    torch.manual_seed(0)
    alone = timm.create_model("test_resnet", num_classes=0)
    for own, given in zip(backbone.parameters(), alone.parameters(), strict=True):
        assert torch.equal(own, given)
    assert not any(parameter.is_meta for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_unpooled_features_are_refused(name: str) -> None:
    message = problem(name=name, global_pool="")
    assert re.search(rf"global_pool: found ''; {name} then returns \(1, \d+, .*avg pools", message)


def test_unknown_name_proposes_near_names() -> None:
    message = problem(name="resnet50dd")
    assert "name: found 'resnet50dd'" in message
    assert "did you mean" in message
    assert "'resnet50d'" in message


def test_unknown_weights_of_a_known_name_are_refused() -> None:
    assert "name: found 'resnet18.nonsense'; did you mean 'resnet18" in problem(
        name="resnet18.nonsense"
    )


@pytest.mark.parametrize(
    ("settings", "message_part"),
    [
        ({"img_size": 64}, "img_size: resnet10t takes no such setting; leave it out"),
        ({"nonsense": 1}, "nonsense: resnet10t takes no such setting; leave it out"),
        ({"num_classes": 5}, "num_classes: found 5; leave it out"),
        ({"global_pool": "mean"}, "resnet10t refused its settings: .*Invalid pool type: mean"),
        ({"drop_rate": 2.0}, "resnet10t refused its settings: .*between 0 and 1"),
    ],
)
def test_settings_that_the_model_does_not_take_are_refused(
    settings: dict[str, Any], message_part: str
) -> None:
    message = problem(name="resnet10t", **settings)
    assert re.search(message_part, message)
    assert "did you mean" not in message


def test_drop_rates_reach_the_model() -> None:
    network = PyTorchImageModels("resnet10t", drop_rate=0.25, drop_path_rate=0.5).network
    rates = [m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == 0.5
    assert network.drop_rate == 0.25
    plain = PyTorchImageModels("resnet10t").network
    assert not any(type(module).__name__ == "DropPath" for module in plain.modules())


@pytest.mark.parametrize("container", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_local_torch_file_gives_the_same_features(
    tmp_path: Path,
    classifier: Any,
    container: str | None,
    prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = {prefix + name: value for name, value in classifier.state_dict().items()}
    torch.save({container: state, "epoch": 3} if container else state, tmp_path / "weights.pth")
    with caplog.at_level(logging.INFO):
        backbone = PyTorchImageModels("test_resnet", checkpoint_path=str(tmp_path / "weights.pth"))
    assert_same_features(backbone, classifier)
    assert "left out the classifier's fc.bias, fc.weight" in caplog.text


def test_local_safetensors_file_gives_the_same_features(tmp_path: Path, classifier: Any) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(classifier.state_dict(), path)
    assert_same_features(PyTorchImageModels("test_resnet", checkpoint_path=str(path)), classifier)


def test_backbone_reads_its_own_state_dict(tmp_path: Path) -> None:
    first = PyTorchImageModels("test_resnet")
    torch.save(first.state_dict(), tmp_path / "own.pth")
    second = PyTorchImageModels("test_resnet", checkpoint_path=str(tmp_path / "own.pth"))
    for own, given in zip(second.parameters(), first.parameters(), strict=True):
        assert torch.equal(own, given)


def test_local_file_without_the_counter_of_batches_fits(tmp_path: Path, classifier: Any) -> None:
    state = classifier.state_dict()
    state = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    backbone = PyTorchImageModels("test_resnet", checkpoint_path=str(tmp_path / "old.pth"))
    assert_same_features(backbone, classifier)


def test_local_file_takes_precedence_over_pretrained(
    tmp_path: Path, classifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", None)
    torch.save(classifier.state_dict(), path := tmp_path / "weights.pth")
    backbone = PyTorchImageModels("test_resnet", pretrained=True, checkpoint_path=str(path))
    assert_same_features(backbone, classifier)


def change(state: Any, what: str) -> dict[str, torch.Tensor]:
    state = dict(state)
    if what == "lacks":
        del state["conv1.0.weight"]
    elif what == "shape":
        state["conv1.0.weight"] = state["conv1.0.weight"][:, :1]
    elif what == "more":
        state["layer9.conv1.weight"] = torch.zeros(1)
    else:
        state = {name.replace(".", "_"): value for name, value in state.items()}
    return state


@pytest.mark.parametrize(
    ("what", "message_part"),
    [
        ("lacks", "it lacks conv1.0.weight"),
        ("shape", r"it has conv1.0.weight \(\d+, 1, 3, 3\) instead of \(\d+, 3, 3, 3\)"),
        ("more", "the model has no layer9.conv1.weight"),
        ("nothing", r"it lacks conv1.0.weight, .* and \d+ more; the model has no conv1_0_weight"),
    ],
)
def test_local_file_that_does_not_fit_is_refused(
    tmp_path: Path, classifier: Any, what: str, message_part: str
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(change(classifier.state_dict(), what), path)
    message = problem(name="test_resnet", checkpoint_path=str(path))
    assert re.search(
        rf"checkpoint_path: '{path}' does not fit the model: .*{message_part}", message
    )


def test_local_file_of_a_deeper_model_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet14t").state_dict(), path := tmp_path / "deeper.pth")
    assert "the model has no layer" in problem(name="resnet10t", checkpoint_path=str(path))


def test_missing_local_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.pth"
    assert f"checkpoint_path: found '{path}'; there is no such file" in problem(
        name="test_resnet", checkpoint_path=str(path)
    )


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_local_file_that_is_none_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    message = problem(name="test_resnet", checkpoint_path=str(path))
    assert f"checkpoint_path: '{path}' cannot be read" in message


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), timm.create_model])
def test_local_file_of_something_else_is_refused(
    tmp_path: Path, content: Callable[..., Any] | list[torch.Tensor] | torch.Tensor
) -> None:
    torch.save(content, path := tmp_path / "weights.pth")
    assert "cannot be read" in problem(name="test_resnet", checkpoint_path=str(path))


def download_errors() -> list[Any]:
    """What the library behind timm's downloads raises where there is no network."""
    from huggingface_hub import errors

    network = errors.HfHubHTTPError.__mro__[1]  # HTTPError of the library underneath
    unreachable = errors.LocalEntryNotFoundError("no connection and nothing in the cache")
    unreachable.__cause__ = OSError(-2, "Name or service not known")
    return [
        unreachable,
        errors.OfflineModeIsEnabled("offline mode is enabled"),
        network("Name or service not known"),
        OSError("Name or service not known"),
        RuntimeError("size mismatch"),
    ]


@pytest.mark.parametrize("error", download_errors(), ids=lambda error: type(error).__name__)
def test_unavailable_pretrained_weights_are_reported_with_alternatives(
    error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def offline(*_: object, **__: object) -> None:
        asked.append(1)
        raise error

    monkeypatch.setattr("timm.models._hub.hf_hub_download", offline)
    message = problem(name="resnet10t", pretrained=True)
    assert asked
    assert "pretrained: the weights of 'resnet10t' could not be had" in message
    assert f"({type(error).__name__}: " in message
    assert "give checkpoint_path, a local file, or pretrained: false" in message


def test_pretrained_of_a_model_without_weights_is_refused() -> None:
    message = problem(name="resnet18d", pretrained=True, pretrained_cfg_overlay={"hf_hub_id": ""})
    assert "pretrained: the weights of 'resnet18d' could not be had" in message


def test_pretrained_from_a_local_copy_of_timms_file(
    tmp_path: Path, classifier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timm.models._hub.hf_hub_download", None)
    torch.save(classifier.state_dict(), path := tmp_path / "weights.pth")
    backbone = PyTorchImageModels(
        "test_resnet", pretrained=True, pretrained_cfg_overlay={"file": str(path)}
    )
    assert_same_features(backbone, classifier)


def test_frozen_backbone_keeps_the_weights_of_its_file(tmp_path: Path, classifier: Any) -> None:
    torch.save(classifier.state_dict(), path := tmp_path / "weights.pth")
    backbone = PyTorchImageModels("test_resnet", checkpoint_path=str(path), freeze=True).train()
    assert not any(p.requires_grad for p in backbone.parameters())
    assert_same_features(backbone, classifier)
