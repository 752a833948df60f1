from .folder import make_run_folder, metrics_loggers
from .images import TensorBoardImages
from .library_messages import quiet_libraries
from .progress import ProgressBar
from .summary import print_opening, print_summary, write_summary

__all__ = [
    "ProgressBar",
    "TensorBoardImages",
    "make_run_folder",
    "metrics_loggers",
    "print_opening",
    "print_summary",
    "quiet_libraries",
    "write_summary",
]
