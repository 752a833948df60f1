"""Samples that differ in their fields, from the data set to the fields of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from sesemi_like.config.structs import DataConfig, RunConfig
from sesemi_like.data import DataModule, Samples, registry
from sesemi_like.data.batches import Batch
from sesemi_like.data.checks.facts import inputs_of
from sesemi_like.data.checks.images import unsupported_images
from sesemi_like.data.conversion import as_samples
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.data.loading.partial_fields import PartialFields
from sesemi_like.data.readers import Draws
from sesemi_like.errors import BatchError, ConfigError, UnreadableSampleError
from sesemi_like.views.image_inputs import Inputs

TEXTS = ["a", None, "bcd", None, "ef", "g", "hijk", None, None, None]
HAS_IMAGE = [True, True, False, False, True, True, True, True, False, False]
COLLATION = {
    "_target_": "sesemi_like.data.FieldCollation",
    "fields": {
        "text": {
            "_target_": "sesemi_like.data.Tokens",
            "tokenizer": {"_target_": "sesemi_like.data.ByteTokenizer"},
        }
    },
}


def read(position: int) -> dict[str, Any]:
    """A sample of two vectors, one of them only there at times, and of a text or none."""
    sample: dict[str, Any] = {"noise": torch.rand(2)}
    if HAS_IMAGE[position]:
        sample["image"] = torch.full((1, 4, 4), position, dtype=torch.uint8)
    if TEXTS[position] is not None:
        sample["text"] = TEXTS[position]
    return sample


def pairs(count: int = 10, fields: tuple[str, ...] = ("text", "image")) -> Samples:
    return Samples(read, map(str, range(count)), fields=fields)


def partial(**fields: Any) -> PartialFields:
    return PartialFields(fields)


def test_partial_fields_are_always_there_with_their_rows() -> None:
    known = PartialFields.of(
        {"text": {"ids": torch.ones(2, 3), "raw": ["a", "b"]}, "text.row": torch.tensor([0, 2]),
         "index": torch.arange(3)}
    )  # fmt: skip
    assert set(known.empty) == {"text"}
    whole = known.complete({"text": {"ids": torch.ones(4, 5)}, "index": torch.arange(4)})
    assert whole["text.row"].tolist() == [0, 1, 2, 3]
    none = known.complete({"index": torch.arange(4)})
    assert none["text"]["ids"].shape == (0, 3) and none["text"]["raw"] == []
    assert none["text.row"].shape == (0,) and none["text.row"].dtype == torch.int64
    some = {"text": ["a"], "text.row": torch.tensor([1]), "index": torch.arange(2)}
    assert known.complete(some) == some


def test_batches_of_equal_fields_are_not_touched() -> None:
    batch = {"image": torch.ones(1), "index": torch.ones(1)}
    assert PartialFields().complete(batch) is batch


def test_a_field_that_turns_out_to_be_partial_must_be_declared() -> None:
    with pytest.raises(
        ValueError, match=r"lack the field 'text'.*must declare it in its attribute"
    ):
        PartialFields().complete({"text": ["a"], "text.row": torch.tensor([1])})


class Pairs(IterableDataset[Any]):
    fields = ("text", "image")

    def __iter__(self) -> Iterator[Any]:
        return (read(position) for position in range(10))


def module(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Any] = pairs, **loader: Any
) -> DataModule:
    monkeypatch.setitem(registry.BUILDERS, "pairs", lambda *_, **__: build())
    settings = {"dataset": {"name": "pairs"}, "num_workers": 0, **loader}
    data = OmegaConf.merge(OmegaConf.structured(DataConfig), {"train": {"pairs": settings}})
    assert isinstance(data, DictConfig)
    run = OmegaConf.structured(RunConfig(batch_size_per_gpu=4))
    return DataModule(data, run, world_size=1, seed=0, splits=("train",))


def steps(data: DataModule) -> Iterator[Batch]:
    trainer: Any = type("Trainer", (), {})()
    trainer.training, trainer.global_rank, trainer.current_epoch = True, 0, 0
    trainer.fit_loop = type("Loop", (), {"total_batch_idx": 0})()
    data.trainer = trainer
    for batch in data.train_dataloader():
        yield data.on_after_batch_transfer(batch, 0)


@pytest.mark.parametrize("build", [pairs, Pairs])
def test_a_step_has_what_was_promised_whatever_its_samples_have(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = module(monkeypatch, build, collate_fn=COLLATION)
    names = {"image", "image.row", "text", "text.row", "text.input_ids", "text.attention_mask",
             "noise", "index"}  # fmt: skip
    assert data.fields == {"pairs": names}
    batches = list(islice(steps(data), 3))  # a stream goes on for ever
    for start, batch in zip((0, 4, 8), batches, strict=True):
        assert set(batch) == {f"pairs.{name}" for name in names}
        rows = range(start, min(start + 4, 10))
        texts = [row - start for row in rows if TEXTS[row] is not None]
        assert batch["pairs.text.row"].tolist() == texts
        expected = [[1, *(ord(c) + 3 for c in TEXTS[row + start] or ""), 2] for row in texts]
        ids = batch["pairs.text.input_ids"]
        lengths = batch["pairs.text.attention_mask"].sum(1)
        found = [r[:n].tolist() for r, n in zip(ids, lengths, strict=True)]
        assert found == expected
        assert batch["pairs.text"]["input_ids"] is ids
        images = [row - start for row in rows if HAS_IMAGE[row]]
        assert batch["pairs.image.row"].tolist() == images
        values = batch["pairs.image"].flatten(1)[:, 0] * 255
        assert values.round().tolist() == [row + start for row in images]
    assert batches[2]["pairs.text"]["input_ids"].shape[0] == 0
    assert batches[2]["pairs.image"].shape == (0, 1, 4, 4)


def test_the_first_samples_have_each_declared_field_and_lack_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def late() -> Samples:
        """Only the last of the samples has a text, and all have an image."""

        def read(position: int) -> dict[str, Any]:
            text = {"text": torch.ones(3)} if position == 8 else {}
            return {"image": torch.ones(1, 2, 2), **text}

        return Samples(read, map(str, range(9)), fields=("text", "image"))

    batch = module(monkeypatch, late).sample_batches["train.pairs"]
    assert batch["index"].tolist() == [0, 1, 8, 0]
    assert batch["text.row"].tolist() == [2]
    assert batch["image.row"].tolist() == [0, 1, 2]
    assert batch["text"].shape == (1, 3)


def test_a_declared_field_that_no_sample_has_is_not_offered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = module(monkeypatch, lambda: pairs(fields=("depth", "text", "image")))
    assert "data.train.pairs.dataset: none of the first 1,000 samples has depth" in caplog.text
    assert data.fields["pairs"] == {"noise", "index", "text", "text.row", "image", "image.row"}
    assert len(list(islice(steps(data), 1))) == 1


def test_a_field_made_of_one_that_no_sample_has_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {"_target_": COLLATION["_target_"], "fields": {"words": "list", "text": "list"}}
    with pytest.raises(ConfigError) as caught:
        module(monkeypatch, collate_fn=wrong)
    (problem,) = caught.value.problems
    assert problem.key == "data.train.pairs.collate_fn.fields.words"
    assert problem.expected == "fields of its samples: image, index, noise, text"


def test_a_policy_of_another_kind_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"_target_": COLLATION["_target_"], "fields": {"text": "lists"}}
    with pytest.raises(ConfigError, match=r"collate_fn: .*fields\.text: found 'lists'; needs list"):
        module(monkeypatch, collate_fn=wrong)


class Masking:
    """Replaces each token at random; what it replaces is drawn from the batch's generator."""

    source = "noise"

    def __call__(self, values: list[Tensor], generator: torch.Generator) -> Tensor:
        stacked = torch.stack(values)
        return stacked.where(torch.rand(stacked.shape, generator=generator) > 0.5, 0)


def ragged_loader(workers: int = 0, context: str | None = None, **share: int) -> Any:
    fields = {**COLLATION["fields"], "masked": {"_target_": f"{__name__}.Masking"}}  # type: ignore[dict-item]
    config = {
        "collate_fn": {"_target_": COLLATION["_target_"], "fields": fields},
        "num_workers": workers,
        "shuffle": True,
        "multiprocessing_context": context,
    }
    known = PartialFields.of(
        {"text": {"input_ids": torch.ones(1, 2, dtype=torch.int64),
                  "attention_mask": torch.ones(1, 2, dtype=torch.int64)},
         "text.row": torch.ones(1), "image": torch.ones(1, 1, 4, 4), "image.row": torch.ones(1)}
    )  # fmt: skip
    return build_loader(config, pairs(), key="data.train.x", batch_size=3, seed=5, partial=known)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


class BatchReader:
    """Reads rows at once: stacked vectors, and texts where there are any."""

    draws = Draws.NOTHING

    def __call__(self, position: int) -> dict[str, Any]:
        text = TEXTS[position]
        return {"vector": torch.full((2,), position), **({} if text is None else {"text": text})}

    def take(self, positions: Any) -> dict[str, Any]:
        rows = [row for row, position in enumerate(positions) if TEXTS[position] is not None]
        texts = [TEXTS[positions[row]] for row in rows]
        vectors = torch.from_numpy(positions)[:, None].expand(-1, 2)
        return {"vector": vectors, "text": texts, "text.row": torch.tensor(rows)}


def test_rows_that_are_read_at_once_make_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once() -> Samples:
        return Samples(BatchReader(), map(str, range(10)), fields=("text",))

    def one_by_one() -> Samples:
        return Samples(BatchReader().__call__, map(str, range(10)), fields=("text",))

    assert at_once().reads_batches and not one_by_one().reads_batches
    length = {"_target_": f"{__name__}.lengths", "_partial_": True}
    fields = {**COLLATION["fields"], "vector": {"_target_": "sesemi_like.data.Padded"}}  # type: ignore[dict-item]
    for collation in (
        None,
        {"_target_": COLLATION["_target_"], "fields": fields},
        {"_target_": COLLATION["_target_"], "fields": {"text": length}},
    ):
        one = list(steps(module(monkeypatch, at_once, collate_fn=collation)))
        other = list(steps(module(monkeypatch, one_by_one, collate_fn=collation)))
        assert len(one) == len(other) == 3
        assert all(map(equal, one, other))


def lengths(values: list[str]) -> Tensor:
    return torch.tensor([len(value) for value in values])


@pytest.mark.parametrize(
    ("workers", "context"),
    [(2, "fork"), pytest.param(1, "spawn", marks=pytest.mark.slow)],
)
def test_ragged_batches_do_not_depend_on_workers(workers: int, context: str) -> None:
    here, there = list(ragged_loader()), list(ragged_loader(workers, context))
    assert len(here) == len(there) == 4
    assert all(map(equal, here, there))
    assert any("text.row" in batch for batch in here)


def test_ragged_batches_go_on_where_they_stopped() -> None:
    whole, resumed = ragged_loader(), ragged_loader()
    batches = list(whole)
    resumed.batch_sampler.set_pass(0, 2)
    assert all(map(equal, batches[2:], list(resumed)))
    whole.batch_sampler.set_pass(1)
    assert not all(map(equal, batches, list(whole)))


def test_masks_are_drawn_for_each_batch_anew() -> None:
    first, second, *_ = ragged_loader()
    for batch in (first, second):
        kept = batch["masked"] == batch["noise"]
        assert torch.equal(batch["masked"], batch["noise"].where(kept, 0))
    assert not torch.equal(first["masked"] == 0, second["masked"] == 0)


def test_tokens_of_train_data_are_made_for_evaluation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    data = module(monkeypatch, collate_fn=COLLATION)
    loader = data.loaders["train.pairs"].build_in_order(0, 5, 0, 1)
    first = next(iter(loader))
    assert first["text"]["input_ids"].shape == (3, 5)
    assert first["text.row"].tolist() == [0, 2, 4]


def test_a_tokenizer_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []

    def note(self: Any, max_length: int | None = None) -> None:
        built.append(self)
        self.max_length = max_length

    monkeypatch.setattr("sesemi_like.data.tokens.ByteTokenizer.__init__", note)
    data = module(monkeypatch, collate_fn=COLLATION)
    assert len(list(steps(data))) == 3
    assert len(built) == 1


class Vectors(Dataset[Any]):
    """Neither images nor targets, and a field that declares itself."""

    fields = ("text",)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"vector": torch.ones(3), **({"text": "a"} if row == 4 else {})}


def test_samples_need_neither_images_nor_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    data = module(monkeypatch, lambda: as_samples(Vectors()))
    assert data.fields == {"pairs": {"vector", "text", "text.row", "index"}}
    assert inputs_of(data) == Inputs()
    assert not unsupported_images(data.sample_batches)
    assert data.labels.classes is None and data.labels.num_classes is None
    assert [batch["pairs.text"] for batch in steps(data)] == [[], ["a"]]


def test_targets_that_some_samples_lack_are_declared_too() -> None:
    def read(position: int) -> dict[str, Any]:
        return {"target": position} if position % 2 else {}

    labeled = Samples(read, "abcd", fields=["target"])
    labeled.num_classes = 3
    assert [set(labeled[row]) for row in range(3)] == [{"index"}, {"index", "target"}, {"index"}]
    with pytest.raises(UnreadableSampleError, match="its target is 3"):
        labeled[3]
    undeclared = Samples(read, "abcd")
    undeclared.num_classes = 3
    with pytest.raises(UnreadableSampleError, match="it has no target"):
        undeclared[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_that_make_no_batch_are_said_in_a_sentence_from_any_process(workers: int) -> None:
    def read(position: int) -> dict[str, Any]:
        return {"sound": torch.zeros(1 + position // 4)}

    built = build_loader(
        {"num_workers": workers}, Samples(read, "abcdefg"), key="data.x", batch_size=5, seed=0
    )
    with pytest.raises(BatchError) as caught:
        list(built)
    assert str(caught.value).startswith("field 'sound': values of (1,), (2,) cannot be stacked; ")
    assert len(str(caught.value).splitlines()) == 1
