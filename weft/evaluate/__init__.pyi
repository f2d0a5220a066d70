from .compression import Compression as Compression
from .compression import xz as xz
from .perplexity import Perplexity as Perplexity
from .perplexity import perplexity as perplexity

__all__ = ["Compression", "Perplexity", "perplexity", "xz"]
