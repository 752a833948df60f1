"""A dry run freezes what no loss reaches, and nothing else."""

import logging
from typing import Any

import pytest
import torch
from composing import composed
from torch import nn

from sesemi_like.errors import ConfigError
from sesemi_like.learners.autograd_graph import graph_leaves
from sesemi_like.models.backbones.base import Backbone, global_average
from sesemi_like.run.prepare import prepare

TINY = ["run.gpus=0", "run.num_iterations=2", "learner.hparams.model.backbone.widths=[4,8]"]
ROTATION_ALONE = ["method=rotation", "learner.hparams.model.supervised_loss=null"]
LOGITS = "networks.modules_by_name.classifier.head"


def frozen(learner: Any) -> Any:
    return {n for n, p in learner.named_parameters() if not p.requires_grad and "teacher" not in n}


def test_reached_leaves_are_those_that_a_backward_pass_gives_gradients() -> None:
    leaves = [torch.ones(3, requires_grad=True) for _ in range(4)]
    a, b, c, d = leaves
    loss = (torch.where(a > 2, a * b, 0).sum() + d.detach().sum(), c.sum())
    reached = graph_leaves(loss)
    torch.stack(loss).sum().backward()
    assert [id(leaf) in reached for leaf in leaves] == [leaf.grad is not None for leaf in leaves]
    assert [id(leaf) in reached for leaf in leaves] == [True, True, True, False]
    assert graph_leaves([torch.ones(())]) == set()


def test_a_logits_layer_that_no_loss_reads_is_frozen_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        learner = prepare(composed("quickstart", *TINY, *ROTATION_ALONE)).learner
    assert frozen(learner) == {f"{LOGITS}.weight", f"{LOGITS}.bias"}
    (line,) = [r.getMessage() for r in caplog.records if "no loss reaches" in r.getMessage()]
    assert "2 parameters" in line
    assert f"{LOGITS}.weight" in line
    trained = [p for group in learner.build_optimizer().param_groups for p in group["params"]]
    head = learner.networks.module("classifier").get_submodule("head")
    assert not {id(p) for p in trained} & {id(p) for p in head.parameters()}


@pytest.mark.parametrize("method", ["mean_teacher", "jigsaw"])
def test_whatever_a_loss_reaches_is_trained(method: str, caplog: pytest.LogCaptureFixture) -> None:
    learner = prepare(composed("quickstart", *TINY, f"method={method}")).learner
    assert frozen(learner) == set()
    assert "no loss reaches" not in caplog.text


class WithAuxiliary(Backbone):
    """Runs a layer in training mode alone."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
        self.layer, self.auxiliary = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)
        self.unused = nn.Linear(2, 2)
        self.out_features = 4

    def forward(self, images: Any) -> Any:
        features = global_average(self.layer(images))
        return features + global_average(self.auxiliary(images)) if self.training else features


def test_layers_of_training_mode_alone_are_trained() -> None:
    backbone = f"learner.hparams.model.backbone._target_={__name__}.WithAuxiliary"
    learner = prepare(composed("quickstart", *TINY, backbone, "method=supervised")).learner
    names = {name.rpartition("backbone.")[2] for name in frozen(learner)}
    assert names == {"unused.weight", "unused.bias"}


def test_a_run_that_could_learn_nothing_is_reported() -> None:
    nothing = "learner.hparams.model.supervised_loss=null"
    with pytest.raises(ConfigError, match=r"learner\.hparams: .*no loss reaches any parameter"):
        prepare(composed("quickstart", *TINY, "method=supervised", nothing))
