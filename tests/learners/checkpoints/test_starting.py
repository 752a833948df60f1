"""Weights that a run begins with: what must fit, what is said, and that nothing is downloaded."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from safetensors.torch import save_file

from sesemi_like.errors import ConfigError
from sesemi_like.learners import Classifier
from sesemi_like.learners.checkpoints.reading import Checkpoint
from sesemi_like.learners.checkpoints.starting import build_learner, load_start
from sesemi_like.models.backbones import PyTorchImageModels
from sesemi_like.views.image_inputs import Inputs

KEY = "run.pretrained_checkpoint_path"
WIDTHS = "learner.hparams.model.backbone.widths"


def started(*overrides: str, inputs: Any = None, name: str = "quickstart") -> Any:
    """A learner with the weights that the config names."""
    config = composed(name, "run.gpus=0", *overrides)
    trains = config.run.mode == "FIT"
    learner = build_learner(config, trains=trains)
    learner.inputs = inputs
    load_start(learner, config, trains=trains)
    return learner


def saved(learner: Any, path: Path, **more: Any) -> str:
    """Writes a learner as a checkpoint holds it."""
    content = {"state_dict": learner.state_dict(), "hyper_parameters": dict(learner.hparams)}
    torch.save({**content, "pytorch-lightning_version": "2.6.0", **more}, path)
    return f"{KEY}='{path}'"


@pytest.fixture
def weights(tmp_path: Path) -> Any:
    """The override that names a checkpoint of quickstart's learner, and that learner."""
    torch.manual_seed(1)
    learner = started(f"{WIDTHS}=[4,8]")
    return saved(learner, tmp_path / "given.ckpt"), learner


def test_weights_of_another_number_of_classes_are_taken_for_training_alone(
    weights: Any, caplog: pytest.LogCaptureFixture
) -> None:
    override, given = weights
    other = [f"{WIDTHS}=[4,8]", "learner.hparams.num_classes=7", override]
    with caplog.at_level("WARNING", logger="sesemi_like"):
        learner = started(*other)
    assert "of another shape" in caplog.text
    backbone = given.networks.module("classifier").backbone.state_dict()
    for name, value in learner.networks.module("classifier").backbone.state_dict().items():
        assert torch.equal(value, backbone[name])
    for mode in ("TEST", "VALIDATE"):
        with pytest.raises(ConfigError, match=r"lacks 4 tensors .*strict_loading=false"):
            started(*other, f"run.mode={mode}")
        started(*other, f"run.mode={mode}", "run.strict_loading=false")
    with pytest.raises(ConfigError, match=r"as run\.strict_loading=true asks"):
        started(*other, "run.strict_loading=true")


def test_another_backbone_is_an_error_unless_told_otherwise(weights: Any) -> None:
    other = [f"{WIDTHS}=[4,9,9]", weights[0]]
    with pytest.raises(ConfigError, match=r"of the \d+ tensors of the backbone.*another one"):
        started(*other)
    loose = started(*other, "run.strict_loading=false")
    first = "networks.modules_by_name.classifier.backbone.layers.0.weight"
    assert torch.equal(loose.state_dict()[first], weights[1].state_dict()[first])


def test_weights_of_a_head_alone_are_an_error(weights: Any, tmp_path: Path) -> None:
    head = {n: v for n, v in weights[1].state_dict().items() if ".head." in n}
    torch.save(head, tmp_path / "head.pt")
    with pytest.raises(ConfigError, match="has 0 of the"):
        started(f"{WIDTHS}=[4,8]", f"{KEY}={tmp_path / 'head.pt'}")


def test_a_teacher_that_the_weights_lack_begins_as_what_it_averages(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = started(f"{WIDTHS}=[4,8]", "learner.hparams.model.ema=null")
    override = saved(plain, tmp_path / "plain.ckpt")
    learner = started(f"{WIDTHS}=[4,8]", override)
    average = learner.networks.module("teacher").module.state_dict()
    for name, value in plain.networks.module("classifier").state_dict().items():
        assert torch.equal(average[name], value)
    with pytest.raises(ConfigError, match="teacher"):
        started(f"{WIDTHS}=[4,8]", override, "run.mode=TEST")


def test_all_that_differs_from_the_checkpoints_own_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = Inputs(classes=["a", "b"], shape=(1, 8, 8), mean=[0.5], std=[0.5])
    learner = started()
    override = saved(learner, tmp_path / "x.ckpt", data=trained.plain())
    inputs = Inputs(classes=["a", "b"], shape=(1, 12, 12), mean=[0.5], std=[0.25])
    with caplog.at_level("WARNING", logger="sesemi_like"):
        started(override, "run.mode=TEST", inputs=inputs)
    assert "images of 1 x 12 x 12 instead of 1 x 8 x 8" in caplog.text
    assert "std [0.25] instead of mean [0.5] and std [0.5]" in caplog.text
    caplog.clear()
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    content["hyper_parameters"]["hparams"]["model"]["backbone"]["drop_rate"] = 0.5
    torch.save(content, tmp_path / "x.ckpt")
    with caplog.at_level("WARNING", logger="sesemi_like"):
        started(override, "run.mode=TEST", inputs=trained)
    assert "learner.hparams.model.backbone.drop_rate is 0.0 instead of 0.5" in caplog.text
    assert "images" not in caplog.text


@pytest.mark.parametrize("classes", [["b", "a"], ["a"], ["a", "b", "c"]])
def test_labels_of_other_classes_are_never_measured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, classes: list[str]
) -> None:
    override = saved(started(), tmp_path / "x.ckpt", data=Inputs(classes=["a", "b"]).plain())
    for mode in ("TEST", "VALIDATE"):
        with pytest.raises(ConfigError, match="labels would mean other classes"):
            started(override, f"run.mode={mode}", inputs=Inputs(classes=classes))
    with caplog.at_level("WARNING", logger="sesemi_like"):
        started(override, inputs=Inputs(classes=classes))
    assert "its classes are a, b" in caplog.text


class Other:
    """An object of a kind that a checkpoint may not hold."""


def odd_files() -> Any:
    """Names and writers of files that are no checkpoints."""
    return {
        "text": lambda path: path.write_text("path,label\n" * 30),
        "numbers": lambda path: path.write_bytes(bytes(range(256)) * 9),
        "pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
        "object": lambda path: torch.save({"x": Other()}, path),
        "list": lambda path: torch.save([1, 2], path),
        "state list": lambda path: torch.save({"state_dict": [1]}, path),
        "no tensors": lambda path: torch.save({"state_dict": {"a": 1}}, path),
        "cut off": cut_off,
        "empty": lambda path: path.write_bytes(b""),
    }


def cut_off(path: Path) -> None:
    torch.save({"x": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize("kind", odd_files())
def test_a_file_that_is_no_checkpoint_is_reported_in_one_sentence(
    tmp_path: Path, kind: Any
) -> None:
    path = tmp_path / "x.ckpt"
    odd_files()[kind](path)
    with pytest.raises(ConfigError, match=r"cannot be read|holds no weights") as caught:
        Checkpoint.read(str(path), key=KEY)
    (problem,) = caught.value.problems
    assert "weights_only" not in str(problem)
    assert "\n" not in str(problem)
    if kind == "object":
        assert "test_starting.Other" in str(problem)


def test_odd_values_beside_the_weights_do_no_harm(weights: Any, tmp_path: Path) -> None:
    for more in ({"data": 3}, {"hyper_parameters": [1]}, {"hyper_parameters": {"hparams": 1}}):
        override = saved(weights[1], tmp_path / "x.ckpt", **more)
        started(f"{WIDTHS}=[4,8]", override, inputs=Inputs(classes=["a"]))


TIMM = ["backbone=timm", "learner.hparams.model.backbone.name=test_resnet",
        "++learner.hparams.model.backbone.in_chans=1"]  # fmt: skip


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every download of weights fail."""
    import timm

    create = timm.create_model

    def refuse(name: str, pretrained: bool = False, **settings: Any) -> Any:
        if pretrained:
            raise OSError("no network")
        return create(name, pretrained=False, **settings)

    monkeypatch.setattr(timm, "create_model", refuse)
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda *_, **__: (_ for _ in ()).throw(OSError("no network")),
    )


@pytest.mark.parametrize(
    "initial",
    [
        [*TIMM, "learner.hparams.model.backbone.pretrained=true"],
        [*TIMM, "++learner.hparams.model.backbone.checkpoint_path=/nowhere/weights.pt"],
        ["backbone=torchvision", "learner.hparams.model.backbone.name=mobilenet_v3_small",
         "learner.hparams.model.backbone.weights=DEFAULT"],
    ],
)  # fmt: skip
def test_nothing_is_downloaded_where_a_checkpoint_follows(
    tmp_path: Path, no_downloads: None, caplog: pytest.LogCaptureFixture, initial: Any
) -> None:
    build = initial[:-1]
    with pytest.raises(ConfigError, match=r"could not be had|no such file"):
        started(*initial)
    learner = started(*build)
    content = dict(learner.hparams)["hparams"]
    name, _, value = initial[-1].rpartition("backbone.")[2].partition("=")
    content["model"]["backbone"][name] = value
    override = saved(learner, tmp_path / "x.ckpt")
    path = override.partition("=")[2].strip("'")
    for weights in (override, f"run.resume_from_checkpoint='{path}'"):
        for mode in ("FIT", "TEST", "VALIDATE"):
            config = composed("quickstart", *initial, weights)
            built = build_learner(config, trains=mode == "FIT")
            assert built.state_dict().keys() == learner.state_dict().keys()
    loaded = Classifier.load_from_checkpoint(path)
    assert not loaded.training
    for key, tensor in learner.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)


def test_initial_weights_are_loaded_where_the_checkpoint_does_not_bring_all(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = PyTorchImageModels("test_resnet", in_chans=1).network
    torch.save(network.state_dict(), tmp_path / "initial.pt")
    given = [*TIMM, f"++learner.hparams.model.backbone.checkpoint_path={tmp_path / 'initial.pt'}"]
    whole = started(*given).state_dict()
    lacking = [n for n in whole if ".network.bn1." in n and ".teacher." not in n]
    partial = {n: v + 1 for n, v in whole.items() if n not in lacking}
    torch.save(partial, tmp_path / "partial.pt")
    learner = started(*given, f"{KEY}={tmp_path / 'partial.pt'}")
    assert lacking
    for name in lacking:
        expected = network.state_dict()[name.partition(".network.")[2]]
        assert torch.equal(learner.state_dict()[name], expected)


def test_a_classifier_of_a_checkpoint_answers_images(tmp_path: Path) -> None:
    torch.manual_seed(5)
    learner = started(f"{WIDTHS}=[4,8]")
    with torch.no_grad():
        for value in learner.networks.module("teacher").parameters():
            value.add_(torch.randn_like(value))  # so that the two networks differ
    view = {"_target_": "sesemi_like.views.Normalize", "mean": 0.3, "std": 0.2}
    inputs = Inputs(classes=list("0123456789"), shape=(1, 8, 8), view=view)
    saved(learner, tmp_path / "x.ckpt", data=inputs.plain())
    classifier = Classifier.load_from_checkpoint(tmp_path / "x.ckpt")
    assert classifier.classes == list("0123456789")
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    teacher = learner.eval().networks["teacher"]
    expected = teacher((images / 255 - 0.3) / 0.2)["logits"]
    assert expected.shape == (5, 10)
    for given in (images, images / 255):
        torch.testing.assert_close(classifier(given), expected, rtol=1e-5, atol=1e-5)


def test_of_several_processes_one_logs_what_differs(
    weights: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = [f"{WIDTHS}=[4,8]", "learner.hparams.num_classes=7", weights[0]]
    monkeypatch.setattr("pytorch_lightning.utilities.rank_zero_only.rank", 1)
    with caplog.at_level("INFO", logger="sesemi_like"):
        started(*other)
    assert "of another shape" not in caplog.text


def test_images_normalized_otherwise_than_pretrained_weights_expect_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = PyTorchImageModels("test_resnet", in_chans=1).network
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {"pretrained_cfg": {"mean": [0.5], "std": [0.25]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = [*TIMM, f"++learner.hparams.model.backbone.checkpoint_path={tmp_path}"]
    expected = "images normalized by mean [0.3] and std [0.25] instead of mean [0.5] and std [0.25]"
    started(*given, inputs=Inputs(mean=[0.5], std=[0.25]))
    assert "images normalized" not in caplog.text
    started(*given, inputs=Inputs(mean=[0.3], std=[0.25]))
    assert f"{expected}, which the backbone's weights expect; see data.mean" in caplog.text
    weights = saved(started(*given), tmp_path / "x.ckpt")
    caplog.clear()
    started(*given, weights, inputs=Inputs(mean=[0.3], std=[0.25]))
    assert "images normalized" not in caplog.text
