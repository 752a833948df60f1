from . import arrays, files, shards, tables
from .module import DataModule
from .registry import dataset, register_dataset
from .samples import Samples, StreamedSamples

__all__ = [
    "DataModule",
    "Samples",
    "StreamedSamples",
    "arrays",
    "dataset",
    "files",
    "register_dataset",
    "shards",
    "tables",
]
