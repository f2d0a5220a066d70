"""Every measure of a corpus, on any folder of documents: `weft cpp check`."""

from .result import Result
from .run import MEASURES, CheckConfig, check
from .table import rows, show

__all__ = ["MEASURES", "CheckConfig", "Result", "check", "rows", "show"]
