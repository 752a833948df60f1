"""From a loader's config to batches: lengths by hand, workers, several processes, many loaders."""

import itertools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from sesemi_like.data.conversion import as_samples
from sesemi_like.data.loading.collating import stack_fields
from sesemi_like.data.loading.loaders import batch_size_of, build_loader
from sesemi_like.data.loading.named_loaders import NamedLoaders
from sesemi_like.data.samples import Samples
from sesemi_like.errors import ConfigError


def read(position: int) -> dict[str, torch.Tensor]:
    return {"image": torch.full((1, 2, 2), float(position))}


def samples(count: int, classes: int = 3) -> Samples:
    return Samples(read, list(map(str, range(count))), np.arange(count) % classes)


def loader(
    count: int = 10,
    batch_size: int = 4,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 0,
    **config: Any,
) -> DataLoader[Any]:
    return build_loader(config, samples(count), key="data.train.x", batch_size=batch_size,
                        seed=seed, rank=rank, world_size=world_size)  # fmt: skip


def rows(built: Iterable[Any]) -> list[list[int]]:
    return [batch["index"].tolist() for batch in built]


@pytest.mark.parametrize(
    ("count", "batch_size", "drop_last", "repeat", "world_size", "expected"),
    [
        (10, 4, False, 1, 1, 3),  # 4 + 4 + 2
        (10, 4, True, 1, 1, 2),
        (12, 4, True, 1, 1, 3),
        (10, 4, False, 2, 1, 5),  # 20 rows
        (10, 3, True, 2, 1, 6),
        (10, 4, False, 1, 2, 2),  # 5 rows a process: 4 + 1
        (10, 4, True, 1, 2, 1),
        (7, 2, False, 3, 2, 6),  # 21 rows, 11 a process
        (40, 32, False, 10, 1, 13),  # the labeled digits of the quickstart
        (1437, 224, True, 7, 1, 44),  # and all of them
    ],
)
def test_length_by_hand(
    count: int, batch_size: int, drop_last: bool, repeat: int, world_size: int, expected: int
) -> None:
    built = loader(count, batch_size, world_size=world_size, drop_last=drop_last, repeat=repeat)
    assert len(built) == expected
    assert len(rows(built)) == expected


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("count", [19, 20, 21, 23])  # in batches of 4, of 2 rows a process
def test_without_incomplete_batches_processes_share_those_of_one_process(
    count: int, repeat: int
) -> None:
    config = {"drop_last": True, "repeat": repeat, "shuffle": True}
    whole = loader(count, 4, **config)
    parts = [loader(count, 2, rank=r, world_size=2, **config) for r in range(2)]
    assert [len(part) for part in parts] == [len(whole)] * 2
    shared = zip(*(rows(part) for part in parts), strict=True)
    together = [[row for pair in zip(*each, strict=True) for row in pair] for each in shared]
    assert together == rows(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_order_does_not_depend_on_workers_and_changes_from_pass_to_pass(workers: int) -> None:
    built = loader(20, shuffle=True, num_workers=workers)
    alone = loader(20, shuffle=True)
    passes = [rows(built) for _ in range(2)]
    assert passes == [rows(alone) for _ in range(2)]
    assert passes[0] != passes[1]
    assert rows(loader(20, shuffle=True, seed=1)) != passes[0]


def test_two_processes_share_a_shuffled_pass() -> None:
    parts = [rows(loader(10, shuffle=True, rank=r, world_size=2)) for r in range(2)]
    assert sorted(row for part in parts for batch in part for row in batch) == list(range(10))


def in_threes(dataset: Samples) -> BatchSampler:
    return torch.utils.data.BatchSampler(range(len(dataset)), 3, drop_last=False)


def test_a_batch_sampler_is_divided_among_processes_too() -> None:
    config = {"_target_": f"{__name__}.in_threes"}
    parts = [rows(loader(10, rank=r, world_size=2, batch_sampler=config)) for r in range(2)]
    assert parts == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9]]]


class Endless:
    def __init__(self, data: Samples, rows: list[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return itertools.cycle(self.rows)


class Unending(Endless):
    def __len__(self) -> int:
        return len(self.rows)


class Chosen(Unending):
    def __iter__(self) -> Any:
        return iter(self.rows)


@pytest.mark.parametrize(
    ("key", "target", "rows", "message"),
    [
        ("sampler", "Endless", [1], "needs a length"),
        ("sampler", "Chosen", [0, 9], "returns 9; its rows must be integers from 0 to 8"),
        ("sampler", "Chosen", [-1], "returns -1"),
        ("sampler", "Chosen", ["a"], "returns 'a'"),
        ("sampler", "Chosen", [], "returns no rows"),
        ("sampler", "Unending", [0, 1], "has a length of 2, and returns more"),
        ("batch_sampler", "Endless", [[1]], "needs a length"),
        ("batch_sampler", "Chosen", [[0, 1], [2, 9]], "returns 9"),
    ],
)
def test_samplers_that_cannot_work_are_reported(
    key: str, target: str, rows: list[Any], message: str
) -> None:
    config: dict[str, Any] = {key: {"_target_": f"{__name__}.{target}", "rows": rows}}
    with pytest.raises(ConfigError, match=rf"data\.train\.x\.{key}: found '.*{target}'; {message}"):
        loader(9, **config)


def test_a_look_at_a_sampler_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    built = loader(9, batch_size=9, sampler={"_target_": "torch.utils.data.RandomSampler"})
    assert torch.equal(torch.get_rng_state(), state)
    assert sorted(rows(built)[0]) == list(range(9))


def test_class_balanced_and_custom_samplers() -> None:
    drawn = loader(9, batch_size=9, sampler="class_balanced")
    assert len(rows(drawn)[0]) == 9
    config = {"_target_": "torch.utils.data.SubsetRandomSampler", "indices": [1, 2]}
    with pytest.raises(ConfigError, match=r"data\.train\.x\.sampler"):
        loader(9, sampler=config)  # it takes no data set
    with pytest.raises(ConfigError, match="class_balanced"):
        loader(9, sampler="class_balance")


def test_a_loader_without_a_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"drop_last.*no batch of 4 from 3 samples"):
        loader(3, drop_last=True)


@pytest.mark.parametrize("world_size", [1, 2])
def test_both_ways_to_a_batch_that_the_message_names_lead_to_one(world_size: int) -> None:
    with pytest.raises(ConfigError) as error:
        loader(60, 96, world_size=world_size, drop_last=True)
    batch_size, repeat = map(
        int, re.findall(r"at most (\d+), or data.train.x.repeat=(\d+)", str(error.value))[0]
    )
    assert len(loader(60, batch_size, world_size=world_size, drop_last=True)) == 1
    assert len(loader(60, 96, world_size=world_size, drop_last=True, repeat=repeat)) == 1
    with pytest.raises(ConfigError):
        loader(60, 96, world_size=world_size, drop_last=True, repeat=repeat - 1)


@pytest.mark.parametrize(
    ("config", "default", "world_size", "expected"),
    [
        ({"batch_size": 12}, 5, 4, 3),
        ({"batch_size_per_gpu": 7}, 5, 4, 7),
        ({}, 5, 4, 5),
    ],
)
def test_batch_size_of_a_process(
    config: dict[str, int], default: int, world_size: int, expected: int
) -> None:
    assert batch_size_of(config, "data.val", default, world_size) == expected


def test_batch_sizes_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"data\.val\.batch_size: found 10.*4 processes"):
        batch_size_of({"batch_size": 10}, "data.val", None, 4)
    with pytest.raises(ConfigError, match=r"run\.batch_size_per_gpu"):
        batch_size_of({}, "data.val", None, 1)


def test_fields_are_stacked_and_sizes_must_agree() -> None:
    batch = stack_fields([{"image": torch.zeros(1, 2, 2), "target": t} for t in (1, 2)])
    assert batch["image"].shape == (2, 1, 2, 2)
    assert batch["target"].dtype == torch.int64
    with pytest.raises(ValueError, match="image_transform"):
        stack_fields([{"image": torch.zeros(1, 2, n)} for n in (2, 3)])


def test_an_epoch_is_one_pass_over_the_longest_and_the_others_start_again() -> None:
    named = NamedLoaders({"long": loader(10), "short": loader(6, batch_size=3, shuffle=True)})
    assert len(named) == 3
    steps = list(named)
    assert rows(step["long"] for step in steps) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    short = rows(step["short"] for step in steps)
    assert sorted(short[0] + short[1]) == list(range(6))  # one pass, then the next one
    assert len(short[2]) == 3


def test_orders_of_an_epoch_depend_on_its_number_alone() -> None:
    def built(epoch: int) -> NamedLoaders:
        loaders = {"a": loader(10, shuffle=True), "b": loader(6, batch_size=3, shuffle=True)}
        return NamedLoaders(loaders, lambda: epoch)

    def read_epoch(named: NamedLoaders) -> list[dict[str, list[int]]]:
        return [{k: b["index"].tolist() for k, b in step.items()} for step in named]

    epochs = [read_epoch(built(k)) for k in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert read_epoch(built(1)) == epochs[1]


class Stream(IterableDataset[Any]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Any:
        return iter([(torch.tensor([float(i)]), i) for i in range(self.count)])


def streamed(count: int, batch_size: int = 2, **config: bool) -> DataLoader[Any]:
    samples = as_samples(Stream(count))
    return build_loader(config, samples, key="data.train.s", batch_size=batch_size, seed=0)


def test_a_stream_is_combined_with_others_and_starts_again() -> None:
    named = NamedLoaders({"map": loader(10), "stream": streamed(3)})
    assert len(named) == 3
    assert rows(step["stream"] for step in named) == [[0, 1], [2], [0, 1]]


def test_streams_alone_go_on_for_ever_and_an_empty_one_is_refused() -> None:
    named = NamedLoaders({"stream": streamed(3, drop_last=True)})
    with pytest.raises(TypeError, match="length"):
        len(named)
    stream = iter(named)
    assert [next(stream)["stream"]["index"].tolist() for _ in range(3)] == [[0, 1]] * 3
    with pytest.raises(ValueError, match="no sample"):
        next(iter(NamedLoaders({"stream": streamed(0)})))


def test_a_timeout_does_not_matter_without_workers() -> None:
    assert loader(timeout=30, num_workers=0).timeout == 0


class Noise(IterableDataset[Any]):
    """What a worker draws, which nothing but its own seed decides."""

    def __iter__(self) -> Any:
        return iter([{"noise": torch.rand(1)} for _ in range(4)])


def seeded(number: int, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(number)


def test_a_generator_of_ones_own_seeds_the_workers() -> None:
    def noise(number: int, seed: int) -> list[float]:
        generator = {"_target_": f"{__name__}.seeded", "number": number}
        config = {"generator": generator, "num_workers": 1}
        built = build_loader(
            config, as_samples(Noise()), key="data.train.x", batch_size=4, seed=seed
        )
        values: list[float] = next(iter(built))["noise"].flatten().tolist()
        return values

    assert noise(1, seed=0) == noise(1, seed=7)
    assert noise(1, seed=0) != noise(2, seed=0)


@pytest.mark.parametrize(
    "target", [{"_target_": "builtins.dict"}, 5, {"_target_": f"{__name__}.seeded", "number": 1,
                                                  "device": "meta"}]
)  # fmt: skip
def test_generators_that_cannot_draw_are_reported(target: Any) -> None:
    with pytest.raises(ConfigError, match=r"data\.train\.x\.generator: found"):
        loader(generator=target)


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers_are_started_as_the_config_says(context: str) -> None:
    built = loader(num_workers=1, multiprocessing_context=context)
    assert built.multiprocessing_context.get_start_method() == context
    assert loader(multiprocessing_context=context).multiprocessing_context is None  # no workers


def test_memory_is_pinned_for_the_device_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not loader(pin_memory_device="cuda:1").pin_memory  # without a GPU nothing is
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    for device in (None, "cuda", "cuda:0"):
        assert loader(pin_memory_device=device).pin_memory
    with pytest.raises(ConfigError, match=r"x\.pin_memory_device: found 'cuda:1'.*needs cuda, or"):
        loader(pin_memory_device="cuda:1")


def test_what_cannot_be_called_for_a_worker_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"data\.train\.x\.worker_init_fn: found 3; needs"):
        loader(worker_init_fn=3)
