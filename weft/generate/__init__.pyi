from .generation import generate as generate
from .generation import stream as stream
from .rows import InOrder as InOrder
from .sampling import Sampler as Sampler
from .text import TextStream as TextStream
from .writing import Piece as Piece
from .writing import write as write

__all__ = ["InOrder", "Piece", "Sampler", "TextStream", "generate", "stream", "write"]
