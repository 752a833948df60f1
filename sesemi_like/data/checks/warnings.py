"""Warnings about the data of a run that do not prevent it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..loading.keys import TRAIN
from ..loading.parts import LoaderParts
from ..run_labels import RunLabels
from .duplicates import duplicate_warnings
from .labels import label_warnings


def data_warnings(loaders: Mapping[str, LoaderParts], labels: RunLabels) -> Iterator[str]:
    """Warns of duplicate images, and of labels that are missing or spread unevenly.

    Args:
        loaders: The parts of all loaders.
        labels: What is known of their labels.
    """
    datasets = {name: loader.dataset for name, loader in loaders.items()}
    yield from duplicate_warnings(datasets, [TRAIN + name for name in labels.trained])
    for name, source in labels.trained_samples.items():
        num_labels = loaders[TRAIN + name].config["dataset"].get("num_labels")
        for warning in label_warnings(source, num_labels, labels.num_classes):
            yield f"data.train.{name}.dataset: {warning}"
