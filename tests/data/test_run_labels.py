"""Which of several labeled loaders has the classes of a run, and how many classes labels need."""

from collections.abc import Mapping

import numpy as np
import pytest

from sesemi_like.data.run_labels import RunLabels
from sesemi_like.data.samples import Samples


def samples(*targets: int, classes: list[str] | None = None) -> Samples:
    """Samples that are never read, with these class indices."""
    names = map(str, range(len(targets)))
    return Samples(read_nothing, names, np.array(targets, dtype=np.int64), classes)


def read_nothing(position: int) -> Mapping[str, object]:
    raise AssertionError(f"the sample at {position} is not to be read")


DATASETS = {
    "train.heap": samples(0, 1, 2, classes=["2022", "2023", "2024"]),
    "train.crops": samples(0, 1, classes=["wheat", "rye"]),
    "train.supervised": samples(0, 1, classes=["cat", "dog"]),
    "val": samples(1, 0, classes=["cat", "dog"]),
}


@pytest.mark.parametrize(
    ("trained", "preferred", "source"),
    [
        (["crops", "supervised"], "supervised", "train.supervised"),
        (["crops", "supervised"], None, "train.crops"),
        (["crops"], "supervised", "train.crops"),  # whose labels are trained on
        ([], "supervised", "train.supervised"),
        ([], None, "train.heap"),
    ],
)
def test_the_classes_are_those_that_are_trained_on(
    trained: list[str], preferred: str | None, source: str
) -> None:
    labels = RunLabels(DATASETS, trained, preferred)
    assert labels.source == source
    assert labels.classes == DATASETS[source].classes


def test_evaluation_has_the_classes_where_training_has_no_labels() -> None:
    datasets = {"train.unlabeled": samples(-1, -1), "val": samples(0, 4)}
    labels = RunLabels(datasets, ["unlabeled"], "supervised")
    assert (labels.source, labels.classes, labels.num_classes) == ("val", None, 5)


def test_without_labels_there_are_no_classes() -> None:
    labels = RunLabels({"train.unlabeled": samples(-1, -1)}, [])
    assert (labels.source, labels.classes, labels.num_classes) == (None, None, None)
