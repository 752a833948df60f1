"""The end of a run: the file, and what the terminal shows of it, by hand."""

import io
import json

import numpy as np
from rich.console import Console

from sesemi_like.report import print_opening, print_summary, write_summary

CONTENT = {
    "steps": 1200, "seconds": 61.4, "folder": "runs/pets/x",
    "metrics": {"test/top1": 0.81, "val/top1": 0.79, "val/model/top1": 0.75, "val/ema/top1": 0.79},
    "skipped": {"unlabeled": ["a.jpg", "b.jpg"]},
}  # fmt: skip


def text_of(function, *args, width=80):
    output = io.StringIO()
    function(*args, console=Console(file=output, width=width))
    return output.getvalue()


def test_the_file_has_everything_and_the_versions(tmp_path):
    write_summary(tmp_path / "summary.json", CONTENT)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert {key: found[key] for key in CONTENT} == CONTENT
    assert set(found["versions"]) == {"python", "torch", "pytorch_lightning", "sesemi_like"}


def test_shows_accuracies_worst_classes_and_confusions():
    matrix = np.array([[8, 2, 0], [0, 10, 0], [1, 3, 6]])
    text = text_of(print_summary, CONTENT, matrix, ["cat", "dog", "eel"])
    assert max(len(line) for line in text.splitlines()) <= 80
    squeezed = " ".join(text.replace("│", " ").split())
    assert "test top-1 0.810" in squeezed
    assert "validation top-1 of its EMA 0.790" in squeezed
    assert "eel 0.60, cat 0.80, dog 1.00" in squeezed
    assert "eel as dog (3), cat as dog (2), eel as cat (1)" in squeezed
    assert "unreadable in unlabeled 2, skipped; the first is a.jpg" in squeezed
    assert "1,200, 61 s" in squeezed
    assert text.rstrip().endswith("Everything is in runs/pets/x")


def test_a_class_without_samples_is_left_out():
    text = text_of(print_summary, {**CONTENT, "skipped": {}}, np.array([[0, 0], [1, 4]]))
    assert "1 0.80" in text
    assert "0 0.00" not in text
    assert "1 as 0 (1)" in text


def test_the_opening_tells_data_length_and_devices():
    sizes, labels = {"supervised": 40, "unlabeled": 1437, "val": 10}, {
        "supervised": 40, "unlabeled": 0}  # fmt: skip
    text = text_of(print_opening, "pets", sizes, labels, "600 steps", "1 x cpu")
    assert text == ("pets: 600 steps on 1 x cpu; samples: supervised 40, "
                    "unlabeled 1,437 (0 labelled), val 10\n")  # fmt: skip
