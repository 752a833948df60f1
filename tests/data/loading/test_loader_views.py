"""Views of fields that are no images: trees, texts, parts of some samples alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sesemi_like import views
from sesemi_like.data.loading.loader_views import LoaderViews


class Masked:
    """Hides the first token of each row."""

    source = "text"

    def __call__(self, text: Any, generator: torch.Generator) -> dict[str, Any]:
        hidden = text["ids"].clone()
        hidden[:, 0] = 0
        return {"tokens": {**text, "ids": hidden}, "labels": text["ids"]}


def doubled(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    return images * 2


def text_batch() -> dict[str, Any]:
    ids = torch.tensor([[5, 6], [7, 8]])
    return {"text": {"ids": ids, "raw": ["a", "b"]}, "index": torch.arange(3)}


def test_a_nested_field_is_offered_whole_and_by_its_parts() -> None:
    batch = text_batch()
    fields = LoaderViews("train.pairs", {}, seed=0).apply(batch)
    assert set(fields) == {"text", "text.ids", "text.raw", "index"}
    assert fields["text"] is batch["text"] and fields["text.ids"] is batch["text"]["ids"]


def test_a_view_of_a_tree_names_trees_and_belongs_to_the_rows_of_its_source() -> None:
    made = LoaderViews("train.pairs", {"masked": Masked()}, seed=0)
    fields = made.apply({**text_batch(), "text.row": torch.tensor([0, 2])})
    assert fields["masked.tokens"]["raw"] == ["a", "b"]
    assert fields["masked.tokens.ids"].tolist() == [[0, 6], [0, 8]]
    assert fields["masked.labels"].tolist() == [[5, 6], [7, 8]]
    assert fields["masked.row"].tolist() == [0, 2]
    assert "masked.row" not in made.apply(text_batch())


def test_a_view_may_be_made_from_a_part() -> None:
    view = views.Compose([doubled], source="text.ids")
    made = LoaderViews("train.pairs", {"twice": view}, seed=0)
    fields = made.apply({**text_batch(), "text.row": torch.tensor([1, 2])})
    assert fields["twice"].tolist() == [[10, 12], [14, 16]]
    assert fields["twice.row"].tolist() == [1, 2]


def test_only_what_is_needed_is_kept_of_a_tree() -> None:
    made = LoaderViews("train.pairs", {"masked": Masked()}, seed=0)
    needed = {"masked.tokens.ids", "text", "index"}
    made.keep(needed)
    assert set(made.of_step(text_batch(), 0, (0, 1))) == needed
    partial = {**text_batch(), "text.row": torch.tensor([0, 2])}
    assert set(made.of_step(partial, 0, (0, 1))) == needed | {"text.row", "masked.row"}


def test_integers_that_are_no_images_are_left_alone() -> None:
    codes = torch.randint(0, 255, (2, 3, 4, 4), dtype=torch.uint8)
    twice = views.Compose([doubled], source="codes")
    fields = LoaderViews("train.x", {"twice": twice}, seed=0).apply(
        {"codes": codes, "image": codes, "left_image": codes, "tree": {"image": codes}}
    )
    assert fields["codes"] is codes
    assert fields["tree.image"] is codes
    assert fields["twice"].dtype == torch.uint8
    assert torch.equal(fields["twice"], codes * 2)
    for name in ("image", "left_image"):
        assert torch.equal(fields[name], codes.float() / 255)


def test_views_of_images_are_images_whatever_their_names() -> None:
    def flipped(images: Tensor, generator: torch.Generator) -> Tensor:
        return images.flip(3)

    images = torch.randint(0, 255, (2, 3, 4, 4), dtype=torch.uint8)
    fields = LoaderViews("train.x", {"mirror": flipped}, seed=0).apply({"image": images})
    assert torch.equal(fields["mirror"], images.flip(3).float() / 255)


def test_a_view_of_a_missing_field_names_it_and_what_there_is() -> None:
    made = LoaderViews("train.x", {"deep": views.Compose([], source="depth")}, seed=0)
    with pytest.raises(LookupError, match=r"view 'deep' is made from 'depth'.*'image', 'index'"):
        made.apply({"image": torch.zeros(1, 3, 4, 4), "index": torch.zeros(1)})


def test_compositions_pass_other_fields_on_unchanged() -> None:
    seen: list[Any] = []

    def look(images: Any, generator: torch.Generator | None = None) -> Any:
        seen.append(images)
        return images

    tree = {"ids": torch.tensor([[1]])}
    assert views.Compose([look, look], source="text")(tree) is tree
    assert seen == [tree, tree]
    codes = torch.ones(1, 1, 2, 2, dtype=torch.uint8)
    assert views.Compose([look], source="codes")(codes) is codes
