"""Which loaders a run has, and the batches of one as evaluation reads them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping

from ..batches import Batch
from .keys import EVALUATED, EVALUATION, TRAIN, config_key, short_name
from .parts import LoaderParts

log = logging.getLogger(__name__)


def is_loaded(name: str, splits: Collection[str], read: Collection[str] | None) -> bool:
    """Whether a run loads a loader of its config.

    Args:
        name: Its split and name.
        splits: The parts of `data` that the run's mode loads.
        read: The names, as users give them, of the train and evaluation loaders that anything
            reads; None where that is not known.
    """
    split = name.split(".")[0]
    if read is None or not name.startswith((TRAIN, EVALUATION)):
        return split in splits
    is_read = short_name(name) in read
    if split in splits and not is_read:
        log.info("%s is not loaded: no loss head or evaluator reads it", config_key(name))
    return is_read and (split in splits or split == "train")


def batches_in_order(
    loaders: Mapping[str, LoaderParts], name: str, *, seed: int, rank: int, world_size: int
) -> Iterator[Batch]:
    """This process's share of a loader's data as validation would see them, in file order.

    A train loader's own views are replaced by those of validation, so nothing is augmented but what
    its `image_transform` does. All processes get equally many rows, so that some may come twice.

    Args:
        loaders: The parts of all loaders.
        name: The loader as users name it: a train loader, one of evaluation, `val`, ...
        seed: The run's seed.
        rank: The number of this process.
        world_size: The number of processes that share the data.

    Raises:
        KeyError: If there is no such loader.
    """
    share = rank, world_size
    if own := loaders.get(EVALUATION + name, loaders.get(name)):
        built, views = own.build(seed, *share), own.views
    else:
        own = loaders[TRAIN + name].reading
        views = next((loaders[n] for n in EVALUATED if n in loaders), own).reading.views
        built = own.build_in_order(seed, loaders.get("val", own).batch_size, *share)
    for batch in built:
        yield views.apply(batch, share=share)
