"""What the names in a project's files mean, for the documents made of them."""

from __future__ import annotations

from ..index import Meanings
from ..project import Project
from .index import SemanticIndex


def meanings(index: SemanticIndex, project: Project) -> dict[str, Meanings]:
    """Path -> the meanings of its names; files that libclang could not read are left out.

    Args:
        index: Of the project.
        project: With the texts that were read.
    """
    texts = {file.path: file.text for file in project.files}
    return {path: Meanings(file.names, texts[path]) for path, file in index.files.items() if path not in index.unread}
