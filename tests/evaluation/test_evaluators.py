"""Accuracy, confusion matrix and nearest neighbors against scikit-learn and NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.neighbors import KNeighborsClassifier

from sesemi_like.evaluation import KNN, Accuracy, ConfusionMatrix
from sesemi_like.predictions import Predictions

N, C, D = 200, 5, 8


def predictions(
    seed: int = 0, unlabeled: int = 20, networks: tuple[str, str] = ("model", "ema")
) -> Any:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(C, (N,), generator=generator)
    target[:unlabeled] = -1
    outputs = {
        name: {
            "logits": torch.randn(N, C, generator=generator),
            "features": torch.randn(N, D, generator=generator),
        }
        for name in networks
    }
    return Predictions(target, torch.arange(N), outputs)


def no_loader(name: str) -> None:
    raise AssertionError(f"{name} is not needed")


def as_numpy(found: Any, network: str) -> tuple[NDArray[Any], NDArray[Any]]:
    kept = (found.target >= 0).numpy()
    return found.target.numpy()[kept], found.outputs[network]["logits"].numpy()[kept]


def test_accuracy_and_loss_by_scikit_learn() -> None:
    data = predictions()
    values = dict(Accuracy(top_k=(1, 3, 9)).evaluate(no_loader, {"val": data}))
    for network in ("model", "ema"):
        target, logits = as_numpy(data, network)
        for k in (1, 3):
            expected = metrics.top_k_accuracy_score(target, logits, k=k, labels=range(C))
            assert values[f"{network}/top{k}"] == pytest.approx(expected)
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected = metrics.log_loss(target, shares, labels=range(C))
        assert values[f"{network}/loss"] == pytest.approx(expected, rel=1e-5)
    assert values["top1"] == values["ema/top1"] != values["model/top1"]
    assert "model/top9" not in values
    assert set(dict(Accuracy(loss=False).evaluate(no_loader, {"val": data}))) == {
        "model/top1", "ema/top1", "top1"
    }  # fmt: skip


def test_confusion_matrix_by_scikit_learn() -> None:
    data = predictions()
    (named,) = ConfusionMatrix().evaluate(no_loader, {"test": data})
    target, logits = as_numpy(data, "ema")
    expected = metrics.confusion_matrix(target, logits.argmax(1), labels=range(C))
    name, matrix = named
    assert name == "confusion"
    assert isinstance(matrix, torch.Tensor)
    assert matrix.tolist() == expected.tolist()
    assert matrix.dtype == torch.int64


@pytest.mark.parametrize("k", [1, 5, 500])
def test_nearest_neighbors_by_scikit_learn(k: int) -> None:
    data, bank = predictions(0), predictions(1, unlabeled=50)
    evaluator = KNN(k=k, temperature=0.1, chunk=64)
    values = dict(evaluator.evaluate({"supervised": bank}.__getitem__, {"val": data}))

    def weights(distances: Any) -> Any:  # scikit-learn's cosine distance is 1 - similarity
        return np.exp((1 - distances) / 0.1)

    for network in ("model", "ema"):
        known, queries = bank.labeled(), data.labeled()
        peer = KNeighborsClassifier(min(k, 150), metric="cosine", weights=weights)
        peer.fit(known.outputs[network]["features"], known.target)
        guesses = peer.predict(queries.outputs[network]["features"])
        expected = (guesses == queries.target.numpy()).mean()
        assert values[f"{network}/knn_top1"] == pytest.approx(expected)
    assert values["knn_top1"] == values["ema/knn_top1"]


def test_neighbors_are_those_of_the_named_loader() -> None:
    asked = []

    def predict(name: str) -> Any:
        asked.append(name)
        return predictions(1)

    list(KNN(data="unlabeled").evaluate(predict, {"val": predictions()}))
    assert asked == ["unlabeled"]


@pytest.mark.parametrize("evaluator", [Accuracy(), KNN()])
def test_without_a_label_there_is_nothing_to_measure(evaluator: Any) -> None:
    bare = predictions(unlabeled=N)
    with pytest.raises(ValueError, match="has no labeled sample"):
        list(evaluator.evaluate(lambda name: bare, {"val": bare}))


def test_one_set_is_given_as_a_list() -> None:
    with pytest.raises(ValueError, match=r"^sets: found 'ood'; needs a list of names, \[ood\]"):
        Accuracy(sets="ood")


@pytest.mark.parametrize(
    ("kind", "settings", "message_part"),
    [(Accuracy, {"every": 0}, "every"), (KNN, {"k": 0}, "k"), (KNN, {"temperature": 0.0}, "temp")],
)
def test_settings_out_of_range_are_reported(
    kind: Any, settings: dict[str, Any], message_part: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message_part}.*found 0"):
        kind(**settings)
