"""The evaluation of a run: each sample once, what is logged, and when."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from composing import composed
from processes import in_processes

from sesemi_like.evaluation import Evaluation, Origin
from sesemi_like.evaluation.base import Evaluator
from sesemi_like.predictions import Predictions


class Counter(Evaluator):
    needs: tuple[str, ...] = ("logits",)

    def __init__(self, every: int = 1) -> None:
        super().__init__(every)
        self.seen: list[Any] = []

    def evaluate(self, predict: Any, data: Any) -> Iterator[Any]:
        (predictions,) = data.values()
        self.seen.append(predictions)
        yield "count", float(len(predictions.target))
        yield "matrix", torch.zeros(2, 2)


class Module:
    """As much of a learner as the callback looks at."""

    device = "cpu"

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}
        self.needs: Any = None
        self.predicted: list[tuple[str, set[str]]] = []

    def validation_step(self, start: int) -> Any:
        fields, answers = outputs(start)
        return {"predictions": Predictions.of_batch(fields, answers, self.needs)}

    def predict_loader(self, name: str, needs: Any) -> Predictions:
        self.predicted.append((name, set(needs)))
        fields, answers = outputs(100, 3)
        return Predictions.of_batch(fields, answers, needs)

    def log_dict(self, values: Any, **_: Any) -> None:
        self.logged |= values


class Trainer:
    sanity_checking = False
    global_step = 7


def outputs(start: Any, count: int = 4) -> Any:
    tensors = {"logits": torch.randn(count, 3), "features": torch.randn(count, 2)}
    index = torch.arange(start, start + count)
    return {"target": torch.zeros(count, dtype=torch.int64), "index": index}, {"model": tensors}


def validate(callback: Any, module: Any, trainer: Any = None) -> None:
    trainer = trainer or Trainer()
    callback.on_validation_start(trainer, module)
    for start in (0, 4):
        callback.on_validation_batch_end(trainer, module, module.validation_step(start), None, 0)
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


def evaluate_unevenly(rank: int) -> None:
    dist.init_process_group("gloo", rank=rank, world_size=2)
    counter, module = Counter(), Module()
    callback: Any = Evaluation({"counter": counter})
    if rank == 1:
        callback.on_validation_batch_end(Trainer(), module, module.validation_step(0), None, 0)
    callback.on_validation_epoch_end(Trainer(), module)
    assert counter.seen[0].index.tolist() == [0, 1, 2, 3]
    assert module.logged == {"val/count": 4.0}


def test_a_process_without_batches_takes_part_in_gathering() -> None:
    """A stream of fewer samples than processes leaves some without; the others wait for them."""
    in_processes(evaluate_unevenly)


def test_a_further_set_is_logged_under_its_name_and_predicted_once() -> None:
    counters, module = (Counter(), Counter()), Module()
    counters[0].sets = counters[1].sets = ("ood",)
    counters[1].needs = ("features",)
    callback = Evaluation({"a": counters[0], "b": counters[1]})
    validate(callback, module)
    assert module.logged == {"val/count": 8.0, "val/ood/count": 3.0}
    assert module.predicted == [("ood", {"logits", "features"})]
    assert callback.origins["val/ood/count"] == Origin("model", 7, 3)


def test_what_no_due_evaluator_reads_is_not_asked_for() -> None:
    often, seldom, module = Counter(), Counter(every=2), Module()
    seldom.needs = ("text", "generator.tokens")
    tested = Counter()
    tested.needs, tested.on = ("features",), "test"
    callback: Any = Evaluation({"often": often, "seldom": seldom, "tested": tested})
    validate(callback, module)
    assert module.needs == {"logits", "text", "generator.tokens"}
    callback.on_validation_start(Trainer(), module)
    assert module.needs == {"logits"}
    callback.on_test_start(Trainer(), module)
    assert module.needs == {"logits", "text", "generator.tokens", "features"}
    assert not tested.seen


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
