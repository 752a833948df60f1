from .folder import make_run_folder, metrics_loggers
from .pictures import TensorBoardPictures
from .progress import ProgressBar
from .summary import print_summary, write_summary

__all__ = [
    "ProgressBar",
    "TensorBoardPictures",
    "make_run_folder",
    "metrics_loggers",
    "print_summary",
    "write_summary",
]
