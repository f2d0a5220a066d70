"""Real C++ trees for the corpus builder, fetched with apt into a folder; needs Debian or Ubuntu, no root.

    python benchmarks/cpp_projects.py FOLDER                     the trees of the benchmark
    python benchmarks/cpp_projects.py FOLDER --only re2 fmt      these alone
    python benchmarks/cpp_projects.py FOLDER --set unseen        trees not looked at while the builder was made

FOLDER/NAME is the tree as its upstream laid it out (no Debian patches), FOLDER/projects.json has the version of each,
FOLDER/.sysroot holds the headers that some of them need of others. A tree that is there already is not fetched again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS = 300
"""For one command of apt or dpkg."""


class Tree(NamedTuple):
    """Args:
    package: Debian's name; a source package, unless `parts` are given.
    parts: of a binary package, the folders and files that make the tree; they keep their paths below `usr/include`.
    flags: that the compiler needs beside include directories, relative to the tree.
    split: "judged" or "unseen".
    patched: with Debian's patches, because upstream's does not compile against the libraries of this Debian.
    """

    package: str
    parts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    split: str = "judged"
    patched: bool = False


TESTING = ("-isystem", "../.sysroot/usr/include")
"""Where Google's test and benchmark libraries and other trees' headers lie."""

BOOST_PARTS = ("algorithm", "optional", "container", "intrusive", "lexical_cast", "heap", "circular_buffer", "any.hpp")

TREES = {
    "leveldb": Tree("leveldb", flags=("-DLEVELDB_PLATFORM_POSIX=1", *TESTING)),
    "re2": Tree("re2", flags=TESTING),
    "fmt": Tree("fmtlib", flags=TESTING),
    "spdlog": Tree("spdlog", flags=("-DSPDLOG_FMT_EXTERNAL", *TESTING), patched=True),
    "catch2": Tree("catch2", flags=("-Iinclude", "-Isingle_include", "-Iprojects/SelfTest")),
    "abseil": Tree("abseil", flags=TESTING),
    "snappy": Tree("snappy", flags=TESTING),
    "tinyxml2": Tree("tinyxml2"),
    "pugixml": Tree("pugixml"),
    "protobuf": Tree("protobuf", flags=TESTING),
    "gtest": Tree("googletest"),
    "eigen": Tree("libeigen3-dev", parts=("eigen3/Eigen", "eigen3/unsupported")),
    "nlohmann-json": Tree("nlohmann-json3-dev", parts=("nlohmann",)),
    "range-v3": Tree("librange-v3-dev", parts=("range", "concepts", "meta", "std")),
    "boost": Tree("libboost-dev", parts=tuple(f"boost/{part}" for part in BOOST_PARTS), flags=TESTING),
    "simdjson": Tree("simdjson", split="unseen"),
    "yaml-cpp": Tree("yaml-cpp", flags=TESTING, split="unseen"),
    "jsoncpp": Tree("libjsoncpp", split="unseen"),
    "double-conversion": Tree("double-conversion", split="unseen"),
    "cli11": Tree("cli11", flags=TESTING, split="unseen"),
    "zeromq": Tree("zeromq3", flags=TESTING, split="unseen"),
}

SYSROOT = (
    "libgtest-dev",
    "libgmock-dev",
    "libbenchmark-dev",
    "libfmt-dev",
    "zlib1g-dev",
    "catch2",
    "libsnappy-dev",
    "libboost-dev",
)


class Apt:
    """apt with lists, sources and cache of its own below `folder`; the machine's are not touched."""

    def __init__(self, folder: Path) -> None:
        parts = folder / "sources"
        for needed in (parts, folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
            needed.mkdir(parents=True, exist_ok=True)
        copy_sources(Path("/etc/apt"), parts)
        self.options = [
            *("-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={parts}"),
            *("-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"),
            *("-o", "APT::Sandbox::User="),
        ]
        self.run("apt-get", "update", folder=folder)

    def run(self, tool: str, *words: str, folder: Path) -> str:
        return run([tool, "-q", *self.options, *words], folder)

    def source(self, package: str, folder: Path, *, patched: bool) -> tuple[Path, str]:
        """The unpacked source package and its version."""
        self.run("apt-get", "source", "--download-only", package, folder=folder)
        described = next(folder.glob("*.dsc"))
        without = [] if patched else ["--skip-patches"]
        run(["dpkg-source", "--no-check", *without, "-x", described.name, "tree"], folder)
        for own in ("debian", ".pc"):
            shutil.rmtree(folder / "tree" / own, ignore_errors=True)
        return folder / "tree", field(described.read_text(encoding="utf-8"), "Version")

    def binary(self, package: str, folder: Path) -> tuple[Path, str]:
        """What the package installs, below a folder, and its version."""
        self.run("apt-get", "download", package, folder=folder)
        archive = next(folder.glob("*.deb"))
        depends = run(["dpkg-deb", "-f", archive.name, "Depends"], folder)
        version = run(["dpkg-deb", "-f", archive.name, "Version"], folder).strip()
        run(["dpkg-deb", "-x", archive.name, "tree"], folder)
        if (versioned := re.match(r"(libboost[\d.]+-dev)", depends)) and package == "libboost-dev":
            (folder / "real").mkdir()
            return self.binary(versioned[1], folder / "real")
        return folder / "tree", version


def copy_sources(etc: Path, parts: Path) -> None:
    """Apt's sources files, with source packages switched on, into `parts`."""
    for file in sorted([*etc.glob("sources.list"), *etc.glob("sources.list.d/*")]):
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".sources":
            text = re.sub(r"(?m)^Types:.*$", "Types: deb deb-src", text)
        elif file.suffix == ".list":
            binary = [line for line in text.splitlines() if line.startswith("deb ")]
            text = "\n".join([*binary, *(f"deb-src {line[4:]}" for line in binary), ""])
        else:
            continue
        (parts / file.name).write_text(text, encoding="utf-8")


def run(words: Sequence[str], folder: Path) -> str:
    """Its output. Raises RuntimeError with the last lines that it wrote if it fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(words)}` failed:\n" + "\n".join(done.stderr.strip().splitlines()[-8:]))
    return done.stdout


def field(text: str, name: str) -> str:
    """A field of Debian's control files."""
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{name}:"))


def upstream(version: str) -> str:
    """Debian's version without its epoch, its revision and its repacking mark: 1:1.10.0+ds-0.4 -> 1.10.0."""
    return re.sub(r"[+.~]?(dfsg|ds)\d*$", "", version.split(":", 1)[-1].rsplit("-", 1)[0])


def fetch(name: str, tree: Tree, apt: Apt, out: Path) -> dict[str, str]:
    """Puts the tree at out/name; what is known of it."""
    work = out / ".work" / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if tree.parts:
        whole, version = apt.binary(tree.package, work)
        place = work / "picked"
        for part in tree.parts:
            keep(whole / "usr" / "include" / part, place / part.removeprefix("eigen3/"))
    else:
        place, version = apt.source(tree.package, work, patched=tree.patched)
    if tree.flags:
        (place / "compile_flags.txt").write_text("\n".join(tree.flags) + "\n", encoding="utf-8")
    shutil.rmtree(out / name, ignore_errors=True)
    place.rename(out / name)
    shutil.rmtree(work)
    return {"version": upstream(version), "package": f"{tree.package} {version}", "set": tree.split}


def keep(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def fill_sysroot(packages: Iterable[str], apt: Apt, out: Path) -> None:
    """Headers of libraries that the trees use, at out/.sysroot/usr/include."""
    for package in packages:
        done = out / ".sysroot" / "packages" / package
        if done.exists():
            continue
        work = out / ".work" / package
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        whole, version = apt.binary(package, work)
        shutil.copytree(whole / "usr" / "include", out / ".sysroot" / "usr" / "include", dirs_exist_ok=True)
        for own in (out / ".sysroot" / "usr" / "include").glob("*-linux-gnu"):
            shutil.copytree(own, own.parent, dirs_exist_ok=True)
        done.parent.mkdir(exist_ok=True)
        done.write_text(version + "\n", encoding="utf-8")
        shutil.rmtree(work)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the trees go")
    parser.add_argument("--only", nargs="+", choices=list(TREES), metavar="NAME", help=f"of {', '.join(TREES)}")
    parser.add_argument("--set", choices=["judged", "unseen", "all"], default="judged", help="which trees")
    args = parser.parse_args(words)
    out = args.folder.resolve()
    (out / ".apt").mkdir(parents=True, exist_ok=True)
    wanted = args.only or [name for name, tree in TREES.items() if args.set in (tree.split, "all")]
    record = out / "projects.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    missing = [name for name in wanted if name not in known or not (out / name).is_dir()]
    failed = []
    if missing:
        apt = Apt(out / ".apt")
        fill_sysroot(SYSROOT, apt, out)
        for name in missing:
            try:
                known[name] = fetch(name, TREES[name], apt, out)
            except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:  # one that is not there stops no other
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            temporary = record.with_suffix(".tmp")
            temporary.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n", encoding="utf-8")
            temporary.replace(record)
            print(f"{name}: {known[name]['version']}", flush=True)
        shutil.rmtree(out / ".work", ignore_errors=True)
    print(f"{out}: {len(wanted) - len(failed)} of {len(wanted)} trees")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
