"""A C++ compiler as a judge: which include directories a project needs, and whether a text passes with them."""

from .cache import Verdicts
from .command import Compiler, Verdict, language_of
from .flags import Flags, project_flags

__all__ = ["Compiler", "Flags", "Verdict", "Verdicts", "language_of", "project_flags"]
