"""The classifier's headline is named by the classifier alone."""

from pathlib import Path

import sesemi_like


def test_no_other_file_of_the_package_names_the_figure_of_the_classifier() -> None:
    package = Path(next(iter(sesemi_like.__path__)))
    naming = {
        str(path.relative_to(package)) for path in package.rglob("*.py")
        if "val/top1" in path.read_text()
    }  # fmt: skip
    assert naming == {"learners/classifier.py"}
