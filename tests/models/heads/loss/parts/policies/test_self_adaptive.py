"""FreeMatch's thresholds against its equations in NumPy, over several steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parts_playing import CLASSES, batches, build, cut, weigh
from processes import in_processes
from references import adaptive as reference

from sesemi_like.models.heads.loss.parts import SelfAdaptivePolicy

ROWS = (9, 1, 12, 0, 7, 14)
MOMENTUM = 0.7


def policy(**settings: Any) -> SelfAdaptivePolicy:
    return build(SelfAdaptivePolicy(MOMENTUM, **settings))


@pytest.mark.parametrize(
    "ranges", [{}, {"threshold_range": (0.6, 0.62)}, {"global_range": (0.0, 0.5)}], ids=str
)
def test_it_is_the_papers_equations(ranges: dict[str, tuple[float, float]]) -> None:
    found, made = policy(**ranges), batches(*ROWS)
    steps = reference.freematch([batch.logits for batch in made], MOMENTUM, **ranges)
    for batch, step in zip(made, steps, strict=True):
        assert weigh(found, batch).tolist() == step["mask"]
        np.testing.assert_allclose(found.confidence.value, [step["global"]], rtol=1e-5)
        logged = {name: value.item() for name, value in found.metrics().items()}
        expected = {
            "threshold": np.mean(step["thresholds"]),
            "lowest_threshold": min(step["thresholds"]),
            "highest_threshold": max(step["thresholds"]),
        }
        assert logged == pytest.approx(expected, rel=1e-5)
    masks = [row for step in steps for row in step["mask"]]
    assert 0 < sum(masks) < len(masks)


def test_before_any_batch_every_threshold_is_chance() -> None:
    assert policy().metrics()["lowest_threshold"].item() == 1 / CLASSES
    assert policy().metrics()["highest_threshold"].item() == 1 / CLASSES


def test_the_published_momentum_is_its_default() -> None:
    (batch,) = batches(9)
    found = build(SelfAdaptivePolicy())
    weigh(found, batch)
    (step,) = reference.freematch([batch.logits])
    assert found.confidence.value.item() == pytest.approx(step["global"], rel=1e-6)


def test_its_state_round_trips() -> None:
    first, second = policy(), policy()
    made = batches(*ROWS)
    for batch in made[:3]:
        weigh(first, batch)
    second.load_state_dict(first.state_dict())
    for batch in made[3:]:
        assert torch.equal(weigh(first, batch), weigh(second, batch))


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = policy()
    masks = [weigh(found, cut(batch, rank)) for batch in batches(*ROWS)]
    torch.save({"masks": masks, "state": found.state_dict()}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_thresholds_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    one = policy()
    for number, batch in enumerate(batches(*ROWS)):
        both = torch.cat([first["masks"][number], second["masks"][number]])
        assert torch.equal(both, weigh(one, batch))
    for name, value in one.state_dict().items():
        assert torch.equal(first["state"][name], second["state"][name])
        torch.testing.assert_close(first["state"][name], value, rtol=1e-6, atol=0)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"threshold_range: found \[0\.95, 0\.9\]"):
        SelfAdaptivePolicy(threshold_range=[0.95, 0.9])
    with pytest.raises(ValueError, match=r"global_range: found \[0\.5\]"):
        SelfAdaptivePolicy(global_range=[0.5])
    with pytest.raises(ValueError, match="momentum: found 1"):
        SelfAdaptivePolicy(momentum=1)
