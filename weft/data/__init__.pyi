from .adoption import Adoption as Adoption
from .bpe import train_bpe as train_bpe
from .build import Data as Data
from .build import build_data as build_data
from .config import DataConfig as DataConfig
from .corpus import Corpus as Corpus
from .corpus import held_out_documents as held_out_documents
from .document import DataError as DataError
from .document import Document as Document
from .document import Problems as Problems
from .document import Source as Source
from .follow import FollowDataset as FollowDataset
from .loader import Batch as Batch
from .loader import Loader as Loader
from .packing import EndOfData as EndOfData
from .packing import PackedDataset as PackedDataset
from .packing import Row as Row
from .report import Report as Report
from .shards import ShardFolder as ShardFolder
from .sources import open_source as open_source
from .store import StoreWriter as StoreWriter
from .store import TokenStore as TokenStore
from .tokenizer import ByteTokenizer as ByteTokenizer
from .tokenizer import LibraryTokenizer as LibraryTokenizer
from .tokenizer import Tokenizer as Tokenizer
from .tokenizer import load_tokenizer as load_tokenizer

__all__ = [
    "Adoption",
    "Batch",
    "ByteTokenizer",
    "Corpus",
    "Data",
    "DataConfig",
    "DataError",
    "Document",
    "EndOfData",
    "FollowDataset",
    "LibraryTokenizer",
    "Loader",
    "PackedDataset",
    "Problems",
    "Report",
    "Row",
    "ShardFolder",
    "Source",
    "StoreWriter",
    "TokenStore",
    "Tokenizer",
    "build_data",
    "held_out_documents",
    "load_tokenizer",
    "open_source",
    "train_bpe",
]
