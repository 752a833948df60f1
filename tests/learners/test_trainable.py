"""`trainable` trains what its patterns match, and nothing of the rest changes."""

import copy
import logging
import pickle
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
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.freezing import freeze
from sesemi_like.models.heads.loss import RotationPredictionLossHead
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

NETWORK = "networks.modules_by_name.classifier"


def classifier(trainable: Any, **backbone: Any) -> Any:
    """An untrained ResNet-10 of timm with a classifier."""
    return sesemi_like.Classifier(
        {
            "num_classes": 3,
            "trainable": trainable,
            "model": {
                "backbone": {
                    "_target_": "sesemi_like.PyTorchImageModels",
                    "name": "resnet10t",
                    **backbone,
                },
                "ema": {"decay": 0.5},
            },
        }
    )


def trained(learner: Any) -> set[str]:
    return {name for name, p in learner.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["backbone.layer4.*"], ["backbone.network.layer4."]),
        (["backbone.layer4"], ["backbone.network.layer4."]),
        (["backbone.layer4.*", "classifier.head"], ["backbone.network.layer4.", "head."]),
        ([f"{NETWORK}.backbone.network.layer4.*"], ["backbone.network.layer4."]),
        (["classifier.backbone.network.layer[4].*"], ["backbone.network.layer4."]),
        ("head.*", ["head."]),
        (["!backbone.*"], ["head."]),
        (["*.layer?.*", "!layer1", "!layer2", "!layer3.*"], ["backbone.network.layer4."]),
    ],
)  # fmt: skip
def test_patterns_match_names_as_users_see_them(patterns: Any, expected: list[str]) -> None:
    learner = classifier(patterns)
    prefixes = tuple(f"{NETWORK}.{part}" for part in expected)
    names = {name for name, _ in learner.named_parameters()}
    assert trained(learner) == {name for name in names if name.startswith(prefixes)}
    for part in expected:
        assert any(name.startswith(f"{NETWORK}.{part}") for name in names)


def test_a_part_of_a_name_is_no_match() -> None:
    with pytest.raises(ConfigError, match="matches no parameter"):
        classifier(["ackbone.*"])


def test_a_pattern_that_matches_nothing_is_reported_with_near_names() -> None:
    with pytest.raises(ConfigError) as error:
        classifier(["backbone.layer5.*", "heads.*", "!backbone.layr1"])
    first, second, third = error.value.problems
    assert first.key == "learner.hparams.trainable"
    assert "did you mean 'backbone.layer" in first.expected
    assert "'head.*'" in second.expected
    assert "'backbone.layer1.*'" in third.expected


def test_a_pattern_for_what_another_key_freezes_is_reported() -> None:
    with pytest.raises(ConfigError, match="give freeze: false"):
        classifier(["backbone.layer4.*", "head.*"], freeze=True)
    assert trained(classifier(["head.*"], freeze=True)) == {
        f"{NETWORK}.head.{name}" for name in ("weight", "bias")
    }


def test_frozen_modules_stay_in_evaluation_mode_through_any_train() -> None:
    learner = classifier(["backbone.layer4.*", "head.*"])
    backbone = learner.networks["classifier"].backbone
    for module in (learner, learner.networks, backbone, backbone.network, backbone.network.bn1):
        module.train()
        assert not any(m.training for m in backbone.network.layer1.modules())
        assert not backbone.network.bn1.training
    backbone.network.layer2.eval().train()
    assert not any(m.training for m in backbone.network.layer2.modules())
    assert all(m.training for m in backbone.network.layer4.modules())
    assert backbone.training, "a module that is partly trained follows the mode"


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_frozen_modules_are_frozen_and_their_own(clone: Any) -> None:
    first = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    freeze(first)
    second = clone(first)
    second.train()
    assert not any(m.training for m in second.modules())
    for one, other in zip(first.modules(), second.modules(), strict=True):
        assert other.__dict__["train"].args[0] is other is not one


class TwoHeads(Learner):
    """A network, its average, and a head with layers of its own."""

    def build_networks(self) -> Networks:
        encoder = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        encoder.out_features = 4  # type: ignore[assignment]
        return Networks({"encoder": encoder, "teacher": EMATeacher(encoder)})

    def build_terms(self) -> dict[str, LossTerm]:
        head = RotationPredictionLossHead("images", input_backbone="encoder")
        return {"turns": LossTerm(head, key="turns")}

    def averaged_networks(self) -> dict[str, str]:
        return {"teacher": "encoder"}


def test_any_learner_takes_it_and_heads_are_named_by_their_terms() -> None:
    head = {n for n, _ in TwoHeads({}).named_parameters() if n.startswith("loss_terms.")}
    assert head
    assert trained(TwoHeads({"trainable": ["turns.*"]})) == head
    assert trained(TwoHeads({"trainable": ["loss_terms.turns.*"]})) == head
    second = {f"networks.modules_by_name.encoder.1.{n}" for n in ("weight", "bias")}
    assert trained(TwoHeads({"trainable": ["encoder.1"]})) == second
    with pytest.raises(ConfigError, match="matches no parameter"):
        TwoHeads({"trainable": ["teacher.*"]})


def test_a_run_changes_what_matches_and_leaves_the_rest_bit_equal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patterns = "learner.hparams.trainable=[backbone.layers.10,backbone.layers.11,head]"
    callback = f"+trainer.callbacks=[{{_target_: {__name__}.Keep}}]"
    with caplog.at_level(logging.INFO):
        _, summary = fit(tmp_path, patterns, callback, "data.test=null")
    assert summary["headline"] is not None
    (path,) = tmp_path.rglob("last.ckpt")
    after = torch.load(path, weights_only=True)["state_dict"]
    changed = {name for name, value in Keep.before.items() if not torch.equal(value, after[name])}
    last = (f"{NETWORK}.backbone.layers.10.", f"{NETWORK}.backbone.layers.11.", f"{NETWORK}.head.")
    mine = {name for name in after if name.startswith(NETWORK)}
    assert {name for name in mine & changed} == {name for name in mine if name.startswith(last)}
    assert f"{NETWORK}.backbone.layers.11.running_mean" in changed
    assert f"{NETWORK}.backbone.layers.1.running_mean" in after
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("trainable:")]
    sizes = {n: v.numel() for n, v in after.items() if n.split(".")[-1] in ("weight", "bias")}
    count = sum(size for name, size in sizes.items() if name.startswith(last))
    rest = sum(size for name, size in sizes.items() if name.startswith(NETWORK)) - count
    assert line == f"trainable: {count:,} parameters are trained, {rest:,} frozen"


class Keep(pl.Callback):
    """Keeps the state that training begins with."""

    before: dict[str, Any]

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        Keep.before = {n: v.clone() for n, v in pl_module.state_dict().items()}


def test_a_misspelt_pattern_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    misspelt = "learner.hparams.trainable=[bckbone]"
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}", misspelt)
    with pytest.raises(ConfigError, match=r"learner\.hparams\.trainable: found 'bckbone'"):
        run(config, check(config, MODES))
    assert not list(tmp_path.iterdir())
