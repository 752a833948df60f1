"""Vision transformers from local files and folders as people share them, with random weights."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from sesemi_like.config.instantiate import instantiate
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones import PyTorchImageModels

Tensors = dict[str, torch.Tensor]
SIDE = 32


def vit(**settings: Any) -> Any:
    """A tiny vision transformer with a class token, of other weights than what is built from it."""
    torch.manual_seed(3)
    settings = {"img_size": SIDE, "num_classes": 7, "global_pool": "token", **settings}
    network = timm.create_model("test_vit", **settings)
    with torch.no_grad():  # so that norms and tokens differ from their first values too
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def backbone(path: Path, **settings: Any) -> PyTorchImageModels:
    settings = {"img_size": SIDE, "global_pool": "token", **settings}
    return PyTorchImageModels("test_vit", checkpoint_path=str(path), **settings).eval()


def problem(path: Path, **settings: Any) -> str:
    config = OmegaConf.create(
        {
            "_target_": "sesemi_like.PyTorchImageModels", "name": "test_vit", "img_size": SIDE,
            "global_pool": "token", "checkpoint_path": str(path), **settings,
        }
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        instantiate(config, key="learner.hparams.model.backbone")
    return str(caught.value)


def assert_same_features(own: Any, network: Any, side: int = SIDE) -> None:
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        tokens = network.eval().forward_features(images)
        torch.testing.assert_close(own(images), network.forward_head(tokens, pre_logits=True))


def write_folder(folder: Path, tensors: Tensors, *, shards: int = 1) -> Path:
    """A folder as a hub lays it out."""
    folder.mkdir()
    described: dict[str, Any] = {
        "num_classes": 7,
        "input_size": [3, SIDE, SIDE],
        "first_conv": "patch_embed.proj",
    }
    described |= {"classifier": "head", "tag": "random"}
    config = {"architecture": "test_vit", "num_classes": 7, "pretrained_cfg": described}
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    places: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number::shards]}
        save_file(part, folder / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_a_folder_gives_the_same_features(tmp_path: Path, shards: int) -> None:
    network = vit()
    folder = write_folder(tmp_path / "hub", network.state_dict(), shards=shards)
    assert_same_features(backbone(folder), network)


def test_a_folder_with_one_file_of_any_name_is_read(tmp_path: Path) -> None:
    network = vit()
    folder = write_folder(tmp_path / "hub", network.state_dict())
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    assert_same_features(backbone(folder), network)
    save_file(network.state_dict(), folder / "other.safetensors")
    assert "cannot be read: it has mine.safetensors, other.safetensors; needs model" in problem(
        folder
    )


def test_timm_reads_the_architecture_of_a_folder_as_well(tmp_path: Path) -> None:
    network = vit()
    folder = write_folder(tmp_path / "hub", network.state_dict())
    settings: dict[str, Any] = {"img_size": SIDE, "global_pool": "token"}
    own = PyTorchImageModels(f"local-dir:{folder}", pretrained=True, **settings).eval()
    assert_same_features(own, network)


def test_a_folder_says_how_images_are_normalized(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "hub", vit().state_dict())
    assert backbone(folder).normalization is None
    described = {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.2] * 3}}
    (folder / "config.json").write_text(json.dumps(described))
    assert backbone(folder).normalization == ([0.5] * 3, [0.2] * 3)
    assert backbone(folder / "model.safetensors").normalization is None


def test_a_folder_without_weights_or_with_a_missing_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "it has no .safetensors file; needs model.safetensors" in problem(tmp_path / "empty")
    folder = write_folder(tmp_path / "hub", vit().state_dict(), shards=2)
    file = folder / "model-00002-of-00002.safetensors"
    file.unlink()
    assert f"names {file.name}, which is not there" in problem(folder)
    save_file({"other": torch.zeros(1)}, file)
    assert f"{file.name} in it has no tensor" in problem(folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    assert "has no weight_map of tensors to files" in problem(folder)


def test_a_folder_of_another_model_says_of_which(tmp_path: Path) -> None:
    other = timm.create_model("test_resnet").state_dict()
    folder = write_folder(tmp_path / "hub", other)
    (folder / "config.json").write_text(json.dumps({"architecture": "test_resnet"}))
    message = problem(folder)
    assert "does not fit the model: it lacks cls_token" in message
    assert "its config.json says that it is of test_resnet" in message


@pytest.mark.parametrize("container", [None, "model"])
def test_a_masked_autoencoders_file_loads_without_its_decoder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, container: str | None
) -> None:
    network = vit()
    state = {n: v for n, v in network.state_dict().items() if not n.startswith("head")}
    decoder = {
        "mask_token": torch.zeros(1, 1, 32), "decoder_pos_embed": torch.zeros(1, 5, 32),
        "decoder_embed.weight": torch.zeros(32, 64), "decoder_blocks.0.norm1.bias": torch.zeros(32),
        "decoder_pred.weight": torch.zeros(48, 32),
    }  # fmt: skip
    state |= decoder
    torch.save({container: state} if container else state, path := tmp_path / "mae.pth")
    with caplog.at_level(logging.INFO):
        assert_same_features(backbone(path), network)
    assert f"left out what only pretraining has: {', '.join(sorted(decoder))}" in caplog.text


def test_the_norm_behind_an_average_begins_anew_where_the_file_has_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = vit()
    torch.save(network.state_dict(), path := tmp_path / "token.pth")
    with caplog.at_level(logging.INFO):
        pooled = backbone(path, global_pool="avg")
    assert "left out the norm of unpooled tokens: norm.bias, norm.weight" in caplog.text
    assert "fc_norm.weight, fc_norm.bias keep their initial values" in caplog.text
    assert "left out the classifier's head.bias, head.weight" in caplog.text
    norm: Any = pooled.network.fc_norm
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(pooled.network.blocks[3].mlp.fc1.weight, network.blocks[3].mlp.fc1.weight)
    whole = vit(global_pool="avg")
    torch.save(whole.state_dict(), path)
    assert_same_features(backbone(path, global_pool="avg"), whole)


@pytest.mark.parametrize("side", [48, 160])
def test_position_embeddings_are_resized_as_timm_resizes_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, side: int
) -> None:
    network = vit()
    torch.save(network.state_dict(), path := tmp_path / "weights.pth")
    with caplog.at_level(logging.INFO):
        own = backbone(path, img_size=side)
    tokens = (side // 16) ** 2 + 1
    assert f"resized pos_embed from (1, 5, 64) to (1, {tokens}, 64)" in caplog.text
    overlay = {"file": str(path), "num_classes": 7}
    settings: dict[str, Any] = {"img_size": side, "num_classes": 0, "global_pool": "token"}
    by_timm = timm.create_model(
        "test_vit", pretrained=True, pretrained_cfg_overlay=overlay, **settings
    )
    assert_same_features(own, by_timm, side)


def test_other_patches_are_resized_too(tmp_path: Path) -> None:
    torch.save(vit().state_dict(), path := tmp_path / "weights.pth")
    own = backbone(path, img_size=32, patch_size=8)
    assert own(torch.randn(1, 3, 32, 32)).shape == (1, 64)


@pytest.mark.parametrize("prefix", ["module.", "network.", "encoder.backbone."])
def test_names_may_have_a_common_beginning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    network = vit()
    state = {prefix + name: value for name, value in network.state_dict().items()}
    state["predictor.weight"] = torch.zeros(3, 3)
    torch.save({"state_dict": state}, path := tmp_path / "weights.pth")
    with caplog.at_level(logging.INFO):
        assert_same_features(backbone(path), network)
    assert f"left out what is not below '{prefix}': predictor.weight" in caplog.text


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    state = vit().state_dict()
    both = {f"{name}.{n}": v for name in ("student", "teacher") for n, v in state.items()}
    torch.save(both, path := tmp_path / "weights.pth")
    message = problem(path)
    assert "has the model's weights below each of 'student.', 'teacher.'" in message
    assert "run.pretrained_checkpoint_path with a prefix" in message


@pytest.mark.parametrize(
    ("settings", "message_part"),
    [
        ({"embed_dim": 96}, "it has cls_token (1, 1, 64) instead of (1, 1, 96)"),
        ({"depth": 8}, "it lacks blocks.6.norm1.weight"),
        ({"depth": 4}, "the model has no blocks.4.norm1.weight"),
        ({"reg_tokens": 4}, "it lacks reg_token"),
    ],
)
def test_a_file_of_a_transformer_of_another_size_is_refused(
    tmp_path: Path, settings: dict[str, Any], message_part: str
) -> None:
    torch.save(vit().state_dict(), path := tmp_path / "weights.pth")
    assert message_part in problem(path, **settings)
