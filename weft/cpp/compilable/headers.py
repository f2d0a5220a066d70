"""Which headers give way to their declarations in documents of the files that include them, and what those are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from ..index import ProjectIndex
from .closure import Selection, again
from .forms import Form
from .leaves import PLACES, Leaf, Leaves

_KEPT = 256
"""Files whose leaves are kept from document to document, so that a project's size is none of the memory's."""


@dataclass
class Headers:
    """Of a project.

    Args:
        index: Of the project.
        read: The leaves of a file, with places from the given one on.
    """

    index: ProjectIndex
    read: Callable[[str, int], Leaves]

    def reached(self, paths: Sequence[str], most: int) -> tuple[set[str], set[str]]:
        """Headers to take declarations of, and those that includes bring.

        The first are guarded and stand at the end of unconditional includes, or stand in a circle with such files; the
        second is what conditional includes and unguarded files reach. None of the first may be among the second, or it
        would stand there twice.

        Args:
            paths: Files whose includes are followed.
            most: Includes followed from them.
        """
        found: set[str] = set(paths)
        kept: set[str] = set()
        edge = list(paths)
        depth = 0  # at `most` only what leads back to those that were found
        while edge:
            following = []
            for path in edge:
                circle = self.index.circle(path)
                for target, taken in self._included(path):
                    if not taken and target not in circle:
                        kept |= self.index.reach(target)
                    elif target not in found and (depth < most or target in circle or self.index.reach(target) & found):
                        found.add(target)
                        following.append(target)
                    elif target not in found:
                        kept |= self.index.reach(target)
            edge = following
            depth += 1
        return found - kept - set(paths), kept

    @functools.cached_property
    def _lines(self) -> dict[str, list[tuple[str, bool]]]:
        return {}

    def _included(self, path: str) -> list[tuple[str, bool]]:
        """Files that it includes, and whether their declarations may stand instead."""
        if path not in self._lines:
            facts = self.index.facts
            lines = zip(facts[path].includes, self.index.targets[path], strict=True)
            self._lines[path] = [
                (target, line.unconditional and facts[target].guard is not None)
                for line, target in lines
                if target is not None
            ]
        return self._lines[path]

    def take(
        self, selection: Selection, path: str, absorbed: Set[str], kept: Set[str], *, standing: Set[str], budget: int
    ) -> bool:
        """Give a selection the leaves of a file and its headers, and take what stands of headers in any case.

        Args:
            selection: Of leaves that are its own; changed even where there is no room.
            path: The file.
            absorbed: Its headers that give way.
            kept: Those that includes bring.
            standing: Files whose leaves the selection has already.
            budget: Tokens of the selection.

        Returns:
            False if there is no room.
        """
        selection.included.update(dict.fromkeys(absorbed, -1))
        for other in sorted((absorbed | {path}) - standing, key=self.index.position.__getitem__):
            leaves = self.leaves(other)
            selection.leaves.include(leaves)
            sticky = leaves.sticky if other == path else self._bringing(other, selection)
            form = Form.FULL if other == path else Form.SHORT
            places = [leaf.place for leaf in sticky]
            if not selection.add(places, budget=budget, care="lean", form=form, with_tied=False):
                return False
        return selection.add(self._unnamed(path, absorbed, kept, selection), budget=budget, form=Form.SHORT)

    def _bringing(self, path: str, selection: Selection) -> list[Leaf]:
        """What stands of a header in any case, but for includes of what is there and the macro that guards the rest."""
        group = self.index.facts[path].guard_item
        guard = None if group is None else next(child for child in group.children if child.kind == "macro")
        sticky = (leaf for leaf in self.leaves(path).sticky if leaf.item is not guard)
        return [leaf for leaf in sticky if not again(leaf, selection.included)]

    def _unnamed(self, path: str, absorbed: Set[str], kept: Set[str], selection: Selection) -> list[int]:
        """Places in headers of what a file may use without naming it.

        These are specialisations in those that it includes itself, and classes that other files' text has announced so
        far, or headers that stay included.
        """
        standing = (selection.leaves.all[place] for place in selection.forms)
        announced = {name for leaf in standing if leaf.item.kind == "forward" and leaf.text for name in leaf.defines}
        elsewhere = frozenset().union(*(self.index.facts[other].announces for other in kept))
        direct = set(self.index.direct(path))
        found = []
        for other in sorted(absorbed):
            leaves = self.leaves(other)
            found += [leaf.place for leaf in leaves.unnamed] if other in direct else []
            names = (announced | elsewhere if other in direct else elsewhere) & leaves.definers.keys()
            found += [place for name in sorted(names) for place in leaves.definers[name] if leaves.all[place].is_class]
        return found

    @functools.cached_property
    def _known(self) -> dict[str, Leaves]:
        return {}

    def leaves(self, path: str) -> Leaves:
        """The leaves of a file, placed by the order of the files."""
        found = self._known.pop(path, None)
        if found is None:
            found = self.read(path, self.index.position[path] * PLACES)
        self._known[path] = found  # the last one is the youngest
        return found

    def forget(self) -> None:
        """Drop the leaves of files that were not asked for lately; never within a document, whose scopes they hold."""
        for path in list(self._known)[:-_KEPT]:
            del self._known[path]
