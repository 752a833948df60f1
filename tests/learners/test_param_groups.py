"""Parameter groups: rates and weight decays by hand, and those of timm."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from tiny_runs import TINY, fit
from torch import nn

import sesemi_like
from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.learners import Learner
from sesemi_like.learners.param_groups import learning_rates
from sesemi_like.models.backbones import PyTorchImageModels, SmallConvNet, TorchvisionModels
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.networks import ClassificationNetwork, Networks
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

SGD = {"_target_": "torch.optim.SGD", "lr": 0.5, "weight_decay": 0.01}


class Given(Learner):
    """Has the networks that its settings hold."""

    def build_networks(self) -> Networks:
        return Networks(NETWORKS)

    def build_terms(self) -> Any:
        return {}

    def averaged_networks(self) -> dict[str, str]:
        return {"teacher": "encoder"} if "teacher" in NETWORKS else {}


NETWORKS: dict[str, nn.Module] = {}


@pytest.fixture(autouse=True)
def networks() -> Any:
    """An encoder with a norm, a projector, and a teacher that is never trained."""
    encoder = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    NETWORKS.update(encoder=encoder, projector=nn.Linear(3, 1), teacher=EMATeacher(encoder))
    yield NETWORKS
    NETWORKS.clear()


def groups(**settings: Any) -> list[tuple[str | None, list[str], float, float]]:
    """The groups of an optimizer: name, parameters, learning rate, weight decay."""
    learner = Given({"optimizer": SGD, **settings})
    names = {
        id(p): n.removeprefix("networks.modules_by_name.") for n, p in learner.named_parameters()
    }
    return [
        (g.get("name"), [names[id(p)] for p in g["params"]], g["lr"], g["weight_decay"])
        for g in learner.build_optimizer().param_groups
    ]


ENCODER = ["encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias"]
PROJECTOR = ["projector.weight", "projector.bias"]


def test_without_these_keys_there_is_one_group_without_a_name() -> None:
    assert groups() == [(None, ENCODER + PROJECTOR, 0.5, 0.01)]
    assert groups(param_groups={"encoder": None}, no_decay_1d=False) == groups()


def test_the_first_group_that_matches_has_a_parameter_and_the_default_group_comes_first() -> None:
    given = {
        "norms": {"match": "encoder.1.*", "weight_decay": 0.0},
        "encoder": {"match": ["encoder.*"], "lr_scale": 0.1},
    }
    assert groups(param_groups=given) == [
        ("default", PROJECTOR, 0.5, 0.01),
        ("norms", ENCODER[2:], 0.5, 0.0),
        ("encoder", ENCODER[:2], 0.05, 0.01),
    ]


def test_a_rate_of_its_own_and_no_default_group() -> None:
    given = {"encoder": {"match": "encoder", "lr": 0.02}, "rest": {"match": "*", "lr_scale": 2}}
    found = groups(param_groups=given)
    assert found == [("encoder", ENCODER, 0.02, 0.01), ("rest", PROJECTOR, 1.0, 0.01)]


def test_tensors_of_fewer_than_two_dimensions_have_no_weight_decay() -> None:
    given = {"projector": {"match": "projector.*", "lr": 0.1, "weight_decay": 0.3}}
    assert groups(param_groups=given, no_decay_1d=True) == [
        ("default", ENCODER[:1], 0.5, 0.01),
        ("default.no_decay", ENCODER[1:], 0.5, 0.0),
        ("projector", PROJECTOR[:1], 0.1, 0.3),
        ("projector.no_decay", PROJECTOR[1:], 0.1, 0.0),
    ]


def test_frozen_parameters_are_in_no_group() -> None:
    given = {"encoder": {"match": "encoder.*", "lr_scale": 0.1}}
    assert groups(param_groups=given, trainable=["projector.*", "encoder.1.*"]) == [
        ("default", PROJECTOR, 0.5, 0.01),
        ("encoder", ENCODER[2:], 0.05, 0.01),
    ]


TIMM = {
    "vit": ("test_vit", {}),
    "vit with a norm after pooling": ("vit_tiny_patch16_224", {"fc_norm": True, "depth": 3}),
    "convnext": ("test_convnext", {}),
    "resnet": ("test_resnet", {}),
    "efficientnet": ("test_efficientnet", {}),
}


@pytest.mark.parametrize(("name", "settings"), TIMM.values(), ids=TIMM)
def test_layers_of_timm_s_models_are_scaled_as_timm_scales_them(name: str, settings: Any) -> None:
    import timm
    from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]

    model = timm.create_model(name, num_classes=5, global_pool="avg", **settings)
    expected = {}
    names = {id(p): n for n, p in model.named_parameters()}
    for group in param_groups_layer_decay(model, weight_decay=0.3, layer_decay=0.7):
        for parameter in group["params"]:
            expected[names[id(parameter)]] = (group["lr_scale"], group["weight_decay"])
    adamw = {"_target_": "torch.optim.AdamW", "lr": 1.0, "weight_decay": 0.3}
    hparams = {"optimizer": adamw, "layer_decay": 0.7, "no_decay_1d": True}
    NETWORKS.clear()
    backbone = PyTorchImageModels(name, **settings)
    NETWORKS["classifier"] = ClassificationNetwork(backbone, nn.Linear(backbone.out_features, 5))
    learner = Given(hparams)
    optimizer = learner.build_optimizer()
    own = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    head = f"{model.pretrained_cfg['classifier']}."  # type: ignore[index]
    renamed = {"networks.modules_by_name.classifier.head.": head}
    renamed["networks.modules_by_name.classifier.backbone.network."] = ""
    seen = {}
    for long, parameter in learner.named_parameters():
        (prefix,) = [prefix for prefix in renamed if long.startswith(prefix)]
        seen[long.replace(prefix, renamed[prefix])] = own[id(parameter)]
    assert seen == expected


def layer_rates(backbone: nn.Module, decay: float = 0.5) -> dict[str, float]:
    """The rate of each parameter of a classifier whose optimizer has a rate of 1."""
    NETWORKS.clear()
    NETWORKS["classifier"] = ClassificationNetwork(backbone, nn.Linear(2, 2))
    learner = Given({"optimizer": {"_target_": "torch.optim.SGD", "lr": 1.0}, "layer_decay": decay})
    own = {id(p): g["lr"] for g in learner.build_optimizer().param_groups for p in g["params"]}
    prefix = "networks.modules_by_name.classifier."
    return {n.removeprefix(prefix): own[id(p)] for n, p in learner.named_parameters()}


def test_blocks_of_other_backbones_are_taken_in_order() -> None:
    found = layer_rates(TorchvisionModels("resnet18"))
    expected = {"conv1": 2**-9, "bn1": 2**-9} | {
        f"layer{stage}.{block}": 2.0 ** -(9 - 2 * stage + 1 - block)
        for stage in (1, 2, 3, 4)
        for block in (0, 1)
    }
    for name, rate in found.items():
        part = name.removeprefix("backbone.network.")
        key = ".".join(part.split(".")[: 2 if part.startswith("layer") else 1])
        assert rate == (1.0 if name.startswith("head.") else expected[key]), name


def test_norms_belong_to_the_layer_before_them() -> None:
    found = layer_rates(SmallConvNet(in_chans=1, widths=(2, 3)))
    convolutions = {
        0: 1 / 16,
        1: 1 / 16,
        3: 1 / 8,
        4: 1 / 8,
        7: 1 / 4,
        8: 1 / 4,
        10: 1 / 2,
        11: 1 / 2,
    }
    for name, rate in found.items():
        if name.startswith("backbone."):
            assert rate == convolutions[int(name.split(".")[2])], name


class WithoutBlocks(nn.Module):
    """A backbone of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out_features = nn.Linear(2, 2), 2


def test_layers_need_a_backbone_that_has_blocks() -> None:
    with pytest.raises(ConfigError, match="no network has a backbone"):
        groups(layer_decay=0.5)
    with pytest.raises(ConfigError, match="WithoutBlocks has no blocks in order"):
        layer_rates(WithoutBlocks())


def test_rates_to_log_and_groups_that_share_one() -> None:
    settings = {
        "optimizer": SGD,
        "no_decay_1d": True,
        "param_groups": {"encoder": {"match": "encoder", "lr_scale": 0.1}},
    }
    optimizer = Given(settings).build_optimizer()
    assert learning_rates(optimizer) == {"lr": 0.5, "lr/encoder": 0.05}
    assert learning_rates(Given({"optimizer": SGD}).build_optimizer()) == {"lr": 0.5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"param_groups": {"a": {"match": "encodr.*", "lr": 1}}}, r"a\.match: .*no parameter; did"),
        (
            {"param_groups": {"a": {"match": "*", "lr": 1, "lr_scale": 2}}},
            "give only one of",
        ),
        ({"param_groups": {"a": {"match": "*"}}}, "changes nothing"),
        ({"param_groups": {"a": {"lr": 1}}}, r"a\.match: found null"),
        ({"param_groups": {"a": {"match": "*", "lr": "1e-3"}}}, r"a\.lr: .*number of at least 0"),
        ({"param_groups": {"a": {"match": "*", "lr_scal": 1}}}, r"did you mean 'lr_scale'"),
        ({"param_groups": {"default": {"match": "*", "lr": 1}}}, "other than 'default'"),
        ({"param_groups": ["*"]}, "groups by name"),
        ({"layer_decay": 1.5}, r"layer_decay: found 1\.5; must lie in \(0, 1\]"),
        ({"no_decay_1d": "yes"}, "must be true or false"),
        ({"trainable": []}, "needs a pattern"),
        ({"trainable": {"a": 1}}, "needs a pattern"),
    ],
)
def test_mistakes_are_named(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        groups(**settings)


def test_an_optimizer_without_weight_decay_is_named() -> None:
    rprop = {"_target_": "torch.optim.Rprop", "lr": 0.1}
    with pytest.raises(ConfigError, match=r"hparams\.optimizer: found 'Rprop'; it has no weight_d"):
        groups(optimizer=rprop, no_decay_1d=True)


def test_the_classifier_s_section_is_checked_before_anything_is_built() -> None:
    overrides = [
        "learner.hparams.layer_decay=0",
        "learner.hparams.param_groups={a: {lr: -1, match: x}}",
    ]
    problems = check(composed("quickstart", *overrides), MODES)
    assert {p.key for p in problems} == {
        "learner.hparams.layer_decay",
        "learner.hparams.param_groups.a.lr",
    }


def test_every_group_is_scheduled_logged_and_resumed(tmp_path: Path) -> None:
    hparams = "learner.hparams"
    settings = [
        f"{hparams}.param_groups={{backbone: {{match: backbone.*, lr_scale: 0.1}}}}",
        f"{hparams}.no_decay_1d=true", "data.test=null", "method=supervised",
        f"{hparams}.lr_scheduler.scheduler.warmup_epochs=0",
    ]  # fmt: skip
    first, _ = fit(tmp_path / "whole", *settings)
    rates = rates_in(first)
    assert len(rates) == 10
    assert len({lr for lr, _ in rates}) == 10
    for lr, backbone in rates:
        assert backbone == pytest.approx(lr / 10)
    half, _ = fit(
        tmp_path / "half", *settings, f"trainer.callbacks=[{{_target_: {__name__}.Stop}}]"
    )
    path = half / "checkpoints" / "last.ckpt"
    second, _ = fit(tmp_path / "rest", *settings, f"run.resume_from_checkpoint='{path}'")
    assert rates_in(second) == rates[5:]
    whole, resumed = (state(folder) for folder in (first, second))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def rates_in(folder: Path) -> list[tuple[float, float]]:
    import csv

    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    return [(float(r["lr"]), float(r["lr/backbone"])) for r in rows if r["lr"]]


def state(folder: Path) -> Any:
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


class Stop(pl.Callback):
    """Ends a run at its fifth step, which ends an epoch."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == 5


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "param_groups={backbone: {match: backbone.*, lr_scale: 0.2}}",
            "lr_scale is 0.1, here 0",
        ),
        ("no_decay_1d=true", "no_decay_1d is false, here true"),
        ("trainable=[head]", "trainable is null, here ['head']"),
        ("param_groups=null", "lr_scale is 0.1, here null"),
    ],
)
def test_resuming_with_other_groups_is_reported(
    tmp_path: Path, finished: Path, override: str, expected: str
) -> None:
    more = ["run.num_iterations=20", "data.test=null", "method=supervised"]
    config = composed(
        "quickstart", *TINY, *more, f"run.dir={tmp_path}", f"learner.hparams.{override}",
        f"run.resume_from_checkpoint='{finished}'",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="its optimizer is another one") as error:
        prepare(config)
    assert expected in str(error.value)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of a run with a group for the backbone."""
    group = "learner.hparams.param_groups={backbone: {match: backbone.*, lr_scale: 0.1}}"
    folder, _ = fit(tmp_path_factory.mktemp("groups"), group, "data.test=null", "method=supervised")
    return folder / "checkpoints" / "last.ckpt"


def test_classifier_trains_the_head_faster_than_the_backbone_by_hand() -> None:
    """One SGD step moves each parameter by its own rate times its gradient."""
    torch.manual_seed(0)
    hparams = {
        "num_classes": 2, "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
        "param_groups": {"backbone": {"match": "backbone.*", "lr_scale": 0.5}},
        "model": {
            "backbone": {"_target_": "sesemi_like.models.backbones.SmallConvNet", "widths": [2]}
        },
    }  # fmt: skip
    learner = sesemi_like.Classifier(hparams)
    optimizer = learner.build_optimizer()
    network = learner.networks["classifier"]
    network(torch.randn(4, 1, 8, 8))["logits"].square().sum().backward()
    before = {n: (p.clone(), p.grad.clone()) for n, p in learner.named_parameters()}
    optimizer.step()
    for name, parameter in learner.named_parameters():
        value, gradient = before[name]
        rate = 0.05 if ".backbone." in name else 0.1
        torch.testing.assert_close(parameter, value - rate * gradient)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [("SparseAdam", "takes sparse gradients"), ("LBFGS", "weights of 2-d convolutions")],
)
def test_optimizers_that_cannot_train_these_parameters_are_reported(
    optimizer: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=rf"learner\.hparams\.optimizer.*{expected}"):
        prepare(composed("quickstart", *TINY, f"optimizer={optimizer}"))
