"""Draws how many times as fast as its peer each part is, from tables that benchmarks printed.

    python benchmarks/chart.py

Reads `benchmarks/results/*.txt` and writes `docs/images/benchmarks.svg`.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
# What is shown: the file, how the row begins, the number of the table, the label.
BARS = [
    ("training", "sesemi_like, its defaults", 0, "whole run, FixMatch WRN-28-2 (semilearn)"),
    ("validation", "sesemi_like, its defaults without", 0, "validation, one network (semilearn)"),
    ("views", "sesemi_like, its default of 2", 1, "weak and strong views, batch 448 (semilearn)"),
    ("images", "sesemi_like, first epoch", 0, "JPEG files, first epoch (torchvision)"),
    ("images", "sesemi_like, later epochs", 0, "JPEG files, later epochs (torchvision)"),
    ("pretext", "sesemi_like, its default", 0, "rotation batches (four-fold float ones)"),
    ("ema", "sesemi_like, EMATeacher", 0, "EMA update (semilearn)"),
]  # fmt: skip


def ratio_in(name: str, row: str, table: int) -> float:
    """Reads the ratio to the peer, the first column after the times."""
    text = (HERE / "results" / f"{name}.txt").read_text()
    found = [line for line in text.splitlines() if line.startswith(f"| {row}")]
    return float(found[table].split("|")[4])


def main() -> None:
    """Draws the chart."""
    ratios = [ratio_in(name, row, table) for name, row, table, _ in BARS][::-1]
    labels = [label for *_, label in BARS][::-1]
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    bars = axes.barh(labels, ratios, color="#3b6ea5")
    axes.bar_label(bars, [f"{ratio:.1f} x" for ratio in ratios], padding=4)
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(ratios) * 2)
    axes.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.set_xlabel("times as fast as the peer in brackets, two CPU cores")
    axes.spines[["top", "right"]].set_visible(False)
    path = HERE.parent / "docs" / "images" / "benchmarks.svg"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(path)


if __name__ == "__main__":
    main()
