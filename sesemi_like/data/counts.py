"""How many samples the loaders of a run have, and which of them cannot be read."""

from __future__ import annotations

from ..distributed import gather_objects
from .loading.keys import display_name
from .run_labels import Datasets
from .samples import Samples


def sample_counts(datasets: Datasets) -> dict[str, int]:
    """How many samples every loader has; streams that do not know are left out.

    Args:
        datasets: All data sets.
    """
    counts = {display_name(name, datasets): s.num_samples for name, s in datasets.items()}
    return {name: count for name, count in counts.items() if count is not None}


def unreadable_counts(datasets: Datasets) -> dict[str, int]:
    """How many samples this process knows of that cannot be read, by loader.

    Args:
        datasets: All data sets.
    """
    return {
        display_name(name, datasets): len(source.skipped)
        for name, source in datasets.items()
        if isinstance(source, Samples) and source.skipped
    }


def gather_skipped(datasets: Datasets) -> dict[str, list[str]]:
    """The samples that no process could read so far, by loader; called on all processes.

    Args:
        datasets: All data sets.
    """
    own = {name: s.skipped for name, s in datasets.items() if isinstance(s, Samples)}
    parts = gather_objects(own)
    names = {name: sorted({i for part in parts for i in part[name]}) for name in own}
    return {display_name(name, datasets): ids for name, ids in names.items() if ids}
