from .module import DataModule
from .registry import dataset, register_dataset
from .samples import Samples
from .sources import csv_tables, image_files, in_memory, shards, tables
from .streams import StreamedSamples

__all__ = [
    "DataModule",
    "Samples",
    "StreamedSamples",
    "csv_tables",
    "dataset",
    "image_files",
    "in_memory",
    "register_dataset",
    "shards",
    "tables",
]
