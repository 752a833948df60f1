from .field_collation import FieldCollation, Padded
from .module import DataModule
from .registry import dataset, register_dataset
from .samples import Samples
from .sources import csv_tables, image_files, in_memory, shards, tables
from .streams import StreamedSamples
from .tokens import ByteTokenizer, Tokens

__all__ = [
    "ByteTokenizer",
    "DataModule",
    "FieldCollation",
    "Padded",
    "Samples",
    "StreamedSamples",
    "Tokens",
    "csv_tables",
    "dataset",
    "image_files",
    "in_memory",
    "register_dataset",
    "shards",
    "tables",
]
