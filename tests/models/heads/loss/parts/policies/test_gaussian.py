"""SoftMatch's weights against its equations in NumPy, over several steps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parts_playing import CLASSES, batches, build, cut, weigh
from processes import in_processes
from references import adaptive as reference

from sesemi_like.models.heads.loss.parts import GaussianPolicy, Prediction

ROWS = (9, 1, 12, 0, 7, 14)
MOMENTUM = 0.7


@pytest.mark.parametrize("n_sigma", [1, 2, 3])
def test_it_is_the_papers_equations(n_sigma: float) -> None:
    found, made = build(GaussianPolicy(n_sigma, MOMENTUM)), batches(*ROWS)
    steps = reference.softmatch([batch.logits for batch in made], MOMENTUM, n_sigma)
    for batch, step in zip(made, steps, strict=True):
        np.testing.assert_allclose(weigh(found, batch), step["weights"], rtol=1e-4)
        logged = {name: value.item() for name, value in found.metrics().items()}
        deviation = step["variance"] ** 0.5
        expected = {"usual_confidence": step["mean"], "deviation": deviation}
        assert logged == pytest.approx(expected, rel=1e-5)
    weights = [row for step in steps for row in step["weights"]]
    assert min(weights) < 0.95 < max(weights) == 1


def test_before_any_batch_it_is_chance_and_wide() -> None:
    state = {name: value.item() for name, value in build(GaussianPolicy()).named_buffers()}
    assert state == {"mean": 1 / CLASSES, "variance": 1}


def test_one_row_moves_the_mean_alone() -> None:
    found = build(GaussianPolicy())
    (batch,) = batches(1)
    weigh(found, batch)
    assert found.mean.item() != 1 / CLASSES
    assert found.variance.item() == 1


def test_no_variance_leaves_weights_of_zero_or_one() -> None:
    found = build(GaussianPolicy(momentum=0.0))
    found.update(Prediction(torch.tensor([[5.0, 0, 0, 0]]).expand(3, CLASSES)))
    assert found.variance.item() == 0
    weights = found(Prediction(torch.tensor([[5.0, 0, 0, 0], [4.0, 0, 0, 0]])))
    assert weights.tolist() == [1, 0]


def test_its_state_round_trips() -> None:
    first, second = build(GaussianPolicy()), build(GaussianPolicy())
    made = batches(*ROWS)
    for batch in made[:3]:
        weigh(first, batch)
    second.load_state_dict(first.state_dict())
    for batch in made[3:]:
        assert torch.equal(weigh(first, batch), weigh(second, batch))


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = build(GaussianPolicy(momentum=MOMENTUM))
    weights = [weigh(found, cut(batch, rank)) for batch in batches(*ROWS)]
    torch.save({"weights": weights, "state": found.state_dict()}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_mean_and_variance_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    one = build(GaussianPolicy(momentum=MOMENTUM))
    for number, batch in enumerate(batches(*ROWS)):
        both = torch.cat([first["weights"][number], second["weights"][number]])
        torch.testing.assert_close(both, weigh(one, batch), rtol=1e-5, atol=0)
    for name, value in one.state_dict().items():
        assert torch.equal(first["state"][name], second["state"][name])
        torch.testing.assert_close(first["state"][name], value, rtol=1e-6, atol=0)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="n_sigma: found 0"):
        GaussianPolicy(n_sigma=0)
    with pytest.raises(ValueError, match="momentum: found 1"):
        GaussianPolicy(momentum=1)
