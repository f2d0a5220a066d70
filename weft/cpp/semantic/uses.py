"""What a translation unit's main file (or any file of a project) declares and refers to, with places in bytes."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..index import Name
from .clang import library


class Declared(NamedTuple):
    """A declaration of a symbol that other code can see: no parameter, no local variable.

    Args:
        usr: libclang's name of the symbol, the same in every translation unit.
        name: With its scopes, as `leveldb::DB::Open`.
        shown: With its parameters, as `Open(const Options &, const std::string &, DB **)`.
        kind: `function`, `type`, `variable`, `alias` or `enumerator`.
        path: Relative to the root.
        start: Byte where it begins.
        end: Past it.
        is_definition: With its body.
    """

    usr: str
    name: str
    shown: str
    kind: str
    path: str
    start: int
    end: int
    is_definition: bool


class Reference(NamedTuple):
    """A use of a symbol of the project.

    Args:
        usr: Of the symbol; of a template's instance, that of the template.
        path: Of the file that uses it, relative to the root.
        start: Byte where the use stands.
        is_call: True for a call of a function, a method, an operator or a constructor.
        user: USR of the function or type that encloses the use, empty at file level.
    """

    usr: str
    path: str
    start: int
    is_call: bool
    user: str


class Read(NamedTuple):
    """What a unit says of some files.

    Args:
        declared: Symbols of the project, in the order of the source.
        used: Uses of them, likewise.
        names: Path -> every name in that file whose meaning is known, be it a parameter or of another library. Names
            that depend on a template's arguments, that stand in a macro's body or arguments or in a group that is
            not compiled, and those of namespaces, are not among them.
    """

    declared: list[Declared]
    used: list[Reference]
    names: dict[str, set[Name]]


def references(unit: Any, root: Path, wanted: Callable[[str], bool] = lambda path: True) -> Read:
    """Declarations and uses in those files of the project that a unit reads.

    Args:
        unit: A translation unit of `Clang.parse`.
        root: Of the project; symbols declared elsewhere are left out.
        wanted: Is asked for each file's path, relative to the root, whether it shall be read.
    """
    reader = _Reader(root.resolve(), wanted)
    for cursor in unit.cursor.get_children():
        path = reader.path_of(cursor)
        if path is not None and wanted(path):
            reader.read(cursor, path)
    return Read(reader.declared, list(reader.used.values()), dict(reader.names))


class _Reader:
    def __init__(self, root: Path, wanted: Callable[[str], bool]) -> None:
        self._root = root
        self._wanted = wanted
        self._kinds = _kinds()
        self.declared: list[Declared] = []
        self.used: dict[tuple[str, int, str], Reference] = {}
        self.names: dict[str, set[Name]] = defaultdict(set)
        self._shown: dict[str, str | None] = {}

    def path_of(self, cursor: Any) -> str | None:
        """Relative path of the file in which a cursor stands, None outside the project."""
        file = cursor.location.file
        if file is None:
            return None
        if file.name not in self._shown:
            self._shown[file.name] = below(file.name, self._root)
        return self._shown[file.name]

    def read(self, top: Any, path: str) -> None:
        """A cursor and all below it, without recursion: expressions may be nested thousands deep."""
        stack: list[tuple[Any, str, bool]] = [(top, "", False)]
        while stack:
            cursor, user, local = stack.pop()
            kind = self._kinds.declarations.get(cursor.kind)
            inside = user
            if kind is not None and not local:
                usr = cursor.get_usr()
                if usr and cursor.spelling:
                    self._declare(cursor, usr, kind, path)
                    inside = usr if kind in ("function", "type") else user
            elif kind is not None or cursor.kind in self._kinds.silent:
                self._name(cursor, cursor, "", declares=True)
            elif cursor.kind in self._kinds.references:
                self._use(cursor, path, user)
            within = local or (kind == "function" and cursor.is_definition())
            stack.extend((child, inside, within) for child in reversed(list(cursor.get_children())))

    def _declare(self, cursor: Any, usr: str, kind: str, path: str) -> None:
        extent = cursor.extent
        place = (extent.start.offset, extent.end.offset)
        shown = cursor.displayname
        self.declared.append(Declared(usr, qualified(cursor), shown, kind, path, *place, cursor.is_definition()))
        self._name(cursor, cursor, usr, declares=True)
        template = self._kinds.template_of(cursor)
        if template is not None:  # who uses the template may mean this specialisation
            self._name(cursor, cursor, template.get_usr(), declares=True)

    def _use(self, cursor: Any, path: str, user: str) -> None:
        target = cursor.referenced
        if target is None:
            return
        if target.kind not in self._kinds.declarations:
            if target.kind in self._kinds.silent:
                self._name(cursor, target, "")
            return
        if self.path_of(target) is None or _is_local(target, self._kinds):
            self._name(cursor, target, "")
            return
        if _is_implicit(target, self._kinds):
            return
        template = self._kinds.template_of(target)
        usr = (template or target).get_usr()
        if usr:
            is_call = self._kinds.declarations[target.kind] == "function"
            # A call and the name in it are two cursors at one place.
            use = Reference(usr, path, cursor.location.offset, is_call, user)
            self.used.setdefault((path, use.start, usr), use)
            self._name(cursor, target, usr)
            named = target.underlying_typedef_type.get_declaration() if target.kind in self._kinds.aliases else None
            if named is not None and named.spelling == target.spelling:  # typedef struct X X;
                self._name(cursor, named, named.get_usr())

    def _name(self, cursor: Any, target: Any, usr: str, *, declares: bool = False) -> None:
        """Note the name of a symbol at the place of a cursor, which may be in a file that the read one includes."""
        path = self.path_of(cursor)
        if path is not None and (spelled := _spelled(target)):
            self.names[path].add(Name(cursor.location.offset, spelled, usr, declares))


class _Kinds(NamedTuple):
    declarations: dict[Any, str]
    silent: frozenset[Any]
    """Declares what only the code around it can see."""

    references: frozenset[Any]
    bodies: frozenset[Any]
    aliases: frozenset[Any]
    template_of: Callable[[Any], Any]


@functools.cache
def _kinds() -> _Kinds:
    cindex = library()
    kind = cindex.CursorKind
    declarations = {
        kind.FUNCTION_DECL: "function",
        kind.CXX_METHOD: "function",
        kind.CONSTRUCTOR: "function",
        kind.DESTRUCTOR: "function",
        kind.CONVERSION_FUNCTION: "function",
        kind.FUNCTION_TEMPLATE: "function",
        kind.CLASS_DECL: "type",
        kind.STRUCT_DECL: "type",
        kind.UNION_DECL: "type",
        kind.ENUM_DECL: "type",
        kind.CLASS_TEMPLATE: "type",
        kind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION: "type",
        kind.VAR_DECL: "variable",
        kind.FIELD_DECL: "variable",
        kind.TYPEDEF_DECL: "alias",
        kind.TYPE_ALIAS_DECL: "alias",
        kind.TYPE_ALIAS_TEMPLATE_DECL: "alias",
        kind.ENUM_CONSTANT_DECL: "enumerator",
    }
    silent = frozenset(
        {
            kind.PARM_DECL,
            kind.TEMPLATE_TYPE_PARAMETER,
            kind.TEMPLATE_NON_TYPE_PARAMETER,
            kind.TEMPLATE_TEMPLATE_PARAMETER,
        }
    )
    references = frozenset(
        {
            kind.DECL_REF_EXPR,
            kind.MEMBER_REF_EXPR,
            kind.TYPE_REF,
            kind.TEMPLATE_REF,
            kind.MEMBER_REF,
            kind.CALL_EXPR,
            kind.OVERLOADED_DECL_REF,
            kind.VARIABLE_REF,
        }
    )
    bodies = frozenset(each for each, what in declarations.items() if what == "function")
    aliases = frozenset({kind.TYPEDEF_DECL, kind.TYPE_ALIAS_DECL})
    return _Kinds(declarations, silent, references, bodies, aliases, cindex.conf.lib.clang_getSpecializedCursorTemplate)


def _is_local(cursor: Any, kinds: _Kinds) -> bool:
    """True for what is declared inside a function, members of its classes too."""
    parent = cursor.semantic_parent
    while parent is not None and kinds.declarations.get(parent.kind) == "type":
        parent = parent.semantic_parent
    return parent is not None and parent.kind in kinds.bodies


def _is_implicit(cursor: Any, kinds: _Kinds) -> bool:
    """True for a constructor or assignment that nobody wrote: it claims to stand where its class's name does."""
    if cursor.kind not in kinds.bodies or cursor.semantic_parent is None:
        return False
    return cursor.location.offset == cursor.semantic_parent.location.offset and cursor.location.offset > 0


def qualified(cursor: Any) -> str:
    """The name with its scopes; anonymous ones are left out."""
    names = [cursor.spelling]
    parent = cursor.semantic_parent
    while parent is not None and parent.semantic_parent is not None:
        if parent.spelling and not parent.spelling.startswith("("):
            names.append(parent.spelling)
        parent = parent.semantic_parent
    return "::".join(reversed(names))


def _spelled(cursor: Any) -> str:
    """A name as sources write it: `Map` for the constructor that libclang calls `Map<K, V>`, `operator==` in one."""
    name: str = cursor.spelling
    if name.startswith("operator"):
        return "".join(name.split())
    return name.partition("<")[0]


def below(name: str, root: Path) -> str | None:
    """The path relative to a project's root of a file that libclang names, None outside the project."""
    above = f"{root}/"
    plain = _plain(name if name.startswith("/") else above + name)
    return plain.removeprefix(above) if plain.startswith(above) else None


def _plain(path: str) -> str:
    """Without `/./` and `/x/../`, which include folders leave in libclang's names."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
