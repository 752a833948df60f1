"""The end of a run: the file, and what the terminal shows of it, by hand."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from sesemi_like.report import print_opening, print_summary, write_summary

LAST = {"network": "ema", "checkpoint": "last", "path": "last.ckpt", "step": 1200, "images": 1397}
CONTENT = {
    "steps": 1200, "seconds": 61.4, "folder": "runs/pets/x",
    "judged_by": {"name": "val/top1", "direction": "max", "words": "top-1"},
    "metrics": {"test/top1": 0.81, "val/top1": 0.78, "val/model/top1": 0.75, "val/ema/top1": 0.78},
    "measured": {
        "test/top1": {"network": "ema", "checkpoint": "best", "path": "epoch=3-step=800.ckpt",
                      "step": 800, "images": 360, "interval": [0.7663, 0.8471]},
        "val/top1": {**LAST, "interval": [0.7575, 0.8009]},
        "val/model/top1": {**LAST, "network": "model"},
    },
    "best": {"monitor": "val/top1", "score": 0.79, "path": "epoch=3-step=800.ckpt"},
    "skipped": {"unlabeled": ["a.jpg", "b.jpg"]},
}  # fmt: skip


def text_of(function: Any, *args: Any, width: int = 80) -> Any:
    output = io.StringIO()
    function(*args, console=Console(file=output, width=width))
    return output.getvalue()


def test_the_file_has_everything_and_the_versions(tmp_path: Path) -> None:
    write_summary(tmp_path / "summary.json", CONTENT)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert {key: found[key] for key in CONTENT} == CONTENT
    assert set(found["versions"]) == {"python", "torch", "pytorch_lightning", "sesemi_like"}


def test_classes_that_the_data_do_not_name_are_numbered() -> None:
    confusion = np.zeros((4, 4), dtype=np.int64)
    confusion[0, 3] = 2
    assert "cat as 3 (2)" in text_of(print_summary, CONTENT, confusion, ["cat", "dog"])


def test_shows_accuracies_worst_classes_and_confusions() -> None:
    matrix = np.array([[8, 2, 0], [0, 10, 0], [1, 3, 6]])
    text = text_of(print_summary, CONTENT, matrix, ["cat", "dog", "eel"])
    assert max(len(line) for line in text.splitlines()) <= 80
    squeezed = " ".join(text.replace("│", " ").split())
    assert "test top-1 0.810 (95 %: 0.766-0.847) from 360 images" in squeezed
    assert "test weights best checkpoint (step 800), validation top-1 0.790" in squeezed
    assert "validation top-1 0.780 (95 %: 0.757-0.801) from 1,397 images" in squeezed
    assert "validation without EMA 0.750" in squeezed
    assert "validation weights last checkpoint (step 1,200)" in squeezed
    assert "eel 0.60, cat 0.80, dog 1.00" in squeezed
    assert "eel as dog (3), cat as dog (2), eel as cat (1)" in squeezed
    assert "unreadable in unlabeled 2, skipped; the first is a.jpg" in squeezed
    assert "1,200, 61 s" in squeezed
    assert text.rstrip().endswith("Everything is in runs/pets/x")


@pytest.mark.parametrize("width", [80, 120])
def test_lines_are_broken_between_pairs_alone(width: int) -> None:
    names = ["golden retriever", "old english sheepdog", "rhodesian ridgeback", "beagle"]
    matrix = np.array([[8, 2, 0, 5], [0, 10, 0, 0], [1, 9, 6, 0], [0, 0, 0, 3]])
    text = text_of(print_summary, CONTENT, matrix, names, width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    for pair in ("rhodesian ridgeback as old english sheepdog (9)",
                 "golden retriever as beagle (5)", "golden retriever 0.53"):  # fmt: skip
        assert pair in text


def test_what_a_person_has_named_is_shown_as_it_is() -> None:
    matrix = np.array([[1, 1], [0, 1]])
    content = {**CONTENT, "folder": "runs/[red]/:smile:", "skipped": {"a[b]": ["[bold]x.jpg"]}}
    text = text_of(print_summary, content, matrix, ["[blue]", ":cat:"])
    for part in ("runs/[red]/:smile:", "a[b]", "[bold]x.jpg", "[blue] as :cat: (1)"):
        assert part in text
    text = text_of(print_opening, "[red]", {"[b]": 4}, {}, "1 step", "1 x cpu")
    assert text == "[red]: 1 step on 1 x cpu; samples: [b] 4\n"


def test_weights_that_no_checkpoint_holds_and_given_ones() -> None:
    for checkpoint, path, told in ((None, None, "held in memory"), ("given", "x.ckpt", "x.ckpt")):
        entry = {"network": "model", "checkpoint": checkpoint, "path": path, "step": None}
        content = {**CONTENT, "measured": {"test/top1": entry}, "metrics": {"test/top1": 0.5}}
        squeezed = " ".join(text_of(print_summary, content).replace("│", " ").split())
        assert f"weights {told} unreadable" in squeezed
        assert "test top-1 0.500" in squeezed


def test_the_end_of_a_long_path_is_shown_which_says_which_checkpoint_it_is() -> None:
    path = f"/{'folder/' * 15}epoch=3-step=48.ckpt"
    entry = {"network": "model", "checkpoint": "given", "path": path, "step": None}
    content = {**CONTENT, "measured": {"test/top1": entry}, "metrics": {"test/top1": 0.5}}
    text = text_of(print_summary, content)
    cells = [line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│")]
    assert path in "".join(cells)
    assert max(len(line) for line in text.splitlines()) <= 80


def test_a_class_without_samples_is_left_out() -> None:
    text = text_of(print_summary, {**CONTENT, "skipped": {}}, np.array([[0, 0], [1, 4]]))
    assert "1 0.80" in text
    assert "0 0.00" not in text
    assert "1 as 0 (1)" in text


def test_the_opening_has_data_length_and_devices() -> None:
    sizes, labels = {"supervised": 40, "unlabeled": 1437, "val": 10}, {
        "supervised": 40, "unlabeled": 0}  # fmt: skip
    text = text_of(print_opening, "pets", sizes, labels, "600 steps", "1 x cpu")
    assert text == ("pets: 600 steps on 1 x cpu; samples: supervised 40, "
                    "unlabeled 1,437 (0 labeled), val 10\n")  # fmt: skip
    text = text_of(print_opening, "pets", sizes, labels, "3 steps", "1 x cpu",
                   {"unlabeled": 12, "val": 1})  # fmt: skip
    assert " ".join(text.split()).endswith(
        "unlabeled 1,437 (0 labeled, 12 unreadable), val 10 (1 unreadable)")  # fmt: skip


def test_one_checkpoint_is_named_once() -> None:
    measured = {name: LAST for name in ("test/top1", "val/top1")}
    text = text_of(print_summary, {**CONTENT, "measured": measured})
    assert text.count("last checkpoint") == 1
    assert "status" not in text
    stopped = text_of(print_summary, {**CONTENT, "status": "stopped: max_time"})
    assert "stopped: max_time" in stopped
    assert "│ weights " in text


def test_the_opening_is_broken_between_loaders_on_a_terminal() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    sizes = {"supervised": 40, "unlabeled": 1437, "val": 1397, "test": 360}
    print_opening("quickstart", sizes, {}, "600 steps", "1 x cpu", console=console)
    assert output.getvalue() == (
        "quickstart: 600 steps on 1 x cpu; samples: supervised 40, unlabeled 1,437,\n"
        "val 1,397, test 360\n"
    )


def test_streams_alone_have_no_sizes() -> None:
    text = text_of(print_opening, "web", {}, {}, "9 steps", "1 x cpu")
    assert text == "web: 9 steps on 1 x cpu; samples: streamed\n"
