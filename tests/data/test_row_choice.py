"""The choice of rows: nested, in stored order, without targets, and the list of it."""

import csv
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import composed
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tiny_runs import fit

from sesemi_like.config.check import check
from sesemi_like.config.structs import DataLoaderConfig
from sesemi_like.data import DataModule, dataset, register_dataset
from sesemi_like.data.row_choice import choose_rows, write_rows
from sesemi_like.data.samples import Samples
from sesemi_like.data.streams import StreamedSamples
from sesemi_like.errors import ConfigError
from sesemi_like.run.modes import MODES


def samples(size: int = 20, targets: Any = None) -> Samples:
    """Samples whose field is their position."""
    return Samples(lambda i: {"image": i}, [f"s{i}" for i in range(size)], targets)


def problem(**choice: Any) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        choose_rows(samples(), **choice)
    (found,) = caught.value.problems
    return found.key, found.expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20))
def test_a_smaller_choice_is_part_of_a_larger_one(seed: int, first: int, second: int) -> None:
    small, large = sorted([first, second])
    kept = [choose_rows(samples(), num_rows=n, row_seed=seed).positions for n in (small, large)]
    assert [len(rows) for rows in kept] == [small, large]
    assert set(kept[0]) <= set(kept[1])
    assert all((np.diff(rows) > 0).all() for rows in kept)


def test_the_choice_is_the_same_on_every_machine() -> None:
    order = np.random.Generator(np.random.PCG64(7)).permutation(20)
    kept = choose_rows(samples(), num_rows=6, row_seed=7)
    assert kept.positions.tolist() == sorted(order[:6].tolist())
    assert [kept[row]["image"] for row in range(6)] == kept.positions.tolist()
    other = choose_rows(samples(), num_rows=6, row_seed=8)
    assert other.positions.tolist() != kept.positions.tolist()


def test_given_rows_keep_their_order_and_labels(tmp_path: Path) -> None:
    labeled = samples(targets=np.arange(20) % 3)
    listed = tmp_path / "rows.txt"
    listed.write_text("5\n\n 2 \n19\n")
    for rows in ([5, 2, 19], str(listed)):
        kept = choose_rows(labeled, rows=rows)
        assert kept.positions.tolist() == [5, 2, 19]
        assert kept.targets.tolist() == [2, 2, 1]
        assert kept.row_ids() == ["s5", "s2", "s19"]


def test_impossible_choices_name_what_is_there(tmp_path: Path) -> None:
    assert problem(num_rows=21) == (
        "num_rows", "needs a number from 1 to 20, the rows of the data set"
    )  # fmt: skip
    assert problem(rows=[3, 20]) == (
        "rows", "[20] are none of the 20 rows of the data set"
    )  # fmt: skip
    assert "[4] are given more than once" in problem(rows=[4, 1, 4])[1]
    assert problem(rows=[])[0] == "rows"
    assert problem(rows=[1.5])[0] == "rows"
    assert problem(rows=3)[0] == "rows"
    assert problem(rows=[1], num_rows=1) == ("num_rows", "give only one of num_rows, rows")
    listed = tmp_path / "rows.txt"
    listed.write_text("1\ntwo\n")
    assert "line 2: found 'two'" in problem(rows=str(listed))[1]
    assert "cannot be read" in problem(rows=str(tmp_path / "absent.txt"))[1]


def test_a_label_budget_sees_the_chosen_rows_alone() -> None:
    targets = np.arange(40) % 2
    register_dataset("forty_rows")(lambda root, subset, image_transform: samples(40, targets))

    def read(**keys: Any) -> Samples:
        built = dataset("forty_rows", **keys)
        assert isinstance(built, Samples)
        return built

    keys: dict[str, Any] = {"num_rows": 10, "row_seed": 3, "num_labels": 4}
    kept = read(num_rows=10, row_seed=3).positions
    parts = [read(**keys, part=part) for part in ("labelled", "unlabelled")]
    assert [len(part) for part in parts] == [4, 6]
    assert sorted(np.concatenate([part.positions for part in parts])) == kept.tolist()


def test_streams_refuse_it() -> None:
    register_dataset("streamed_rows")(
        lambda root, subset, image_transform: StreamedSamples([{"image": 0}])
    )
    with pytest.raises(ConfigError) as caught:
        dataset("streamed_rows", num_rows=3, row_seed=1)
    (found,) = caught.value.problems
    assert (found.key, found.value) == ("num_rows", 3)
    assert "streamed data set cannot be split" in found.expected
    assert isinstance(dataset("streamed_rows", row_seed=1), StreamedSamples)


def test_checks_of_the_config_find_it_before_data_are_read() -> None:
    key = "data.val.dataset"
    config = composed("quickstart", f"++{key}.num_rows=0", f"++{key}.rows=[1]")
    reported = {p.key for p in check(config, MODES)}
    assert f"{key}.num_rows" in reported


def test_the_chosen_rows_are_listed(tmp_path: Path) -> None:
    chosen = choose_rows(samples(), rows=[3, 1])
    write_rows({"val": ({"rows": [3, 1]}, chosen), "other": ({}, samples())}, tmp_path / "r.csv")
    assert list(csv.reader((tmp_path / "r.csv").open())) == [
        ["loader", "index", "id"], ["val", "3", "s3"], ["val", "1", "s1"],
    ]  # fmt: skip
    write_rows({"other": ({"num_rows": None}, samples())}, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.slow
def test_a_run_lists_the_rows_of_all_its_loaders(tmp_path: Path) -> None:
    chosen = ["++data.train.unlabeled.dataset.num_rows=512", "++data.test.dataset.rows=[4,2,9]"]
    folder, _ = fit(tmp_path, *chosen, "run.num_iterations=2")
    rows = list(csv.reader((folder / "rows.csv").open()))[1:]
    assert sum(loader == "unlabeled" for loader, *_ in rows) == 512
    assert [index for loader, index, _ in rows if loader == "test"] == ["4", "2", "9"]
    assert len(rows) == 515


def test_every_target_of_a_data_set_is_built() -> None:
    seen: list[Any] = []

    def build(root: str, subset: Any, image_transform: Any, readers: Any = None) -> Samples:
        seen.append((image_transform, readers))
        return Samples(lambda i: {"image": np.zeros((1, 4, 4), np.uint8)}, ["a", "b"])

    register_dataset("with_readers")(build)
    fraction = {"_target_": "fractions.Fraction", "numerator": 3, "denominator": 4}
    config = composed("quickstart", "run.batch_size_per_gpu=2")
    readers = {"a": [fraction, 7], "b": "text"}
    heap = OmegaConf.structured(
        DataLoaderConfig(dataset={"name": "with_readers", "readers": readers})
    )
    config.data.train = {"heap": heap}
    config.data.val = config.data.test = None
    DataModule(config.data, config.run, world_size=1, seed=0)
    assert seen[0] == (None, {"a": [Fraction(3, 4), 7], "b": "text"})
    config.data.train.heap.dataset.readers.a[0]["denominator"] = 0
    with pytest.raises(ConfigError) as caught:
        DataModule(config.data, config.run, world_size=1, seed=0)
    (found,) = caught.value.problems
    assert found.key == "data.train.heap.dataset.readers.a.0"
    assert "ZeroDivisionError" in found.expected
