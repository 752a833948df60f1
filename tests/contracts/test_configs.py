"""Every built-in YAML, found by listing the folder, composes, documents itself and replaces."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from composing import composed
from omegaconf import DictConfig, OmegaConf

from sesemi_like.config.check import check
from sesemi_like.config.store import builtin_configs
from sesemi_like.run.modes import MODES

FOLDER = builtin_configs()
PRIMARY = sorted(path.stem for path in FOLDER.glob("*.yaml"))
CHOICES = sorted(
    (str(path.parent.relative_to(FOLDER)), path.stem) for path in FOLDER.glob("*/**/*.yaml")
)
GROUPS = sorted({group for group, _ in CHOICES})
DEFAULTS = {
    name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).get("defaults", [])
    for name in PRIMARY
}


def groups_of(name: str) -> set[str]:
    """The groups that a primary config chooses from in its defaults list."""
    words = {key for entry in DEFAULTS[name] if isinstance(entry, dict) for key in entry}
    return {word.removeprefix("override ").removeprefix("optional ") for word in words}


# Groups that the bare config lacks (`quickstart_method`) belong to the config that names them.
# `protocol_data` and such are composed by the choices of other groups.
BY_OTHERS = {"protocol_data", "protocol_method", "protocol_case"}
GROUPS_OF_THE_BARE_CONFIG = groups_of("sesemi_config") & set(GROUPS) - BY_OTHERS


def test_every_group_is_chosen_from_by_a_built_in_config() -> None:
    assert len(GROUPS_OF_THE_BARE_CONFIG) >= 6
    named = set().union(*map(groups_of, PRIMARY))
    by_protocols = {"selection"}
    assert {group.split("/")[0] for group in GROUPS} <= named | by_protocols


# What a choice needs beside the bare config: other choices, and the parts that it changes.
COMPANIONS = {
    ("protocol", "classic"): ["data=cifar10"],
    ("protocol_case/classic", "svhn_freematch"): ["method=freematch"],
    ("protocol_case/classic", "cifar100_mixmatch"): ["method=mixmatch"],
    ("protocol_case/classic", "stl10_comatch"): ["method=comatch"],
}


@pytest.mark.parametrize("name", PRIMARY)
def test_each_run_composes_and_only_the_bare_one_lacks_values(name: str) -> None:
    problems = check(composed(name), MODES)
    if name == "sesemi_config":
        assert {p.key for p in problems} >= {"learner.hparams.num_classes"}
    else:
        assert problems == []


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_each_choice_composes_with_the_bare_config_and_does_something(
    group: str, choice: str
) -> None:
    companions = COMPANIONS.get((group, choice), [])
    bare = OmegaConf.to_container(composed("sesemi_config", *companions))
    word = f"{group}={choice}" if group in GROUPS_OF_THE_BARE_CONFIG else f"+{group}={choice}"
    chosen = OmegaConf.to_container(composed("sesemi_config", *companions, word))
    assert chosen != bare or (group, choice) == ("lr_scheduler", "constant")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("**/*.yaml")), ids=lambda p: p.stem)
def test_each_file_opens_with_the_command_that_runs_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    opening = lines[: lines.index(next(x for x in lines if x[:1] not in "#"))]
    assert re.search(r"open_cli|defaults: \[", "\n".join(opening)), path
    sentences = [line for line in opening if "@package" not in line]
    assert len(sentences) >= 2, f"{path}: say what to expect"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("**/*.yaml")), ids=lambda p: p.stem)
def test_the_commands_in_the_openings_name_configs_that_exist(path: Path) -> None:
    for line in path.read_text().splitlines():
        command = re.search(r"^#\s+open_cli -cn (\w+)((?: \S+=\S+)*)", line)
        if command:
            composed(command.group(1), *command.group(2).split())


# The values of `base`, which users' own configs start from.
BASE = {
    "run.accelerator": "dp",
    "run.num_epochs": 50,
    "run.batch_size_per_gpu": 16,
    "data.train.supervised.dataset.name": "image_folder",
    "data.train.supervised.dataset.subset": "train",
    "data.train.supervised.dataset.image_transform._target_": (
        "sesemi_like.transforms.train_transforms"
    ),
    "data.train.supervised.shuffle": True,
    "data.train.supervised.pin_memory": True,
    "data.train.supervised.num_workers": 4,
    "data.train.supervised.drop_last": True,
    "data.train.supervised.collate_fn": None,
    "data.train.rotation_prediction.dataset.name": "image_folder",
    "data.train.rotation_prediction.dataset.subset": None,
    "data.train.rotation_prediction.dataset.image_transform._target_": (
        "sesemi_like.transforms.train_transforms"
    ),
    "data.train.rotation_prediction.shuffle": True,
    "data.train.rotation_prediction.pin_memory": True,
    "data.train.rotation_prediction.num_workers": 4,
    "data.train.rotation_prediction.drop_last": True,
    "data.train.rotation_prediction.collate_fn._target_": (
        "sesemi_like.collation.RotationTransformer"
    ),
    "data.val.dataset.name": "image_folder",
    "data.val.dataset.subset": "val",
    "data.val.dataset.image_transform._target_": "sesemi_like.transforms.center_crop_transforms",
    "data.val.drop_last": False,
    "data.val.shuffle": False,
    "learner._target_": "sesemi_like.Classifier",
    "learner.hparams.num_classes": 10,
    "learner.hparams.model.backbone._target_": "sesemi_like.PyTorchImageModels",
    "learner.hparams.model.backbone.name": "resnet50d",
    "learner.hparams.model.backbone.freeze": False,
    "learner.hparams.model.backbone.pretrained": False,
    "learner.hparams.model.backbone.global_pool": "avg",
    "learner.hparams.model.backbone.drop_rate": 0.5,
    "learner.hparams.model.supervised_loss.callable._target_": "torch.nn.CrossEntropyLoss",
    "learner.hparams.model.supervised_loss.reduction": "mean",
    "learner.hparams.model.regularization_loss_heads.rotation_prediction.head": {
        "_target_": "sesemi_like.models.heads.loss.RotationPredictionLossHead",
        "input_data": "rotation_prediction",
        "input_backbone": "backbone",
    },
    "learner.hparams.model.ema": None,
    "learner.hparams.optimizer": {
        "_target_": "torch.optim.SGD",
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.0005,
    },
    "learner.hparams.lr_scheduler.interval": "step",
    "learner.hparams.lr_scheduler.scheduler": {
        "_target_": "sesemi_like.PolynomialLR",
        "warmup_epochs": 10,
        "iters_per_epoch": "${app:iterations_per_epoch}",
        "warmup_lr": 0.001,
        "lr_pow": 0.5,
        "max_iters": "${app:max_iterations}",
    },
    "trainer.callbacks": [
        {
            "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
            "monitor": "val/top1",
            "mode": "max",
            "save_top_k": 1,
            "save_last": True,
        }
    ],
}


def at(content: Any, key: str) -> Any:
    for name in key.split("."):
        content = (content or {}).get(name)
    return content


def test_base_field_by_field() -> None:
    content: Any = OmegaConf.to_container(composed("base"), resolve=False)
    assert {key: at(content, key) for key in BASE} == BASE


def test_imagewoof_is_base_with_its_own_run() -> None:
    base: Any = OmegaConf.to_container(composed("base"), resolve=False)
    woof = OmegaConf.to_container(composed("imagewoof"), resolve=False)
    own = {"seed": 42, "gpus": -1, "num_epochs": 80, "id": "imagewoof"}
    assert woof == {**base, "run": {**base["run"], **own, "data_root": "./data/imagewoof2"}}


# Learning rate, weight decay and epochs of warm-up of the built-in configs.
TRAINED_WITH = {
    "base": (0.1, 0.0005, 10),
    "cifar10": (0.03, 0.0005, 0),
    "cifar100": (0.03, 0.001, 0),
    "imagewang": (0.1, 0.0005, 5),
    "imagewoof": (0.1, 0.0005, 10),
    "quickstart": (0.03, 0.0005, 0),
    "stl10": (0.03, 0.0005, 0),
}


def test_learning_rates_of_built_in_configs_are_unchanged() -> None:
    rates = {}
    for name in TRAINED_WITH:
        hparams = composed(name).learner.hparams
        sgd = hparams.optimizer
        assert (sgd._target_, sgd.momentum, sgd.nesterov) == ("torch.optim.SGD", 0.9, True)
        warmup = hparams.lr_scheduler.scheduler.warmup_epochs
        rates[name] = (sgd.lr, sgd.weight_decay, warmup)
    assert rates == TRAINED_WITH


def test_the_ema_of_built_in_configs() -> None:
    model = composed("quickstart").learner.hparams.model
    assert model.ema == {"decay": 0.99, "warmup": True, "kind": "states", "mode": "eval"}
    model = composed("cifar10").learner.hparams.model
    assert model.ema == {"decay": 0.999, "warmup": True, "kind": "states", "mode": "eval"}


# The key that each group sets. A run's label budget is its own.
PLACES = {
    "backbone": "learner.hparams.model.backbone",
    "data": "data",
    "evaluation": "run.evaluators",
    "lr_scheduler": "learner.hparams.lr_scheduler",
    "method": "learner.hparams.model.regularization_loss_heads",
    "optimizer": "learner.hparams.optimizer",
}
QUICKSTARTS_OWN = [choice for group, choice in CHOICES if group == "quickstart_method"]
BUDGETS = ("labels_per_class", "num_labels", "label_fraction")


def test_each_group_of_the_bare_config_has_a_place() -> None:
    assert set(PLACES) | {"protocol"} == GROUPS_OF_THE_BARE_CONFIG  # which sets values of all


def values_of(config: DictConfig, group: str) -> Any:
    values = at(OmegaConf.to_container(config, resolve=False), PLACES[group])
    if group == "data":
        return {key: value for key, value in values.items() if key not in BUDGETS}
    return values


@pytest.fixture(scope="module")
def chosen_alone() -> dict[tuple[str, str], Any]:
    """The values that each choice sets in the bare config."""
    return {
        (group, choice): values_of(composed("sesemi_config", f"{group}={choice}"), group)
        for group, choice in CHOICES
        if group in PLACES
    }


@pytest.mark.parametrize("name", PRIMARY)
def test_every_choice_of_every_group_replaces_what_a_built_in_config_has(
    name: str, chosen_alone: dict[tuple[str, str], Any]
) -> None:
    choices = {group: [c for g, c in CHOICES if g == group] for group in PLACES}
    for turn in range(max(map(len, choices.values()))):
        chosen = {group: names[turn % len(names)] for group, names in choices.items()}
        config = composed(name, *(f"{group}={choice}" for group, choice in chosen.items()))
        for group, choice in chosen.items():
            wanted = chosen_alone[group, choice]
            if (name, group) == ("quickstart", "method") and choice in QUICKSTARTS_OWN:
                words = (f"method={choice}", f"+quickstart_method={choice}")
                wanted = values_of(composed("sesemi_config", *words), group)
            assert values_of(config, group) == wanted, f"-cn {name} {group}={choice}"


def test_a_choice_leaves_nothing_of_what_it_replaces() -> None:
    hparams = composed("base", "optimizer=adam", "backbone=resnet18d").learner.hparams
    assert hparams.optimizer == {"_target_": "torch.optim.Adam", "lr": 0.001}
    assert (hparams.model.backbone.name, hparams.model.backbone.drop_rate) == ("resnet18d", 0.0)


def test_a_users_file_overrides_single_values_of_the_choices_of_base(tmp_path: Path) -> None:
    body = "defaults: [base]\nlearner: {hparams: {model: {backbone: {name: resnet18d}}}}\n"
    (tmp_path / "custom.yaml").write_text(body)
    backbone = composed("custom", folder=tmp_path).learner.hparams.model.backbone
    assert (backbone.name, backbone.drop_rate) == ("resnet18d", 0.5)


def test_a_method_replaces_the_heads_of_another() -> None:
    for name in ("quickstart", "cifar10", "imagewoof"):
        model = composed(name, "method=supervised").learner.hparams.model
        assert model.regularization_loss_heads is None
    heads = composed(
        "quickstart", "method=rotation"
    ).learner.hparams.model.regularization_loss_heads
    assert list(heads) == ["rotation_prediction"]
