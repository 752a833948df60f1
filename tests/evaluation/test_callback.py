"""The evaluation of a run: each sample once, what is logged, and when."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from composing import composed

from sesemi_like.evaluation import Evaluation, Origin
from sesemi_like.evaluation.base import Evaluator, Predictions


def test_samples_that_fill_up_a_share_count_once_in_order() -> None:
    parts = [
        Predictions(torch.tensor(t), torch.tensor(i), {"model": {"logits": torch.tensor(o)}})
        for t, i, o in [([5, 3], [2, 0], [[2.0], [0.0]]), ([4, 3], [1, 0], [[1.0], [9.0]])]
    ]
    predictions = Predictions.concatenate(parts).deduplicate()
    assert predictions.index.tolist() == [0, 1, 2]
    assert predictions.target.tolist() == [3, 4, 5]
    assert predictions.outputs["model"]["logits"][:, 0].tolist() == [0, 1, 2]


class Counter(Evaluator):
    needs = ("logits",)

    def __init__(self, every: int = 1) -> None:
        super().__init__(every)
        self.seen: list[Any] = []

    def evaluate(self, predict: Any, data: Any) -> Iterator[Any]:
        (predictions,) = data.values()
        self.seen.append(predictions)
        yield "count", float(len(predictions.target))
        yield "matrix", torch.zeros(2, 2)


class Module:
    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}

    def log_dict(self, values: Any, **_: Any) -> None:
        self.logged |= values


class Trainer:
    sanity_checking = False
    global_step = 7


def outputs(start: Any, count: int = 4) -> Any:
    tensors = {"logits": torch.randn(count, 3), "features": torch.randn(count, 2)}
    return {"target": torch.zeros(count, dtype=torch.int64),
            "index": torch.arange(start, start + count), "model": tensors}  # fmt: skip


def validate(callback: Any, module: Any, trainer: Any = None) -> None:
    trainer = trainer or Trainer()
    for start in (0, 4):
        callback.on_validation_batch_end(trainer, module, outputs(start), None, 0)
    callback.on_validation_epoch_end(trainer, module)


def test_keeps_what_evaluators_need_logs_scalars_and_remembers_the_rest() -> None:
    counter, module = Counter(), Module()
    callback = Evaluation({"counter": counter})
    validate(callback, module)
    assert set(counter.seen[0].outputs["model"]) == {"logits"}
    assert counter.seen[0].index.tolist() == list(range(8))
    assert module.logged == {"val/count": 8.0}
    matrix = callback.last["val/matrix"]
    assert isinstance(matrix, torch.Tensor)
    assert matrix.shape == (2, 2)
    assert callback.origins == {name: Origin("model", 7, 8) for name in callback.last}


def test_a_process_without_batches_takes_part_in_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of fewer samples than processes leaves some without; the others wait for them."""
    own = outputs(0)
    others = Predictions(own["target"], own["index"], {"model": {"logits": own["model"]["logits"]}})
    monkeypatch.setattr(f"{Evaluation.__module__}.gather_objects", lambda mine: [mine, others])
    counter, module = Counter(), Module()
    callback: Any = Evaluation({"counter": counter})
    callback.on_validation_epoch_end(Trainer(), module)
    assert counter.seen[0].index.tolist() == [0, 1, 2, 3]
    assert module.logged == {"val/count": 4.0}


def test_every_counts_validations_and_goes_on_after_a_checkpoint() -> None:
    counter, module = Counter(every=2), Module()
    callback = Evaluation({"counter": counter})
    for _ in range(3):
        validate(callback, module)
    assert len(counter.seen) == 2  # the first and the third
    resumed = Evaluation({"counter": counter})
    resumed.load_state_dict(callback.state_dict())
    validate(resumed, module)
    assert len(counter.seen) == 2
    validate(resumed, module)
    assert len(counter.seen) == 3


def test_a_trial_of_validation_counts_for_nothing() -> None:
    counter, module, trainer = Counter(), Module(), Trainer()
    trainer.sanity_checking = True
    callback = Evaluation({"counter": counter})
    validate(callback, module, trainer)
    assert not counter.seen
    validate(callback, module)
    assert len(counter.seen[0].target) == 8


def test_the_configs_name_evaluators() -> None:
    assert set(composed("quickstart", "evaluation=knn").run.evaluators) >= {"knn", "accuracy"}
