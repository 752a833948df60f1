"""The page's new policy: fifteen lines that go together with the parts of other methods."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from composing import composed
from reader import FENCE

from sesemi_like.config.facts import DataFacts
from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.own_code import own_code
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import LossOutputs, Step
from sesemi_like.models.heads.loss.parts import Prediction
from sesemi_like.models.networks import Networks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend" / "new_method.md"
BLOCKS = [body for _, body in FENCE.findall(PAGE.read_text())]
(POLICY,) = (body for body in BLOCKS if body.startswith("# my_policies.py"))
(CONFIG,) = (body for body in BLOCKS if body.startswith("# configs/above_average.yaml"))


class Classes(torch.nn.Module):
    num_classes = out_features = 4


def test_it_has_fifteen_lines() -> None:
    body = POLICY[POLICY.index("class ") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15


def test_it_keeps_the_rows_that_are_surer_than_average(tmp_path: Path) -> None:
    (tmp_path / "my_policies.py").write_text(POLICY)
    policy = runpy.run_path(str(tmp_path / "my_policies.py"))["AboveAverage"](momentum=0.5)
    average = 1.0
    for step in range(4):
        torch.manual_seed(step)
        prediction = Prediction(3 * torch.randn(6, 4, dtype=torch.float64))
        policy.update(prediction)
        average = 0.5 * average + 0.5 * prediction.confidence.mean().item()
        kept = [float(value >= average) for value in prediction.confidence]
        assert policy(prediction).tolist() == kept
    policy.update(Prediction(torch.zeros(0, 4)))
    assert policy.average.item() == pytest.approx(average)


def test_it_learns_beside_the_parts_of_two_other_methods(tmp_path: Path) -> None:
    (tmp_path / "my_policies.py").write_text(POLICY)
    (tmp_path / "above_average.yaml").write_text(CONFIG)
    heads = composed("above_average", folder=tmp_path).learner.hparams.model
    with own_code(str(tmp_path)):
        head: Any = instantiate(heads.regularization_loss_heads.above_average.head, key="head")
    head.build(Networks({"classifier": Classes()}), DataFacts())
    torch.manual_seed(0)
    judged = head.judge({"logits": 3 * torch.randn(8, 4)})
    assert 0 < judged["weights"].sum() < 8
    learner = torch.randn(8, 4, requires_grad=True)
    given = {"judged": judged, "learner": {"logits": learner}}
    outputs: LossOutputs = head(given, Step(0, None, Networks({}), {}))
    assert set(outputs.terms) == {"pseudo_label", "fairness"}
    reduce_terms(outputs, "mean").loss.backward()
    assert learner.grad is not None and learner.grad.any()
    used = {part["_target_"].rpartition(".")[2] for part in parts(yaml.safe_load(CONFIG))}
    assert {"AboveAverage", "AverageAlignment", "FairnessTerm"} <= used


def parts(config: Any) -> list[dict[str, Any]]:
    """Every mapping of a config that builds something."""
    if not isinstance(config, dict):
        return []
    inner = [part for value in config.values() for part in parts(value)]
    return [config, *inner] if "_target_" in config else inner
