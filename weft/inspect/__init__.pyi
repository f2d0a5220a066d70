from .collect import collect as collect
from .page import render as render
from .report import LayerView as LayerView
from .report import Report as Report
from .report import SparseView as SparseView

__all__ = ["LayerView", "Report", "SparseView", "collect", "render"]
