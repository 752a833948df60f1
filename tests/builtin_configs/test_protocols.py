"""The protocols: every number of the classic one against its table, and small runs of both.

The table is that of semilearn's `config/classic_cv` and of its code, as in the papers of TorchSSL
and USB (arXiv 2110.08263, 2208.07204).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import composed
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sesemi_like.config.check import check
from sesemi_like.config.store import builtin_configs
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

METHODS = sorted(path.stem for path in (builtin_configs() / "method").glob("*.yaml"))
DATA = {
    "cifar10": ("cifar10",),
    "cifar100": ("cifar100",),
    "svhn": ("cifar10", "data=svhn"),
    "stl10": ("stl10",),
}
BY_SEVEN = [
    "fixmatch", "uda", "flexmatch", "dash", "adamatch", "softmatch", "freematch", "defixmatch",
    "refixmatch", "sequencematch", "crmatch", "comatch", "simmatch",
]  # fmt: skip
BY_ONE = ["pseudo_label", "pi_model", "mean_teacher", "mixmatch", "remixmatch", "vat", "ict"]

# Statistics of the images, in levels of 255; padding; subsets; network; weight decay.
TABLE = {
    "cifar10": (
        [255 * x for x in (0.485, 0.456, 0.406)],
        [255 * x for x in (0.229, 0.224, 0.225)],
        4, ("train", "train"), "wrn_28_2_usb", 5e-4,
    ),
    "cifar100": (
        [129.3, 124.1, 112.4], [68.2, 65.4, 70.4],
        4, ("train", "train"), "wrn_28_2_usb", 1e-3,
    ),
    "svhn": (
        [255 * x for x in (0.4380, 0.4440, 0.4730)],
        [255 * x for x in (0.1751, 0.1771, 0.1744)],
        4, (["train", "extra"], ["train", "extra"]), "wrn_28_2_usb", 5e-4,
    ),
    "stl10": (
        [112.4, 109.1, 98.6], [68.4, 66.6, 68.5],
        12, ("train", ["train", "unlabeled"]), "wrn_37_2_usb", 5e-4,
    ),
}  # fmt: skip


def classic(data: str, method: str, *overrides: str) -> Any:
    """The composed run, resolved as far as the config alone goes."""
    name, *words = DATA[data]
    return composed(name, *words, f"method={method}", "protocol=classic", *overrides)


def plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True)


CASES = [("cifar10", method) for method in BY_SEVEN + BY_ONE if method in METHODS]
CASES += [(data, method) for data in DATA for method in ("fixmatch", "mixmatch")][2:]


@pytest.mark.parametrize(("data", "method"), CASES)
def test_a_run_has_the_published_numbers(data: str, method: str) -> None:
    config = classic(data, method, "data.labels_per_class=4", "run.seed=3")
    assert check(config, MODES) == []
    mean, std, padding, subsets, network, decay = TABLE[data]
    run_, train, hparams = config.run, config.data.train, config.learner.hparams
    assert (run_.num_iterations, run_.validate_every, run_.precision) == (2**20, 5120, 32)
    assert (run_.seed, config.data.label_seed, run_.num_epochs) == (3, 3, None)
    unlabeled = 64 * (1 if method in BY_ONE else 7)
    sizes = {name: (loader.batch_size, loader.batch_size_per_gpu) for name, loader in train.items()}
    assert sizes == {"supervised": (64, None), "unlabeled": (unlabeled, None)}
    assert all(loader.drop_last and loader.shuffle for loader in train.values())
    assert train.supervised.repeat % 64 == 0  # so that no labeled row is left out of a pass
    assert [train[name].dataset.subset for name in ("supervised", "unlabeled")] == list(subsets)
    assert (train.supervised.dataset.part, train.unlabeled.dataset.part) == ("labelled", "all")
    assert not any(loader.dataset.holdout for loader in train.values())
    for loader in (config.data.val, config.data.test):
        assert loader.dataset.subset == "test"
        assert_statistics(plain(loader.views.image), "Normalize", mean, std)
    for loader in train.values():
        for name, view in plain(loader.views).items():
            if name not in ("rotation", "jigsaw", "index"):
                is_weak = name in ("image", "weak", "weak_2")
                kind = "weak" if is_weak else "usb_strong"
                assert_statistics(view, kind, mean, std)
                assert (view["padding"], view["flip"]) == (padding, True)
                assert view.get("num_ops", 3) == (1 if name == "medium" else 3)
                assert "cutout_size" not in view
            elif name != "index":
                assert_statistics(view["steps"][0], "weak", mean, std)
    optimizer = plain(hparams.optimizer)
    assert optimizer == {
        "_target_": "torch.optim.SGD", "lr": 0.03, "momentum": 0.9, "nesterov": True,
        "weight_decay": decay,
    }  # fmt: skip
    schedule = hparams.lr_scheduler.scheduler
    assert (schedule._target_, schedule.num_cycles) == ("sesemi_like.schedulers.CosineLR", 7 / 16)
    assert (schedule.warmup_epochs, hparams.lr_scheduler.interval) == (0, "step")
    assert hparams.no_decay_1d
    model = hparams.model
    assert model.backbone._target_ == f"sesemi_like.models.backbones.{network}"
    assert model.head == {"_target_": "sesemi_like.models.heads.LinearHead", "init": "xavier"}
    assert model.ema == {"decay": 0.999, "warmup": False, "kind": "parameters", "mode": "eval"}
    assert model.forward == ("separate" if method in BY_ONE else "together")


def assert_statistics(view: Any, kind: str, mean: list[float], std: list[float]) -> None:
    assert view["_target_"] == f"sesemi_like.views.{kind}"
    assert view["mean"] == pytest.approx([x / 255 for x in mean], abs=1e-6)
    assert view["std"] == pytest.approx([x / 255 for x in std], abs=1e-6)


# What semilearn's configs set of the methods themselves; the ramps are linear over 40% of the run.
# method: (head, scale factor, ramp, keys below the head).
SETTINGS: dict[tuple[str, str], tuple[str, float, str | None, dict[str, Any]]] = {
    ("cifar10", "pseudo_label"): ("pseudo_label", 1.0, "40%", {"policy": 0.95}),
    ("cifar10", "pi_model"): ("consistency", 10.0, "40%", {"first_norm": "batch"}),
    ("cifar10", "mean_teacher"): ("mean_teacher", 50.0, "40%", {"teacher_norm": "batch"}),
    ("cifar10", "vat"): ("vat", 1.0, "40%", {"epsilon": 6.0, "entropy_weight": 0.0}),
    ("cifar10", "mixmatch"): (
        "mixmatch", 1.0, None,
        {"weight": 100.0, "mixing.alpha": 0.5, "mixing.per_row": False, "schedule.duration": "40%",
         "targets.temperature": 0.5, "batches": "separate"},
    ),
    ("cifar100", "mixmatch"): ("mixmatch", 1.0, None, {"weight": 150.0}),
    ("cifar10", "remixmatch"): (
        "remixmatch", 1.0, None,
        {"weight": 1.5, "strong_weight": 0.5, "rotation_weight": 0.5, "mixing.alpha": 0.75,
         "mixing.per_row": False, "schedule.duration": "1.5625%", "labelled_view": "image"},
    ),
    ("cifar10", "uda"): ("uda", 1.0, None, {"policy": 0.8, "targets.temperature": 1.0}),
    ("cifar10", "adamatch"): ("adamatch", 1.0, None, {"policy.threshold": 0.95}),
    ("cifar10", "dash"): (
        "dash", 1.0, None,
        {"policy.gamma": 1.27, "policy.c": 1.0001, "policy.rho_min": 0.05, "policy.warmup": 2048,
         "policy.interval": 10240, "policy.temperature": 0.5},
    ),
    ("stl10", "comatch"): ("comatch", 1.0, None, {"contrast_weight": 5.0, "alpha": 0.9}),
    ("cifar10", "comatch"): (
        "comatch", 1.0, None,
        {"contrast_weight": 1.0, "queue_length": 5 * 8 * 64, "alignment.length": 32},
    ),
    ("cifar10", "simmatch"): (
        "simmatch", 1.0, None,
        {"policy": 0.95, "temperature": 0.1, "instance_weight": 1.0, "alignment.length": 32},
    ),
    ("cifar10", "fixmatch"): ("fixmatch", 1.0, None, {"threshold": 0.95}),
    ("cifar10", "flexmatch"): (
        "flexmatch", 1.0, None, {"policy.threshold": 0.95, "policy.warm_up": True}
    ),
    ("cifar10", "freematch"): (
        "freematch", 1.0, None,
        {"terms.fairness.coefficient": 0.001, "policy.global_range": None},
    ),
    ("svhn", "freematch"): (
        "freematch", 1.0, None,
        {"terms.fairness.coefficient": 0.001, "policy.global_range": [0.0, 0.95]},
    ),
    ("cifar10", "softmatch"): (
        "softmatch", 1.0, None, {"policy.n_sigma": 2, "alignment.momentum": 0.999}
    ),
    ("cifar10", "defixmatch"): ("defixmatch", 0.5, None, {"policy": 0.95}),
}  # fmt: skip


@pytest.mark.parametrize(("data", "method"), SETTINGS)
def test_methods_have_the_settings_of_the_published_runs(data: str, method: str) -> None:
    head, scale, ramp, values = SETTINGS[data, method]
    term = classic(data, method).learner.hparams.model.regularization_loss_heads[head]
    assert term.scale_factor == scale
    if ramp is not None:
        assert term.scheduler._target_ == "sesemi_like.schedulers.LinearSchedule"
        assert term.scheduler.duration == ramp
        assert not term.scheduler.get("delay")
    else:
        assert term.scheduler is None
    found = {key: OmegaConf.select(term.head, key) for key in values}
    assert found == values


def test_entropy_has_a_weight_of_its_own_beside_virtual_adversarial_training() -> None:
    heads = classic("cifar10", "vat").learner.hparams.model.regularization_loss_heads
    assert (heads.entropy.scale_factor, heads.entropy.scheduler) == (0.06, None)


def test_what_is_reported_is_named_and_can_be_had_without_the_test_files() -> None:
    config = classic("cifar10", "fixmatch")
    assert plain(config.run.headline) == {
        "name": "val/top1", "direction": "max", "words": "top1 (val is test)",
    }  # fmt: skip
    held_out = classic("cifar10", "fixmatch", "selection=held_out")
    assert held_out.run.headline is None
    assert held_out.data.val.dataset.subset == "val"
    assert held_out.trainer.callbacks.checkpoint.save_top_k == 0
    assert all(loader.dataset.holdout for loader in held_out.data.train.values())


def test_a_choice_of_ones_own_is_kept_and_values_of_ones_own_as_well() -> None:
    config = classic("stl10", "fixmatch", "backbone=resnet18d", "optimizer=adam", "run.seed=null")
    assert config.learner.hparams.model.backbone.name == "resnet18d"
    assert config.learner.hparams.optimizer._target_ == "torch.optim.Adam"
    config = classic("cifar10", "fixmatch", "run.num_iterations=7", "data.label_seed=5")
    assert (config.run.num_iterations, config.data.label_seed) == (7, 5)


def test_a_protocol_in_ones_own_file_gives_way_to_what_the_file_says(tmp_path: Path) -> None:
    body = "defaults: [cifar10, override protocol: small, _self_]\nrun: {num_iterations: 30}\n"
    (tmp_path / "custom.yaml").write_text(body)
    config = composed("custom", folder=tmp_path)
    assert config.run.num_iterations == 30
    assert config.data.train.unlabeled.batch_size_per_gpu == 112


@pytest.mark.parametrize("name", ["digits", "image_folder"])
def test_data_without_published_runs_are_refused_by_name(name: str) -> None:
    with pytest.raises(HydraException, match=f"backbone/classic/{name}"):
        composed("quickstart", f"data={name}", "protocol=classic")


CASES_OF_SMALL = [("digits", method) for method in METHODS if method != "sesemi"]
CASES_OF_SMALL += [
    (data, method)
    for data in ("cifar10", "svhn", "stl10", "cifar100", "image_folder", "imagewang")
    for method in ("freematch", "mixmatch")
]


@pytest.mark.parametrize(("data", "method"), CASES_OF_SMALL)
def test_the_small_protocol_composes_with_every_method_and_data(data: str, method: str) -> None:
    config = composed("quickstart", f"data={data}", f"method={method}", "protocol=small")
    assert check(config, MODES) == []
    train = config.data.train
    assert train.supervised.batch_size_per_gpu == 16
    assert train.unlabeled.batch_size_per_gpu == 16 * (1 if method in BY_ONE else 7)
    assert config.learner.hparams.model.backbone.in_chans == (1 if data == "digits" else 3)
    assert 1000 <= config.run.num_iterations <= 3000
    assert config.data.val.dataset.subset != "test"


NO_WORKERS = [
    f"data.{name}.num_workers=0" for name in ("train.supervised", "train.unlabeled", "val", "test")
]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fixmatch", "mixmatch"])
def test_a_short_classic_run_works(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)

    def files(kind: str, name: str, *_: Any) -> Any:
        images = generator.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
        return images, np.arange(60) % 10, [f"class {c}" for c in range(10)]

    monkeypatch.setattr("sesemi_like.data.sources.in_memory._files", files)
    config = classic(
        "cifar10", method, "data.labels_per_class=4", "run.num_iterations=2", "run.gpus=0",
        "run.validate_every=1", "data.train.supervised.batch_size=4", *NO_WORKERS,
        "data.train.unlabeled.batch_size=12", f"run.dir={tmp_path}",
    )  # fmt: skip
    run(config)
    (path,) = tmp_path.glob("*/*/summary.json")
    summary = json.loads(path.read_text())
    assert summary["steps"] == 2
    assert summary["forward"] == ("together" if method == "fixmatch" else "separate")
    assert summary["labels"]["supervised"] == {f"class {c}": 4 for c in range(10)}
    # Both read the test files, and the weights that are tested are those that were the best there.
    assert {"val/top1", "test/top1"} <= set(summary["metrics"])


@pytest.mark.parametrize("method", ["freematch", "mean_teacher"])
def test_a_small_run_of_digits_works(method: str, tmp_path: Path) -> None:
    config = composed(
        "quickstart", f"method={method}", "protocol=small", "run.num_iterations=4", "run.gpus=0",
        f"run.dir={tmp_path}",
    )  # fmt: skip
    run(config)
    (summary,) = tmp_path.glob("*/*/summary.json")
    content = json.loads(summary.read_text())
    assert content["forward"] == ("separate" if method == "mean_teacher" else "together")
