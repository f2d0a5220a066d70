"""Mode `repo`: a project's files end to end, each behind what it includes, as many in a document as the budget holds.

The order is that of DeepSeek-Coder (Guo et al. 2024, algorithm 1: dependencies first, in a cycle the file with the
fewest unmet ones first) with its ties broken by path, so that a project has one order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

from weft.cpp.document import Document, Span
from weft.cpp.project import Project, SourceFile
from weft.cpp.tokens import CountTokens

from .cut import cut_documents
from .includes import include_graph


def repo_documents(project: Project, *, max_tokens: int, count_tokens: CountTokens) -> Iterator[Document]:
    """Whole files in include order, a comment with its path before each; a file that exceeds the budget is cut."""
    files = {file.path: file for file in project.files if file.emitted}
    room: list[tuple[SourceFile, bytes]] = []
    total = 0
    for path in include_order(include_graph(files.values())):
        file = files[path]
        part = _headed(file)
        tokens = count_tokens(b"\n" + part)
        if total + tokens > max_tokens:
            yield from _documents(project, room, max_tokens, count_tokens)
            room, total = [], 0
        if tokens <= max_tokens:
            room.append((file, part))
            total += tokens
        else:
            head = _head(file)
            yield from cut_documents(
                file, project.name, "repo", max_tokens=max_tokens, count_tokens=count_tokens, head=head
            )
    yield from _documents(project, room, max_tokens, count_tokens)


def include_order(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """All files of an include graph, component after component by the first path, the included before the includers."""
    users: dict[str, list[str]] = {path: [] for path in graph}
    for path, included in graph.items():
        for other in included:
            users[other].append(path)
    order: list[str] = []
    placed: set[str] = set()
    for first in sorted(graph):
        if first not in placed:
            component = _component(first, graph, users)
            order += _ordered(component, graph, users)
            placed |= component
    return order


def _component(first: str, graph: Mapping[str, Sequence[str]], users: Mapping[str, Sequence[str]]) -> set[str]:
    found, waiting = {first}, [first]
    while waiting:
        path = waiting.pop()
        new = {*graph[path], *users[path]} - found
        found |= new
        waiting += new
    return found


def _ordered(component: set[str], graph: Mapping[str, Sequence[str]], users: Mapping[str, Sequence[str]]) -> list[str]:
    unmet = {path: len(graph[path]) for path in component}
    heap = [(count, path) for path, count in unmet.items()]
    heapq.heapify(heap)
    order = []
    done: set[str] = set()
    while heap:
        count, path = heapq.heappop(heap)
        if path in done or count != unmet[path]:
            continue  # it stands in the heap again, with a smaller count
        done.add(path)
        order.append(path)
        for user in users[path]:
            if user not in done:
                unmet[user] -= 1
                heapq.heappush(heap, (unmet[user], user))
    return order


def _headed(file: SourceFile) -> bytes:
    end = b"" if file.text.endswith(b"\n") else b"\n"
    return _head(file) + file.text + end


def _head(file: SourceFile) -> bytes:
    return b"// " + file.path.encode() + b"\n"


def _documents(
    project: Project, room: list[tuple[SourceFile, bytes]], max_tokens: int, count_tokens: CountTokens
) -> Iterator[Document]:
    """One document of these files; two where the sum of their counts was less than the count of the sum."""
    while room:
        taken = len(room)
        while (tokens := count_tokens(text := b"\n".join(part for _, part in room[:taken]))) > max_tokens:
            taken -= 1
        chosen = [file for file, _ in room[:taken]]
        room = room[taken:]
        yield Document(
            text,
            n_tokens=tokens,
            project=project.name,
            paths=tuple(file.path for file in chosen),
            spans=tuple(Span(file.path, 0, len(file.text)) for file in chosen),
            licences=tuple(sorted({name for file in chosen for name in file.licences})),
            mode="repo",
            kind="whole" if taken == 1 else "cluster",
        )
