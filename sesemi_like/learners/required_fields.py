"""What a learner reads of the train loaders, known before data are read and networks are built."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

import pytorch_lightning as pl

from ..config.instantiate import plain
from ..config.locate import locate
from .base import Learner
from .forwards import fields_of


def draft_learner(config: Mapping[str, Any] | None) -> Learner | None:
    """Builds a learner that has its settings alone, to ask it about data that are yet to be read.

    Args:
        config: The section `learner`; None where it is missing.

    Returns:
        The learner, without networks and loss heads; None where its class or its settings cannot
        be had, which is reported when the learner is built.
    """
    try:
        section = plain(config)
        learner = cast(type[Learner], locate(section["_target_"], "learner").func)
        draft = learner.__new__(learner)
        pl.LightningModule.__init__(draft)
        draft.settings = section["hparams"]
    except Exception:
        return None
    return draft if isinstance(draft, Learner) else None


def required_fields(draft: Learner, loaders: Collection[str]) -> dict[str, set[str]] | None:
    """Names the fields of train loaders that some loss head asks for.

    The heads are built as the learner would build them, and asked with fields that nobody knows
    yet: every name is offered by every loader.

    Args:
        draft: The learner, see :func:`draft_learner`.
        loaders: The names of the train loaders.

    Returns:
        The fields by loader, of those loaders that are read. None where the heads cannot be built
        or asked, or ask for a loader that does not exist, which is reported with all other mistakes
        when the learner is built.
    """
    try:
        terms = [term for term in draft.build_terms().values() if not term.is_off]
        offered = dict.fromkeys(loaders, _EveryField())
        requests = [r for term in terms for r in term.head.forwards(offered).values()]
        passes = [loader for term in terms for loader in term.head.passes()]
    except Exception:
        return None
    read: dict[str, set[str]] = {}
    for loader, _, field in (name.partition(".") for r in requests for name in fields_of(r)):
        read.setdefault(loader, set()).add(field)
    for loader in passes:
        read.setdefault(loader, set())
    return read if read and set(read) <= set(loaders) else None


class _EveryField(Collection[str]):
    """Offers whatever is asked for, and lists nothing."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
