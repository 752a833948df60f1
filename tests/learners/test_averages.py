"""EMA teachers by config: worked figures, layers of heads, further networks, and wrong settings."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from composing import composed
from tiny_runs import fit, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.learners import Classifier
from sesemi_like.learners.checkpoints.tensor_names import backbone_tensors
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.heads.loss.base import Forward, LossHead, LossOutputs
from sesemi_like.models.networks import Networks
from sesemi_like.models.norm import batch_norm
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

FIELDS = {"supervised": {"image", "target"}, "unlabeled": {"weak"}}
CALLABLE = {"_target_": "torch.nn.CrossEntropyLoss", "reduction": "none"}


class ProjectionLossHead(LossHead):
    """Pulls the projected features of weak views towards the teacher's, through a layer of its own.

    Args:
        target: What the weak features go through for the target.
    """

    def __init__(self, target: str = "slow.0") -> None:
        super().__init__()
        self.target = target

    def build(self, networks: Networks, facts: Any) -> None:
        self.predictor = nn.Linear(3, 3)

    def forwards(self, fields: Any) -> dict[str, Forward]:
        features = Forward("unlabeled.weak").part("features")
        taught = Forward("unlabeled.weak", "teacher", grad=False).part("features")
        return {
            "projected": Forward(features, "projector"),
            "target": Forward(taught, self.target, grad=False),
        }

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        found, wanted = self.predictor(outputs["projected"]), outputs["target"]
        return LossOutputs(F.mse_loss(found, wanted, reduction="none").mean(1))


def settings(**model: Any) -> dict[str, Any]:
    head = {"head": {"_target_": f"{__name__}.ProjectionLossHead"}}
    return {
        "num_classes": 2,
        "model": {
            "backbone": {
                "_target_": "sesemi_like.models.backbones.SmallConvNet",
                "in_chans": 1,
                "widths": [4],
            },
            "supervised_loss": {"callable": CALLABLE},
            "networks": {
                "projector": {
                    "_target_": "sesemi_like.models.heads.MLPHead",
                    "out_features": 3,
                    "norm": False,
                    "num_layers": 1,
                },
                "off": None,
            },
            "ema": {"decay": 0.5, "warmup": False},
            "teachers": {
                "slow": {"network": "projector", "decay": 0.9, "warmup": False},
                "off": None,
                "predictors": {"network": "heads.pull.predictor", "decay": 0.8, "warmup": False},
            },
            "regularization_loss_heads": {"pull": head},
            **model,
        },
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
    }


def built(**model: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(settings(**model))


class Steps(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        draws = torch.Generator().manual_seed(index)
        images = torch.rand(2, 1, 8, 8, generator=draws)
        names = ("supervised.image", "unlabeled.weak")
        return {**dict(zip(names, images, strict=True)), "supervised.target": index % 2}


class FirstWeights(pl.Callback):
    """Keeps the first weight of some modules after each step."""

    def __init__(self, *modules: Any) -> None:
        self.modules, self.found = modules, [self.read(m) for m in modules]
        self.steps: list[list[Tensor]] = [self.found]

    @staticmethod
    def read(module: nn.Module) -> Tensor:
        return next(module.parameters()).detach().clone()

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps.append([self.read(module) for module in self.modules])


def train(learner: Classifier, folder: Path, *callbacks: pl.Callback) -> pl.Trainer:
    learner.make_plan(FIELDS)
    trainer = pl.Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
    )
    trainer.fit(learner, DataLoader(Steps(), batch_size=4))
    return trainer


def test_every_teacher_follows_its_network_by_its_own_decay(tmp_path: Path) -> None:
    learner = built()
    pairs = {"teacher": 0.5, "slow": 0.9, "predictors": 0.8}
    of = learner.averaged_networks()
    assert of == {
        "teacher": "classifier",
        "slow": "projector",
        "predictors": "heads.pull.predictor",
    }
    watched = [learner.networks.module(name) for pair in of.items() for name in pair]
    weights_of = FirstWeights(*watched)
    train(learner, tmp_path, weights_of)
    for number, decay in enumerate(pairs.values()):
        expected = weights_of.steps[0][2 * number]
        for step in weights_of.steps[1:]:
            assert not torch.equal(step[2 * number + 1], weights_of.steps[0][2 * number + 1])
            expected = decay * expected + (1 - decay) * step[2 * number + 1]
            torch.testing.assert_close(step[2 * number], expected, rtol=1e-6, atol=1e-7)


def test_all_of_it_is_in_a_checkpoint_and_rebuilt_from_it(tmp_path: Path) -> None:
    learner = built()
    trainer = train(learner, tmp_path)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    state = learner.state_dict()
    path = "networks.modules_by_name"
    assert {
        f"{path}.projector.0.weight",
        f"{path}.slow.module.0.weight",
        f"{path}.predictors.module.weight",
        "loss_terms.pull.head.predictor.weight",
    } <= state.keys()
    assert len([name for name in state if "predictor" in name]) == 4
    loaded = Classifier.load_from_checkpoint(tmp_path / "last.ckpt")
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    assert loaded.networks["predictors"](torch.ones(1, 3)).shape == (1, 3)


def test_a_projector_is_trained_once_for_all_who_ask(tmp_path: Path) -> None:
    learner = built()
    plan = learner.make_plan(FIELDS)
    # Two images through the classifier, one through its teacher, then a projector and its average.
    assert plan.num_calls == 5
    assert len({id(p) for p in learner.parameters()}) == len([*learner.parameters()])
    batch = next(iter(DataLoader(Steps(), batch_size=4)))
    given = plan.run(batch)["pull"]
    features = learner.networks["classifier"](batch["unlabeled.weak"])["features"]
    torch.testing.assert_close(given["projected"], learner.networks["projector"](features))
    assert not given["target"].requires_grad


def test_in_features_are_given_to_constructors_that_have_none() -> None:
    own = {"_target_": "torch.nn.Linear", "in_features": 7, "out_features": 2}
    plain = {"_target_": "torch.nn.Flatten"}
    networks = {
        "projector": settings()["model"]["networks"]["projector"],
        "own": own,
        "flat": plain,
    }
    learner = built(networks=networks)
    for name, size in (("projector.0", 4), ("own", 7)):
        layer = learner.networks.module(name)
        assert isinstance(layer, nn.Linear)
        assert layer.in_features == size
    assert isinstance(learner.networks.module("flat"), nn.Flatten)


def test_initial_weights_of_the_classifier_do_not_depend_on_further_networks() -> None:
    with_them = built().networks.module("classifier").state_dict()
    torch.manual_seed(0)
    plain = settings(networks=None, teachers=None, regularization_loss_heads=None)
    without = Classifier(plain).networks.module("classifier").state_dict()
    assert all(torch.equal(value, with_them[name]) for name, value in without.items())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            {"networks": {"teacher": {"_target_": "torch.nn.Identity"}}},
            r"ema: found 'teacher'; need",
        ),
        ({"networks": {"backbone": {"_target_": "torch.nn.Identity"}}}, "needs another name"),
        ({"networks": {"heads": {"_target_": "torch.nn.Identity"}}}, "needs another name"),
        ({"networks": {"keys": {"_target_": "torch.nn.Identity"}}}, "needs another name"),
        ({"networks": {"projector": {"_target_": "builtins.dict"}}}, "is no network"),
        ({"networks": {"projector": {"out_features": 3}}}, "is no network"),
        ({"teachers": {"slow": {"network": "projecter"}}}, "did you mean 'projector'"),
        ({"teachers": {"slow": {"network": "heads.pull.predicter"}}}, "heads.pull.predictor"),
        ({"teachers": {"slow": {"decay": 0.9}}}, "names the network that is averaged"),
        ({"teachers": {"slow": {"network": "projector", "decay": 2}}}, r"must lie in \[0, 1\]"),
        ({"teachers": {"slow": {"network": "projector", "deacy": 2}}}, "deacy"),
        ({"teachers": {"slow": {"network": "projector", "mode": "on"}}}, "must be one of eval"),
    ],
)
def test_wrong_settings_are_config_problems(model: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        built(**model)


def test_a_request_has_the_teacher_normalize_by_the_batch_as_published() -> None:
    """Mean Teacher: its BatchNorm takes the statistics of the batch, and its own ones stay."""
    learner = built().train()
    teacher = learner.networks.module("teacher")
    requests = {"h": {n: Forward("a.x", "teacher", norm=n) for n in ("update", "batch")}}
    images = torch.rand(6, 1, 8, 8)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    found = ForwardPlan(requests, learner.networks).run({"a.x": images})["h"]
    assert isinstance(teacher, EMATeacher)
    source = copy.deepcopy(teacher.module)
    for name, network in (("update", source.eval()), ("batch", copy.deepcopy(source).train())):
        torch.testing.assert_close(found[name]["features"], network(images)["features"].detach())
    assert not torch.allclose(found["update"]["features"], found["batch"]["features"])
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_weights_are_taken_over_for_the_backbone_whatever_is_added() -> None:
    names = backbone_tensors(built())
    assert names
    assert all(".classifier.backbone." in name for name in names)


def test_a_layer_of_a_head_is_evaluated_beside_the_classifier() -> None:
    learner = built(evaluated={"own": "heads.pull.predictor", "slow": ["teacher", "predictors"]})
    learner.networks.heads["pull"].predictor = nn.Linear(4, 2)
    learner.networks.modules_by_name["predictors"] = EMATeacher(nn.Linear(4, 2))
    images = torch.rand(3, 1, 8, 8)
    outputs = learner.eval().predict_batch({"image": images})
    assert list(outputs) == ["own", "slow", "model", "ema"]
    for name, network in (("own", "classifier"), ("slow", "teacher")):
        layer = learner.networks["heads.pull.predictor" if name == "own" else "predictors"]
        expected = layer(learner.networks[network](images)["features"])
        torch.testing.assert_close(outputs[name]["logits"], expected.detach())
    torch.testing.assert_close(learner(images), outputs["ema"]["logits"])


@pytest.mark.parametrize(
    ("evaluated", "expected"),
    [
        ({"own": "heads.pull.predicter"}, "did you mean 'heads.pull.predictor'"),
        ({"own": ["teacher"]}, r"\[network, layer\]"),
        ({"own": 3}, r"\[network, layer\]"),
        ({"model": "heads.pull.predictor"}, "needs another name"),
    ],
)
def test_layers_that_cannot_be_evaluated_are_config_problems(evaluated: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        built(evaluated=evaluated)


LINEAR = "sesemi_like.schedulers.LinearSchedule"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"_target_": LINEAR, "start": 0.9, "stop": 1.2, "duration": 10}, "found 1.2; must lie in"),
        ({"_target_": LINEAR, "duration": "10 epochs"}, "needs iterations_per_epoch"),
    ],
)
def test_a_schedule_that_cannot_be_a_decay_fails_before_training(
    schedule: dict[str, Any], expected: str
) -> None:
    learner = built(ema={"decay": schedule, "warmup": False})
    with pytest.raises(ConfigError, match=expected) as raised:
        learner.make_plan(FIELDS)
    assert "learner.hparams.model.ema.decay" in str(raised.value)


def test_a_schedule_from_the_config_is_the_published_annealing() -> None:
    """data2vec: 0.5 to 1 over 2 steps, a source of 2 and an average that begins at 1."""
    schedule = {"_target_": LINEAR, "start": 0.5, "stop": 1.0, "duration": 2}
    learner = built(ema={"decay": schedule, "warmup": False})
    teacher, source = learner.networks.module("teacher"), learner.networks.module("classifier")
    assert isinstance(teacher, EMATeacher)
    with torch.no_grad():
        for module, value in ((teacher, 1.0), (source, 2.0)):
            for parameter in module.parameters():
                parameter.fill_(value)
    for step, expected in enumerate((1.5, 1.625, 1.625)):
        teacher.update(source, step)
        assert all(bool((p == expected).all()) for p in teacher.parameters())


def test_what_is_frozen_in_a_network_is_frozen_in_its_teacher_and_nothing_else() -> None:
    projector = {"_target_": "sesemi_like.models.heads.MLPHead", "out_features": 3}
    teachers = {"slow": {"network": "projector"}}
    plain = settings(networks={"projector": projector}, teachers=teachers)
    learner = Classifier({**plain, "trainable": "!*backbone*"}).train()
    frozen, learns = learner.networks.module("teacher"), learner.networks.module("slow")
    assert frozen.training and learns.training
    for teacher, expected in ((frozen, False), (learns, True)):
        norms = [
            part for part in teacher.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)
        ]
        assert norms
        with batch_norm(teacher, "batch"):
            assert all(norm.training is expected for norm in norms)


def test_networks_and_teachers_by_config_train_in_a_run(tmp_path: Path) -> None:
    model = "learner.hparams.model"
    folder, _ = fit(
        tmp_path,
        "method=rotation",
        f"+{model}.networks={{projector: {{_target_: torch.nn.Linear, out_features: 3}}}}",
        f"+{model}.teachers.slow={{network: heads.rotation_prediction.classifier, decay: 0.5}}",
        f"{model}.ema.decay={{_target_: {LINEAR}, start: 0.5, stop: 0.9, duration: 50%, "
        "max_iterations: '${app:max_iterations}'}",
    )
    state = weights(folder)
    own = state["loss_terms.rotation_prediction.head.classifier.weight"]
    average = state["networks.modules_by_name.slow.module.weight"]
    assert own.shape == average.shape
    assert not torch.equal(own, average)
    assert state["networks.modules_by_name.projector.weight"].shape == (3, 8)


def test_a_head_of_a_run_is_measured_by_its_accuracy(tmp_path: Path) -> None:
    _, summary = fit(
        tmp_path,
        "method=rotation",
        "learner.hparams.model.evaluated={turns: heads.rotation_prediction.classifier}",
        "+learner.hparams.model.regularization_loss_heads.rotation_prediction.head.num_rotations=10",
        "run.num_iterations=2",
    )
    metrics = summary["metrics"]
    assert metrics["val/top1"] == metrics["val/ema/top1"]
    assert 0 <= metrics["val/turns/top1"] <= 1


def test_a_layer_of_other_classes_is_told_before_training(tmp_path: Path) -> None:
    config = composed("quickstart", "method=rotation", f"run.dir={tmp_path}", "run.gpus=0")
    config.learner.hparams.model.evaluated = {"turns": "heads.rotation_prediction.classifier"}
    with pytest.raises(ConfigError, match=r"a layer answers \(4,\) a row, not \(10,\)"):
        prepare(config)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("ema.decay=high", "a schedule: a _target_"),
        ("ema.decay=-1", r"must lie in \[0, 1\]"),
        ("ema.mode=on", "mode"),
        ("teachers={slow: {decay: 3}}", r"teachers\.slow\.decay: found 3"),
    ],
)
def test_the_config_is_checked_without_torch(override: str, expected: str) -> None:
    config = composed("quickstart", f"learner.hparams.model.{override}")
    problems = "\n".join(map(str, check(config, MODES)))
    assert re.search(expected, problems)
