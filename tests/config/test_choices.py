"""Each value that a check lets through is one that the code acts on."""

from typing import Any

import pytest
import torch
from readers import indexed
from torch import nn

from sesemi_like.config.choices import EMA_KINDS, PARTS, PRECISIONS, REDUCTIONS
from sesemi_like.devices import choose_precision
from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.heads.loss import LossOutputs


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions(precision: Any) -> None:
    assert choose_precision(precision, "gpu").startswith(("32", "bf16", "16"))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions(reduction: Any) -> None:
    assert reduce_losses(LossOutputs(torch.ones(3)), reduction).ndim == 0


@pytest.mark.parametrize("part", PARTS)
def test_parts(part: Any) -> None:
    assert len(indexed("digits", subset="train", part=part, num_labels=10)) > 0


@pytest.mark.parametrize("kind", EMA_KINDS)
def test_kinds_of_ema(kind: Any) -> None:
    teacher = EMATeacher(nn.Linear(2, 2), kind=kind)
    assert len(list(teacher.parameters())) == 2
