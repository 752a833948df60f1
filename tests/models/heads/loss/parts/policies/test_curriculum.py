"""FlexMatch's curriculum against algorithm 1 in NumPy, over several steps of its table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from parts_playing import CLASSES, batches, build, cut, weigh
from processes import in_processes
from references import adaptive as reference

from sesemi_like.config.facts import DataFacts
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss.parts import CurriculumPolicy, Prediction

ROWS = (9, 1, 12, 0, 20, 14, 20, 17)
THRESHOLD = 0.6
FACTS = DataFacts(largest_index={"train.unlabeled": 19}, rows={"train.unlabeled": 20})


def policy(mapping: str = "convex", warm_up: bool = True) -> CurriculumPolicy:
    return build(CurriculumPolicy(THRESHOLD, mapping, warm_up), FACTS)


def labels(table: torch.Tensor) -> dict[int, int]:
    return {index: label for index, label in enumerate(table.tolist()) if label >= 0}


def sure(classes: list[int], index: list[int], p: float = 0.9) -> Prediction:
    """Rows of which each is predicted as a class with a probability."""
    rest = (1 - p) / (CLASSES - 1)
    rows = [[p if c == k else rest for k in range(CLASSES)] for c in classes]
    return Prediction(torch.tensor(rows).log(), index=torch.tensor(index))


@pytest.mark.parametrize("warm_up", [True, False])
@pytest.mark.parametrize("mapping", ["convex", "linear", "concave"])
def test_it_is_the_algorithm_of_the_paper(mapping: str, warm_up: bool) -> None:
    found, made = policy(mapping, warm_up), batches(*ROWS, scale=1.5)
    given = [(batch.logits, batch.index) for batch in made]
    steps = reference.flexmatch(given, 20, THRESHOLD, mapping, warm_up)
    for batch, step in zip(made, steps, strict=True):
        assert weigh(found, batch).tolist() == step["mask"]
        assert labels(found.label) == step["labels"]
        np.testing.assert_allclose(found.learned, step["beta"], rtol=1e-6)
    masks = [row for step in steps for row in step["mask"]]
    assert 0 < sum(masks) < len(masks)


def test_every_row_counts_before_any_was_sure() -> None:
    found, unsure = policy(), sure([0, 1, 2], [0, 1, 2], p=0.28)
    for _ in range(2):
        assert weigh(found, unsure).tolist() == [1, 1, 1]
    assert found.learned.tolist() == [0] * CLASSES


def test_a_batch_is_weighed_before_the_table_follows_it() -> None:
    found, batch = policy(warm_up=False), sure([0, 0, 1], [0, 1, 2])
    assert weigh(found, batch).tolist() == [1, 1, 1]
    assert found.learned.tolist() == [1, 0.5, 0, 0]
    less = sure([0, 1, 2], [3, 4, 5], p=0.5)
    assert weigh(found, less).tolist() == [0, 1, 1]


def test_a_row_may_change_its_class_and_stays_when_it_is_unsure() -> None:
    found = policy()
    weigh(found, sure([0, 1], [4, 5]))
    weigh(found, sure([2], [4]))
    weigh(found, sure([3], [5], p=0.59))
    assert labels(found.label) == {4: 2, 5: 1}


def test_rows_that_were_left_out_of_the_data_are_not_waited_for() -> None:
    facts = replace(FACTS, rows={"train.unlabeled": 3})
    found = build(CurriculumPolicy(THRESHOLD), facts)
    weigh(found, sure([0, 0, 1], [7, 11, 19]))
    assert found.learned.tolist() == [1, 0.5, 0, 0]
    assert found.metrics()["ever_sure"].item() == 1


def test_of_a_row_that_comes_twice_the_last_sure_one_counts() -> None:
    found = policy()
    weigh(found, sure([0, 1, 0], [2, 2, 3]))
    weigh(found, replace(sure([1, 2], [3, 3]), logits=torch.tensor([[0, 9.0, 0, 0], [0, 0, 0, 0]])))
    assert labels(found.label) == {2: 1, 3: 1}


def test_what_is_logged() -> None:
    found = policy(warm_up=False, mapping="linear")
    weigh(found, sure([0, 0, 1], [0, 1, 2]))
    logged = {name: value.item() for name, value in found.metrics().items()}
    expected = {
        "threshold": THRESHOLD * 1.5 / CLASSES,
        "lowest_threshold": 0,
        "highest_threshold": THRESHOLD,
        "ever_sure": 3 / 20,
    }
    assert logged == pytest.approx(expected, rel=1e-6)


def test_its_state_round_trips() -> None:
    first, second = policy(), policy()
    made = batches(*ROWS, scale=1.5)
    for batch in made[:4]:
        weigh(first, batch)
    second.load_state_dict(first.state_dict())
    for batch in made[4:]:
        assert torch.equal(weigh(first, batch), weigh(second, batch))
    assert torch.equal(first.label, second.label)


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = policy()
    masks = [weigh(found, cut(batch, rank)) for batch in with_duplicates()]
    torch.save({"masks": masks, "state": found.state_dict()}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def with_duplicates() -> list[Prediction]:
    """Batches whose last row, of the second process, is one of the first process as well."""
    made = batches(*ROWS, scale=1.5)
    return [replace(b, index=torch.cat([b.index[:-1], b.index[:1]])) for b in made]


@pytest.mark.slow
def test_two_uneven_processes_have_the_table_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    processes = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    one = policy()
    for number, batch in enumerate(with_duplicates()):
        both = torch.cat([process["masks"][number] for process in processes])
        assert torch.equal(both, weigh(one, batch))
    assert labels(one.label)
    for process in processes:
        for name, value in one.state_dict().items():
            assert torch.equal(process["state"][name], value), name


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"threshold: found 95; .*\[0, 1\]"):
        CurriculumPolicy(95)
    with pytest.raises(ValueError, match=r"mapping: found 'convexe'; .*convex"):
        CurriculumPolicy(mapping="convexe")
    with pytest.raises(ConfigError, match=r"data\.train\.unlabeled"):
        build(CurriculumPolicy(), DataFacts())
