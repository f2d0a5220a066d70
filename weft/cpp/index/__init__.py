"""What a project's files hold and include."""

from .facts import FileFacts, Include, file_facts, is_guard, is_prelude
from .includes import IncludeIndex
from .meanings import Meanings, Name
from .project_index import ProjectIndex

__all__ = [
    "FileFacts",
    "Include",
    "IncludeIndex",
    "Meanings",
    "Name",
    "ProjectIndex",
    "file_facts",
    "is_guard",
    "is_prelude",
]
