"""A frozen backbone is run once for each sample, and training on top ends where it would have."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from processes import checkpoint, in_processes, train
from processes import weights as weights_at
from tables import TABLE
from tiny_runs import fit, small_images, weights
from torch import Tensor

from sesemi_like.config.check import check
from sesemi_like.data.cache.plan import CachePlan
from sesemi_like.data.features.inputs import FieldInputs
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones.small_cnn import SmallConvNet
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

ROOT = Path(__file__).parents[2]
MODEL = "learner.hparams.model"
FROZEN = ["learner.hparams.trainable=[head]"]
STEPS = "data.train.{}.views.{}.steps=[{}]"
FIXED = [
    STEPS.format("supervised", "image", ""),
    STEPS.format("unlabeled", "weak", ""),
    STEPS.format(
        "unlabeled", "strong", "{_target_: sesemi_like.views.Normalize, mean: 0.2, std: 0.7}"
    ),
]
LOW = f"{MODEL}.regularization_loss_heads.fixmatch.head.threshold=0.11"


def kept(folder: Path, draws: int = 1) -> list[str]:
    return [*FROZEN, f"{MODEL}.frozen_features={draws}", f"run.cache_dir={folder}"]


def assert_close(found: Any, expected: Any, atol: float = 2e-6) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol, msg=name)


def opened(summary: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Samples, views and computed samples of each field."""
    return {
        entry["field"]: (entry["samples"], entry["views"], entry["computed"])
        for entry in summary["frozen_features"]
    }


FIELDS = {
    "supervised.image": 40, "unlabeled.strong": 1437, "unlabeled.weak": 1437, "val.image": 1397,
    "test.image": 360,
}  # fmt: skip


def test_fixed_views_give_the_losses_and_weights_of_the_network_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, expected = fit(tmp_path / "plain", *FIXED, *FROZEN, LOW)
    capsys.readouterr()
    first, summary = fit(tmp_path / "first", *FIXED, *kept(tmp_path / "cache"), LOW)
    new = FIELDS | {"unlabeled.weak": 1397}  # the others are those of the supervised loader
    assert opened(summary) == {name: (rows, 1, new[name]) for name, rows in FIELDS.items()}
    table = "".join(capsys.readouterr().out.replace("│", "").split())
    assert "frozenbackbonerunoncefor4,631viewsofsamplesin" in table
    assert "40readfromrun.cache_dir" in table
    again, summary = fit(tmp_path / "again", *FIXED, *kept(tmp_path / "cache"), LOW)
    assert opened(summary) == {name: (rows, 1, 0) for name, rows in FIELDS.items()}
    table = "".join(capsys.readouterr().out.replace("│", "").split())
    assert "4,671viewsofsamplesreadfromrun.cache_dir" in table
    for name, value in expected["training"].items():
        assert summary["training"][name] == pytest.approx(value, abs=1e-5), name
    assert summary["training"]["train/fixmatch/mask_rate"] > 0
    assert expected["metrics"] == pytest.approx(summary["metrics"], abs=1e-5)
    assert_close(weights(first), weights(plain))
    assert_close(weights(again), weights(first), atol=0)


def test_a_resumed_run_reads_the_same_draws(tmp_path: Path) -> None:
    own = [*kept(tmp_path / "cache", 3), LOW]
    callbacks = [
        "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, every_n_train_steps: 6,"
        "save_top_k: -1, filename: 'at-{step}', save_on_train_epoch_end: false, save_last: true}"
    ]
    whole, summary = fit(tmp_path / "whole", *own, f"trainer.callbacks=[{', '.join(callbacks)}]")
    assert opened(summary)["unlabeled.weak"] == (1437, 3, 1437)
    assert opened(summary)["val.image"] == (1397, 1, 1397)
    path = checkpoint(tmp_path / "whole", 6)
    resumed, summary = fit(tmp_path / "resumed", *own, f"run.resume_from_checkpoint='{path}'")
    assert all(computed == 0 for _, _, computed in opened(summary).values())
    assert_close(weights(resumed), weights(whole), atol=0)


def test_other_seeds_and_smaller_choices_read_what_there_is(tmp_path: Path) -> None:
    begin, _ = fit(tmp_path / "begin")
    path = begin / "checkpoints" / "last.ckpt"
    with pytest.raises(ConfigError, match="backbone of 'teacher' has other weights"):
        fit(tmp_path / "both", *kept(tmp_path), f"run.pretrained_checkpoint_path='{path}'")
    place = "networks.modules_by_name.classifier.backbone"
    part = f"{{path: '{path}', prefix: {place}, into: {place}}}"
    own = [*kept(tmp_path / "cache", 2), f"run.pretrained_checkpoint_path={part}"]
    fit(tmp_path / "first", *own)
    _, summary = fit(tmp_path / "second", *own, "run.seed=7")
    assert all(computed == 0 for _, _, computed in opened(summary).values())
    _, summary = fit(tmp_path / "third", *kept(tmp_path / "cache"), *FIXED, "data.label_seed=1")
    assert opened(summary)["supervised.image"][2] == 40  # other digits, of another view
    _, summary = fit(tmp_path / "4", *kept(tmp_path / "cache"), *FIXED, "data.labels_per_class=6")
    assert 0 < opened(summary)["supervised.image"][2] <= 60


@pytest.mark.parametrize(
    ("other", "computed"),
    [
        (["++learner.hparams.model.backbone.widths=[4,12]"], set(FIELDS)),
        (["run.seed=3"], set(FIELDS)),  # which the weights begin with
        (["run.precision=bf16"], set(FIELDS)),
        (["data.train.unlabeled.views.weak.steps.0.degrees=20"], {"unlabeled.weak"}),
        (
            [f"{MODEL}.frozen_features=3"],
            {"supervised.image", "unlabeled.weak", "unlabeled.strong"},
        ),
        (["data.test.dataset.split_seed=5"], {"test.image"}),
    ],
)
def test_what_features_depend_on_makes_other_ones(
    tmp_path: Path, other: list[str], computed: set[str]
) -> None:
    own = [*kept(tmp_path / "cache", 2), "run.num_iterations=2", "run.precision=32"]
    fit(tmp_path / "first", *own)
    _, summary = fit(tmp_path / "second", *own, *other)
    assert {name for name, (_, _, count) in opened(summary).items() if count} == computed


def test_a_damaged_file_is_noticed_and_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = [*kept(tmp_path / "cache", 2), "run.num_iterations=2"]
    expected, _ = fit(tmp_path / "first", *own)
    for path in (tmp_path / "cache").glob("*/pixels.bin"):
        content = np.fromfile(path, np.uint8)
        path.write_bytes((255 - content).tobytes())
    with caplog.at_level(logging.WARNING):
        found, summary = fit(tmp_path / "second", *own)
    assert "is damaged and is not used" in caplog.text
    assert all(count for _, _, count in opened(summary).values())
    assert_close(weights(found), weights(expected), atol=0)


def test_an_interrupted_computation_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [*kept(tmp_path / "cache", 2), "run.num_iterations=2"]
    blocks = FieldInputs.blocks

    def broken(self: Any, *arguments: Any) -> Any:
        for number, block in enumerate(blocks(self, *arguments)):
            if self.field == "strong" and number == 3:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(FieldInputs, "blocks", broken)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "killed", *own)
    assert len([*(tmp_path / "cache").glob("*/pixels.bin")]) == 1
    monkeypatch.undo()
    _, summary = fit(tmp_path / "second", *own)
    assert opened(summary)["supervised.image"][2] == 0
    assert opened(summary)["unlabeled.strong"][2] == 1437


def test_the_limit_of_all_caches_holds(tmp_path: Path) -> None:
    own = [*kept(tmp_path / "cache"), *FIXED, "run.num_iterations=2"]
    with pytest.raises(ConfigError, match=r"run\.cache_limit allows"):
        fit(tmp_path / "first", *own, "run.cache_limit=20000")


class MixingLossHead(LossHead):
    """Mixes weak images before they are classified, as it mixes no features."""

    def forwards(self, fields: Any) -> dict[str, Forward]:
        mixed = Forward("unlabeled.weak", "self.mix")
        return {"mixed": Forward(mixed), "features": Forward("unlabeled.weak", "backbone")}

    def mix(self, images: Tensor) -> Tensor:
        return (images + images.flip(0)) / 2

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        return LossOutputs(outputs["mixed"]["logits"].square().mean(dim=1))


def test_a_field_that_more_than_the_backbone_reads_goes_through_it_in_each_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = f"+{MODEL}.regularization_loss_heads.mixing.head._target_={__name__}.MixingLossHead"
    with caplog.at_level(logging.INFO):
        found, summary = fit(tmp_path / "kept", *FIXED, *kept(tmp_path / "cache"), head, LOW)
    assert "unlabeled.weak goes through the frozen backbone in each step" in caplog.text
    assert set(opened(summary)) == set(FIELDS) - {"unlabeled.weak"}
    expected, _ = fit(tmp_path / "plain", *FIXED, *FROZEN, head, LOW)
    assert_close(weights(found), weights(expected))


def test_passes_over_a_train_loader_read_its_images(tmp_path: Path) -> None:
    own = [*TABLE, *FIXED]
    found, summary = fit(tmp_path / "kept", *own, *kept(tmp_path / "cache"))
    assert {"unlabeled.strong", "val.image"} <= {*opened(summary)}
    expected, _ = fit(tmp_path / "plain", *own, *FROZEN)
    assert_close(weights(found), weights(expected))


def test_image_files_are_decoded_for_their_features_alone(
    tmp_path: Path, cifar10_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "images"
    shutil.copytree(cifar10_images, root)
    own = [*small_images(root, tmp_path / "runs"), *kept(tmp_path / "cache", 2), "method=fixmatch"]

    def summary_of(*further: str) -> dict[str, Any]:
        config = composed("imagewang", *own, *further)
        return run(config, check(config, MODES))

    first = summary_of("run.seed=0")
    assert {name: computed for name, (_, _, computed) in opened(first).items()} == {
        "supervised.image": 400, "unlabeled.strong": 400, "unlabeled.weak": 0, "val.image": 100
    }  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(CachePlan, "build", None)
        assert summary_of("run.seed=0")["metrics"] == first["metrics"]
    shutil.rmtree(tmp_path / "cache")
    again = summary_of("run.seed=0")
    assert opened(again) == opened(first)
    assert again["metrics"] == first["metrics"]
    image = sorted((root / "train").rglob("*.jpg"))[0]
    os.utime(image, (1, 1))
    changed = opened(summary_of("run.seed=0"))
    assert changed["unlabeled.strong"][2] == 400
    assert changed["val.image"][2] == 0


def test_a_backbone_that_learns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"frozen_features: found 2.*does not learn"):
        fit(tmp_path, f"{MODEL}.frozen_features=2")
    with pytest.raises(ConfigError, match=r"must be at least 1"):
        fit(tmp_path, f"{MODEL}.frozen_features=0")


def test_rows_of_a_table_have_features_too(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [
        ",".join([*(f"{x:.4f}" for x in generator.normal(size=4)), str(i % 10), split])
        for split in ("train", "val", "test")
        for i in range(300)
    ]
    header = ",".join([*(f"x{i}" for i in range(4)), "label", "split"])
    (tmp_path / "table.csv").write_text("\n".join([header, *rows]))
    of_table = [
        "data=table", "backbone=mlp", f"{MODEL}.input_field=features", f"run.data_root={tmp_path}",
        f"{MODEL}.backbone.in_features=4", "run.num_iterations=10", "run.gpus=0",
        "data.train.unlabeled.batch_size_per_gpu=64",
        "data.train.supervised.views.features.std=0", "data.train.unlabeled.views.weak.std=0",
        "data.train.unlabeled.views.strong.std=0", "data.train.unlabeled.views.strong.drop=0",
    ]  # fmt: skip
    states = {}
    for name, own in {"plain": FROZEN, "kept": kept(tmp_path / "cache")}.items():
        config = composed("quickstart", f"run.dir={tmp_path / name}", *of_table, *own)
        summary = run(config, check(config, MODES))
        states[name] = weights(Path(summary["folder"]))
    assert set(opened(summary)) == {
        "supervised.features", "unlabeled.weak", "unlabeled.strong", "val.features",
        "test.features",
    }  # fmt: skip
    assert_close(states["kept"], states["plain"])


@pytest.mark.parametrize("rehearse", ["shapes", "none"])
def test_however_a_step_was_tried_before(tmp_path: Path, rehearse: str) -> None:
    own = [*FIXED, f"run.rehearse={rehearse}"]
    plain, _ = fit(tmp_path / "plain", *own, *FROZEN)
    found, summary = fit(tmp_path / "kept", *own, *kept(tmp_path / "cache"))
    assert set(opened(summary)) == set(FIELDS)
    assert_close(weights(found), weights(plain))


OTHER_DATA = {"sesemi"}  # written for loaders of other names
METHODS = sorted(
    path.stem for path in (ROOT / "builtin_configs" / "method").glob("*.yaml")
    if path.stem not in OTHER_DATA
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_top_or_says_that_it_needs_all_images(
    tmp_path: Path, method: str
) -> None:
    own = [*kept(tmp_path / "cache", 2), f"method={method}", "run.num_iterations=2"]
    try:
        _, summary = fit(tmp_path / "runs", *own)
    except ConfigError as error:
        needs_maps = "a loss head reads the maps of the backbone" in str(error)
        needs_images = "no field of a train loader goes through the backbone alone" in str(error)
        assert needs_maps if method == "crmatch" else needs_images and "mix" in method
    else:
        assert {"supervised.image", "val.image"} & {*opened(summary)}


def frozen_in_processes(rank: int, folder: Path, processes: Any) -> None:
    own = [
        "learner.hparams.trainable=[head]", f"{MODEL}.frozen_features=3",
        f"run.cache_dir={folder / 'cache'}",
    ]  # fmt: skip
    train(folder, processes, [*own, LOW])


@pytest.mark.slow
def test_two_processes_share_what_one_of_them_computes(tmp_path: Path) -> None:
    for count, name in ((1, "one"), (2, "two")):
        in_processes(frozen_in_processes, tmp_path / name, count, count=count)
    one, two = (weights_at(tmp_path / name, 60) for name in ("one", "two"))
    assert_close(two, one, atol=3e-6)
    (path,) = (tmp_path / "two").rglob("summary.json")
    summary = json.loads(path.read_text())
    assert {entry["views"] for entry in summary["frozen_features"]} == {3}


def test_the_network_goes_on_to_take_images(tmp_path: Path) -> None:
    from sesemi_like import Classifier

    folder, _ = fit(tmp_path / "kept", *FIXED, *kept(tmp_path / "cache"))
    loaded = Classifier.load_from_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert isinstance(loaded.networks.module("classifier").backbone, SmallConvNet)
    assert loaded(torch.rand(3, 1, 8, 8)).shape == (3, 10)
