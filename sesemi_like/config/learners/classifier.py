"""The classifier's section of the config, and its checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from ...errors import ConfigProblem
from ..check_optimization import optimization_problems
from ..choices import FORWARD_SETTINGS, ROWS_SETTINGS, on_or_off
from ..rules import at_least, needed, one_of
from .base import (
    EMAConfig,
    LearnerConfig,
    LearnerEntry,
    LossHeadConfig,
    LRSchedulerConfig,
    ParamGroupConfig,
    TeacherConfig,
    ema_problems,
    loss_problems,
    lr_scheduler_problems,
)


@dataclass
class SupervisedLossConfig:
    """The supervised loss.

    Attributes:
        callable: Any criterion: (logits (N, C), targets (N,)) to one loss per row.
        scheduler: The weight over time: a callable step -> float; null is constant.
        reduction: mean | weighted_mean | sum.
        scale_factor: Multiplies the reduced loss.
        class_weights: One weight per class; with `weighted_mean` as torch's weighted loss.
        input_data: The train loader it reads.
        views: Views, or other fields, of the loader in place of `input_field`; the loss is the mean
            over several.
        target: The field of the loader with the labels.
        mask: A part that weighs labeled rows by what is predicted for them; null weighs all alike.
        interpolated: Whether logits are drawn between those of the labeled rows alone and those
            among all rows of a step, which `model.forward` together runs at once (AdaMatch).
        mixing: A part that mixes labeled rows and labels in training, such as `parts.Mixup`; null
            mixes none.
    """

    callable: Any = MISSING
    scheduler: Any = None
    reduction: str = "mean"
    scale_factor: float = 1.0
    class_weights: list[float] | None = None
    input_data: str = "supervised"
    views: list[str] | None = None
    target: str = "target"
    mask: Any = None
    interpolated: bool = False
    mixing: Any = None


@dataclass
class ClassifierModelConfig:
    """The networks and losses of a classifier.

    Attributes:
        backbone: Maps images, or what else `input_field` holds, to features.
        input_field: The batch field that is learned and evaluated; views have names of their own.
        supervised_loss: The supervised loss; null trains without one.
        regularization_loss_heads: Further loss heads by name.
        head: Maps features to logits; null is one linear layer. Gets in_features, out_features.
        ema: The EMA teacher; null keeps none.
        forward: auto | separate | joined | together: whether rows for one network are stacked into
            one forward; auto stacks them where that is faster and changes nothing else, which rules
            out BatchNorm and dropout in training mode; together also stacks rows without gradients.
        rows: auto | on | off: whether rows that weigh nothing are left out of a forward; auto does
            so where that changes nothing else and is faster.
        networks: Further networks by name, such as a projector, that loss heads send data through;
            those that take `in_features` and have none get that of the backbone's features.
        teachers: Further EMA teachers by name, beside `ema`.
        evaluated: Layers by name that are evaluated as classifiers of the features, such as
            `heads.abc.classifier`, or lists of the network that answers features and the layer.
        frozen_features: Draws of each random view that a frozen backbone is run on once, before
            training, and whose features are kept for later runs; null runs it in each step.
    """

    backbone: Any = MISSING
    input_field: str = "image"
    supervised_loss: SupervisedLossConfig | None = field(default_factory=SupervisedLossConfig)
    regularization_loss_heads: dict[str, LossHeadConfig | None] | None = None
    head: Any = None
    ema: EMAConfig | None = None
    forward: str = "auto"
    rows: Any = "auto"
    networks: dict[str, Any] | None = None
    teachers: dict[str, TeacherConfig | None] | None = None
    evaluated: dict[str, Any] | None = None
    frozen_features: int | None = None


@dataclass
class ClassifierHParams:
    """What a classifier is rebuilt from.

    Attributes:
        num_classes: Classes C of the logits.
        model: Its networks and losses.
        optimizer: A torch optimizer; gets the parameters.
        lr_scheduler: The learning-rate schedule; null keeps the rate.
        trainable: Patterns over parameter names: what matches none is frozen; null trains all.
        param_groups: Parameters with a learning rate or weight decay of their own, by name.
        no_decay_1d: Whether biases and the weights of norms are kept from weight decay.
        layer_decay: The factor from a block's learning rate to that of the block before it; null
            trains all alike.
        save_frozen: Whether checkpoints hold what did not train too; false notes where it is from.
    """

    num_classes: int = MISSING
    model: ClassifierModelConfig = field(default_factory=ClassifierModelConfig)
    optimizer: Any = MISSING
    lr_scheduler: LRSchedulerConfig | None = None
    trainable: Any = None
    param_groups: dict[str, ParamGroupConfig | None] | None = None
    no_decay_1d: bool = False
    layer_decay: float | None = None
    save_frozen: bool = True


@dataclass
class ClassifierConfig(LearnerConfig):
    """The classifier.

    Attributes:
        _target_: The learner's class.
        hparams: What a classifier is rebuilt from.
    """

    _target_: str = "sesemi_like.Classifier"
    hparams: ClassifierHParams = field(default_factory=ClassifierHParams)


def classifier_problems(learner: DictConfig, trains: bool) -> Iterator[ConfigProblem]:
    """Checks a classifier's hyperparameters.

    Args:
        learner: The section `learner`, of :class:`ClassifierConfig`.
        trains: Whether the run trains, which needs an optimizer.
    """
    hparams, key = learner.hparams, "learner.hparams"
    if not OmegaConf.is_missing(hparams, "num_classes"):
        yield from at_least(hparams, key, "num_classes", 1)
    if trains:
        yield from needed(hparams, key, "optimizer", ClassifierHParams)
    yield from _model_problems(hparams.model, f"{key}.model")
    yield from lr_scheduler_problems(hparams.lr_scheduler, f"{key}.lr_scheduler")
    yield from optimization_problems(hparams, key)


def _model_problems(model: DictConfig, key: str) -> Iterator[ConfigProblem]:
    yield from needed(model, key, "backbone", ClassifierModelConfig)
    yield from at_least(model, key, "frozen_features", 1)
    yield from one_of(model, key, "forward", FORWARD_SETTINGS)
    yield from one_of({"rows": on_or_off(model.rows)}, key, "rows", ROWS_SETTINGS)
    if model.forward == "together" and on_or_off(model.rows) == "on":
        expected = "forward: together runs all rows at once; auto or off"
        yield ConfigProblem(f"{key}.rows", "on", expected)
    yield from loss_problems(model.supervised_loss, f"{key}.supervised_loss")
    yield from _view_problems(model.supervised_loss, f"{key}.supervised_loss.views")
    for name, head in (model.regularization_loss_heads or {}).items():
        yield from loss_problems(head, f"{key}.regularization_loss_heads.{name}")
    yield from ema_problems(model.ema, f"{key}.ema")
    for name, teacher in (model.teachers or {}).items():
        yield from ema_problems(teacher, f"{key}.teachers.{name}")


def _view_problems(loss: DictConfig | None, key: str) -> Iterator[ConfigProblem]:
    views = None if loss is None else loss.views
    if views is not None and (not views or len(set(views)) < len(views)):
        yield ConfigProblem(key, list(views), "needs one view at least, and each once, or null")


LEARNER = LearnerEntry("classifier", ClassifierConfig, classifier_problems)
