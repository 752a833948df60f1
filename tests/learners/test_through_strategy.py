"""Whatever calls networks in a run does so within the strategy's wrapper, as a step does."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from sesemi_like.config.check import check
from sesemi_like.learners import Learner
from sesemi_like.models.backbones.base import Backbone
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


class Wrapper(nn.Module):
    """Makes a module whole while it is called through this wrapper, as sharding does."""

    inside = False
    calls = 0

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *arguments: Any) -> Any:
        Wrapper.inside, Wrapper.calls = True, Wrapper.calls + 1
        try:
            return self.module(*arguments)
        finally:
            Wrapper.inside = False


class WrappingStrategy(SingleDeviceStrategy):
    """Wraps the module in training and in evaluation."""

    def setup(self, trainer: pl.Trainer) -> None:
        super().setup(trainer)
        self.model = Wrapper(self.lightning_module)


class WholeWithinWrapperAlone(Backbone):
    """Can only be called within the wrapper, once a trainer is there."""

    attached = False

    def __init__(self, pixels: int = 64, **_: Any) -> None:
        super().__init__()
        self.layer, self.out_features = nn.Linear(pixels, 8), 8

    def forward(self, images: Tensor) -> Tensor:
        if self.attached:
            assert Wrapper.inside, "the network was called outside of the strategy's wrapper"
        return self.layer(images.flatten(1))


class Attach(pl.Callback):
    """Has backbones refuse calls from outside the wrapper from now on."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        WholeWithinWrapperAlone.attached = True


@pytest.fixture
def attaching() -> Any:
    yield
    WholeWithinWrapperAlone.attached = False


HERE = __name__
WRAPPED = [
    "run.gpus=0", "run.num_iterations=6", "run.precision=32", "method=fixmatch",
    f"learner.hparams.model.backbone._target_={HERE}.WholeWithinWrapperAlone",
    f"trainer.callbacks=[{{_target_: {HERE}.Attach}}]",
    f"+trainer.strategy={{_target_: {HERE}.WrappingStrategy, device: cpu}}",
]  # fmt: skip


def test_a_whole_run_calls_networks_within_the_wrapper_alone(
    tmp_path: Path, attaching: None
) -> None:
    """Steps, the trial of joined forwards, validation, nearest neighbours, captions, the test."""
    knn = (
        "+run.evaluators={accuracy: {_target_: sesemi_like.evaluation.Accuracy},"
        "knn: {_target_: sesemi_like.evaluation.KNN}}"
    )
    config = composed("quickstart", *WRAPPED, knn, f"run.dir={tmp_path}")
    Wrapper.calls = 0
    summary = run(config, check(config, MODES))
    assert summary["headline"] is not None
    assert Wrapper.calls > 6


class Doubling(Learner):
    def build_networks(self) -> Networks:
        return Networks({"encoder": nn.Linear(2, 2)})

    def build_terms(self) -> Any:
        return {}


def test_outside_a_run_a_function_is_simply_called() -> None:
    learner = Doubling({})
    assert learner.through_strategy(lambda a, b: a + b, 1, 2) == 3


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_precision_and_result_are_those_of_a_step(precision: Any) -> None:
    learner = Doubling({})
    trainer = pl.Trainer(accelerator="cpu", precision=precision, logger=False)
    strategy = trainer.strategy
    strategy._lightning_module, strategy.model = learner, Wrapper(learner)
    learner.trainer = trainer
    network = learner.networks["encoder"]
    found = learner.through_strategy(lambda x: (network(x), Wrapper.inside), torch.ones(1, 2))
    assert found[0].dtype == (torch.float32 if precision == "32-true" else torch.bfloat16)
    assert found[1]
    assert not [name for name in vars(learner) if "called_as" in name]
    with pytest.raises(ZeroDivisionError):
        learner.through_strategy(lambda: 1 / 0)
    assert "forward" not in vars(learner) or learner.forward == type(learner).forward.__get__(
        learner
    )
