"""Preparing a run: what a config comes to, and every mistake before the first batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from tiny_runs import TINY, small_images, weights

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare


def test_a_loader_that_no_head_reads_does_not_set_the_length_of_an_epoch() -> None:
    missing = "data.train.unlabeled.dataset.subset=missing"
    length = ("run.num_iterations=null", "run.num_epochs=3")
    config = composed("quickstart", *TINY, "method=supervised", *length, missing)
    prepared = prepare(config, check(config, MODES))
    # Forty labels, 32 a step.
    assert prepared.attributes.iterations_per_epoch == 2
    assert prepared.attributes.max_iterations == 6


@pytest.mark.parametrize("mode", ["FIT", "TEST"])
def test_an_evaluator_names_a_train_loader_that_exists(mode: str) -> None:
    config = composed("quickstart", *TINY, "evaluation=knn", f"run.mode={mode}",
                      "run.evaluators.knn.data=supervized")  # fmt: skip
    with pytest.raises(ConfigError, match=r"run\.evaluators\.knn: found 'supervized'"):
        prepare(config, check(config, MODES))


def test_pretrained_weights_report_what_matched(
    finished_run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = finished_run[0] / "checkpoints" / "last.ckpt"
    config = composed(
        "quickstart", *TINY, f"run.dir={tmp_path}", "method=supervised",
        f"run.pretrained_checkpoint_path={checkpoint}", "learner.hparams.num_classes=11",
    )  # fmt: skip
    with caplog.at_level("INFO", logger="sesemi_like"):
        learner = prepare(config).learner
    assert "of another shape: networks.modules_by_name.classifier.head.bias" in caplog.text
    own, given = learner.state_dict(), weights(finished_run[0])
    name = "networks.modules_by_name.classifier.backbone.layers.0.weight"
    assert torch.equal(own[name], given[name])


@pytest.mark.parametrize("content", [b"not a checkpoint", b""])
def test_a_file_that_is_no_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    config = composed("quickstart", *TINY, f"run.pretrained_checkpoint_path={path}")
    with pytest.raises(ConfigError, match=r"run\.pretrained_checkpoint_path.*cannot be read"):
        prepare(config)


def test_iterations_per_epoch_and_max_iterations_against_hand_counts() -> None:
    cases = {
        # unlabeled: floor(1437 / 256) = 5; supervised: ceil(40 / 32) = 2
        (): 5,
        ("data.train.unlabeled.drop_last=false",): 6,
        ("data.train.unlabeled.repeat=3",): 16,  # floor(4311 / 256)
        ("data.train.supervised.repeat=10",): 13,  # ceil(400 / 32)
        ("data.train.supervised.repeat=10", "data.train.supervised.drop_last=true"): 12,
        ("++trainer.accumulate_grad_batches=2",): 3,
        ("++trainer.limit_train_batches=4",): 4,
        ("++trainer.limit_train_batches=0.5",): 2,
    }
    for overrides, expected in cases.items():
        config = composed("quickstart", *TINY, "run.num_iterations=null", "run.num_epochs=3",
                          *overrides)  # fmt: skip
        attributes = prepare(config).attributes
        assert attributes.iterations_per_epoch == expected, overrides
        assert attributes.max_iterations == 3 * expected, overrides


def test_mistakes_of_data_learner_and_run_are_reported_at_once() -> None:
    config = composed(
        "quickstart", *TINY,
        "run.num_epochs=0",
        "data.val.dataset.subset=trian",
        "learner.hparams.optimizer._target_=torch.optim.SDG",
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        prepare(config, check(config, MODES))
    assert [problem.key for problem in caught.value.problems] == [
        "run.num_epochs",
        "run.num_epochs",
        "data.val.dataset.subset",
        "learner.hparams.optimizer._target_",
    ]


@pytest.mark.parametrize("limit", ["-1", "many", "true", "[1]"])
def test_a_wrong_limit_of_caches_is_reported_with_mistakes_of_the_learner(limit: str) -> None:
    optimizer = "learner.hparams.optimizer._target_=torch.optim.SDG"
    config = composed("quickstart", *TINY, f"run.cache_limit={limit}", optimizer)
    with pytest.raises(ConfigError) as caught:
        prepare(config, check(config, MODES))
    assert [problem.key for problem in caught.value.problems] == [
        "run.cache_limit",
        "learner.hparams.optimizer._target_",
    ]


def test_a_wrong_interval_of_validations_and_a_wrong_number_of_classes_are_reported_at_once() -> (
    None
):
    mistakes = ("run.validate_every=often", "learner.hparams.num_classes=7")
    config = composed("quickstart", *TINY, *mistakes)
    with pytest.raises(ConfigError) as caught:
        prepare(config, check(config, MODES))
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["run.validate_every", "learner.hparams.num_classes"]


def test_a_schedule_without_its_length_is_reported_before_training() -> None:
    config = composed(
        "quickstart", *TINY, "method=mean_teacher",
        "learner.hparams.model.regularization_loss_heads.mean_teacher.scheduler.max_iterations=null",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"mean_teacher\.scheduler"):
        prepare(config)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("run.num_iterations=10", "has made 10 steps of 10"),
        ("run.num_iterations=7", "has made 10 steps of 7"),
        ("learner.hparams.model.backbone.widths=[4,6]", "model is another one"),
        ("optimizer=adam", "optimizer is another one"),
    ],
)
def test_what_a_checkpoint_cannot_be_resumed_with_is_reported(
    finished_run: Any, tmp_path: Path, override: str, reason: str
) -> None:
    checkpoint = finished_run[0] / "checkpoints" / "last.ckpt"
    config = composed("quickstart", *TINY, "run.num_iterations=20", override,
                      f"run.resume_from_checkpoint={checkpoint}")  # fmt: skip
    with pytest.raises(ConfigError, match=rf"run\.resume_from_checkpoint: .*{reason}"):
        prepare(config)


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, path)
    config = composed("quickstart", *TINY, f"run.resume_from_checkpoint={path}")
    with pytest.raises(ConfigError, match="is no checkpoint of a run"):
        prepare(config)


CALLABLE = "learner.hparams.model.supervised_loss.callable._target_"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("learner.hparams.model.supervised_loss.class_weights=[1,2]", "model.supervised_loss"),
        (f"{CALLABLE}=torch.nn.MSELoss", "model.supervised_loss"),
        ("learner.hparams.model.backbone.in_chans=3", "learner.hparams"),
    ],
)
def test_what_fails_at_the_first_step_is_reported_before_it(override: str, key: str) -> None:
    config = composed("quickstart", *TINY, override)
    with pytest.raises(ConfigError, match=rf"{key}: .*samples"):
        prepare(config)


def test_a_dry_run_changes_nothing() -> None:
    prepared = prepare(composed("quickstart", *TINY))
    learner, batch = prepared.learner, prepared.data.first_step()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    torch.manual_seed(0)
    learner.dry_run(batch)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))
    assert learner.training
    assert all(p.grad is None for p in learner.parameters())
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_weights_begin_alike_whether_images_were_decoded_before(
    tmp_path: Path, cifar10_images: Path
) -> None:
    small = small_images(cifar10_images, tmp_path)
    random = "data.train.supervised.dataset.image_transform.transforms.1._target_"
    small += [f"{random}=torchvision.transforms.v2.RandomCrop", f"run.cache_dir={tmp_path / 'c'}"]
    built, found = (prepare(composed("imagewang", *small, "run.seed=3")) for _ in range(2))
    none = prepare(
        composed("imagewang", *small, "run.seed=3", "++data.train.supervised.dataset.cache=none")
    )
    weights = [
        torch.cat([p.flatten() for p in c.learner.parameters()]) for c in (built, found, none)
    ]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


def test_a_run_without_a_length_is_reported_and_its_schedule_is_not() -> None:
    config = composed("quickstart", *TINY, "run.num_iterations=null")
    with pytest.raises(ConfigError) as caught:
        run(config, check(config, MODES))
    assert [problem.key for problem in caught.value.problems] == ["run.num_epochs"]
