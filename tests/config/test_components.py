"""Classes as choices of config groups: a person's own, and those of torch and Lightning."""

from collections.abc import Iterator
from typing import Any

import pytest
from composing import composed
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf

import sesemi_like
from sesemi_like.config.components import REGISTERED, register
from sesemi_like.errors import ConfigError


class OwnBackbone:
    """A backbone with every kind of default."""

    def __init__(
        self, width: int, depth: int = 2, sizes: tuple[int, ...] = (1, 2), act: Any = print,
        name: str | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.width = width


class OwnHead:
    def __init__(self, in_features: int, out_features: int, scale: float = 2.0) -> None:
        self.scale = scale


def own_schedule(optimizer: Any, gamma: float = 0.5) -> None:
    """A schedule that is a function."""


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    ConfigStore.instance()
    before = {group: dict(names) for group, names in REGISTERED.items()}
    repository = dict(ConfigStore.instance().repo)
    yield
    REGISTERED.clear()
    REGISTERED.update(before)
    ConfigStore.instance().repo.clear()
    ConfigStore.instance().repo.update(repository)


def section(key: str, *overrides: str) -> Any:
    return OmegaConf.to_container(OmegaConf.select(composed("sesemi_config", *overrides), key))


def test_a_class_is_a_choice_by_its_name_with_its_defaults_as_keys() -> None:
    assert register("backbone")(OwnBackbone) is OwnBackbone
    assert section("learner.hparams.model.backbone", "backbone=OwnBackbone") == {
        "_target_": f"{__name__}.OwnBackbone",
        "width": "???", "depth": 2, "sizes": [1, 2], "name": None,
    }  # fmt: skip


def test_a_name_of_ones_own_and_a_call_in_place_of_a_decorator() -> None:
    register("backbone", "mine", OwnBackbone)
    content = section("learner.hparams.model.backbone", "backbone=mine",
                      "learner.hparams.model.backbone.width=3")  # fmt: skip
    assert content["width"] == 3


def test_what_the_program_fills_in_is_no_key() -> None:
    register("head")(OwnHead)
    register("lr_scheduler")(own_schedule)
    head = section("learner.hparams.model.head", "+head=OwnHead")
    assert head == {"_target_": f"{__name__}.OwnHead", "scale": 2.0}
    schedule = section("learner.hparams.lr_scheduler", "lr_scheduler=own_schedule")
    assert schedule["scheduler"] == {"_target_": f"{__name__}.own_schedule", "gamma": 0.5}
    assert schedule["interval"] == "step"  # the struct's own keys stay


def test_any_other_group_is_placed_at_its_path_or_where_one_says() -> None:
    register("parts/deep", "it", OwnHead)
    place = "learner.hparams.model.regularization_loss_heads"
    config = composed("sesemi_config", f"+parts/deep@{place}.mine.head=it")
    assert OmegaConf.select(config, f"{place}.mine.head.scale") == 2.0


def test_two_classes_of_one_name_are_an_error_and_the_same_one_again_is_none() -> None:
    register("backbone", "twice", OwnBackbone)
    register("backbone", "twice", OwnBackbone)
    with pytest.raises(ConfigError, match=r"'twice' already: .*OwnBackbone; give another name"):
        register("backbone", "twice", OwnHead)


def test_what_no_config_can_find_is_refused() -> None:
    class Hidden:
        pass

    with pytest.raises(ConfigError, match="defined inside a function"):
        register("backbone")(Hidden)


def test_it_is_offered_by_the_package() -> None:
    assert sesemi_like.register is register


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("optimizer=SGD", "learner.hparams.optimizer",
         {"_target_": "torch.optim.SGD", "momentum": 0}),
        ("lr_scheduler=StepLR", "learner.hparams.lr_scheduler.scheduler",
         {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": "???", "gamma": 0.1}),
        ("+loss=CrossEntropyLoss", "learner.hparams.model.supervised_loss.callable",
         {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.0}),
        ("+sampler@data.train.a.sampler=RandomSampler", "data.train.a.sampler",
         {"_target_": "torch.utils.data.RandomSampler", "replacement": False}),
        ("+trainer/callbacks@trainer.callbacks.lr=LearningRateMonitor", "trainer.callbacks.lr",
         {"_target_": "pytorch_lightning.callbacks.LearningRateMonitor", "log_momentum": False}),
        ("+trainer/logger@trainer.logger.csv=CSVLogger", "trainer.logger.csv",
         {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "???"}),
    ],
)  # fmt: skip
def test_classes_of_torch_and_lightning_are_choices(
    override: str, key: str, expected: dict[str, Any]
) -> None:
    content = section(key, override)
    assert {name: content[name] for name in expected} == expected
    assert not {"params", "optimizer", "data_source"} & set(content)


def test_a_file_of_nearly_the_same_name_is_still_the_file() -> None:
    assert "nesterov" in section("learner.hparams.optimizer", "optimizer=sgd")
    assert "maximize" not in section("learner.hparams.optimizer", "optimizer=sgd")


def test_an_unknown_class_names_the_choices() -> None:
    with pytest.raises(HydraException, match="AdamW"):
        composed("sesemi_config", "optimizer=Adamm")


@pytest.mark.parametrize("override", ["trainer=null", "+trainer.max_time=00:00:01:00", "~trainer"])
def test_a_section_that_groups_lie_in_is_still_a_section(override: str) -> None:
    trainer = composed("quickstart", override).get("trainer")
    assert trainer is None or trainer.max_time == "00:00:01:00"
