"""Which methods are close to the best, whatever the data: from the published tables in the docs.

    python benchmarks/published.py

For each column of a table of docs/methods/results.md (a data set with so many labels) a method is
some points of error above the best one. Printed are the mean and the largest of these gaps, and the
mean rank, by table.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "methods" / "results.md"

Table = dict[str, list[float | None]]


def published(page: str) -> Iterator[tuple[str, Table]]:
    """Yields the title and the errors of each published table, in percent by method."""
    title, rows = "", []
    for line in [*page.split("## Measured here")[0].splitlines(), "### "]:
        if line.startswith("### "):
            if rows:
                yield title, {name: errors for name, *errors in rows}
            title, rows = line.removeprefix("### "), []
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows.append([cells[0].strip("`"), *map(_error, cells[1:])])


def _error(cell: str) -> float | None:
    return float(cell.split("±")[0]) if cell.strip("—") else None


def main() -> None:
    """Prints a table for each published one."""
    for title, table in published(PAGE.read_text()):
        gaps: dict[str, list[float]] = {name: [] for name in table}
        ranks: dict[str, list[int]] = {name: [] for name in table}
        for column in zip(*table.values(), strict=True):
            known = {n: error for n, error in zip(table, column, strict=True) if error is not None}
            best = min(known.values())
            for rank, name in enumerate(sorted(known, key=known.__getitem__), 1):
                gaps[name].append(known[name] - best)
                ranks[name].append(rank)
        print(f"{title}\n\n| method | mean gap | largest | mean rank |\n| --- | --- | --- | --- |")
        for name in sorted(table, key=lambda name: statistics.mean(gaps[name])):
            mean, most = statistics.mean(gaps[name]), max(gaps[name])
            print(f"| {name} | {mean:.2f} | {most:.1f} | {statistics.mean(ranks[name]):.1f} |")
        print()


if __name__ == "__main__":
    main()
