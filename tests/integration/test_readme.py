"""Every `bash` and `python` block of the README and of the guides is run, in order, line by line.

Made short by these substitutions, and by nothing else: a preset NAME becomes NAME-tiny, `--train.steps N` becomes 3
steps, `--max-new-tokens N` becomes 8. Blocks marked `sh` are not run here: they hold the two commands that CI runs
itself (`make demo`, `make test`) and what would leave this machine.

The commands find a folder `my-project` of Python files, `articles.jsonl` (text in the field `body`),
`articles.parquet`, a C++ project `my-library`, and two of its files as rows of `sources.jsonl`.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.cpp.trees import project as cpp_project
from tests.integration.corpus import beginnings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]

SHORTER = (
    (r"(--preset|describe) ([a-z]\S*)", r"\1 \2-tiny"),
    (r"--train\.steps \d+", "--train.steps 3"),
    (r"--max-new-tokens \d+", "--max-new-tokens 8"),
)


@dataclass(frozen=True)
class Step:
    """One thing to run: a line of a bash block, or a whole python block."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}: {self.text.splitlines()[0][:60]}"


def steps_of(page: Path) -> list[Step]:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    found = []
    for language, text in blocks:
        if language == "python":
            found.append(Step(page, language, text))
        elif language == "bash":
            joined = text.replace("\\\n", " ")
            found += [Step(page, language, line) for line in joined.splitlines() if line and not line.startswith("#")]
    return found


def all_steps() -> list[Step]:
    """Page after page; a line that an earlier page has too is not run again."""
    seen: dict[str, Step] = {}
    for page in PAGES:
        for step in steps_of(page):
            seen.setdefault(step.text, step)
    return list(seen.values())


STEPS = all_steps()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each page, where its steps leave their results for each other, as they would for a reader."""
    made: dict[Path, Path] = {}

    def folder_for(page: Path) -> Path:
        if page not in made:
            made[page] = tmp_path_factory.mktemp(page.stem)
            fill(made[page])
        return made[page]

    return folder_for


def fill(folder: Path) -> None:
    texts = beginnings()
    project = folder / "my-project"
    project.mkdir()
    (project / "main.py").write_text("\n".join(texts[:4]), encoding="utf-8")
    for index, text in enumerate(texts[4:]):
        (project / f"module_{index}.py").write_text(text, encoding="utf-8")
    with (folder / "articles.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"title": str(i), "body": text}) + "\n" for i, text in enumerate(texts))
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), folder / "articles.parquet")
    sources = sorted(cpp_project(folder, "my-library", files=12).rglob("*.cpp"))[:2]
    lines = (json.dumps({"path": path.name, "text": path.read_text(encoding="utf-8")}) + "\n" for path in sources)
    (folder / "sources.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_it_runs_as_written(step, folders):
    folder = folders(step.page)
    if step.language == "python":
        command = [sys.executable, "-c", step.text]
    else:
        line = step.text
        for pattern, shorter in SHORTER:
            line = re.sub(pattern, shorter, line)
        command = ["bash", "-euo", "pipefail", "-c", line]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "WEFT_TUNING": str(folder / "tuning.json")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert done.stdout.strip() or done.stderr.strip(), "a command on the page that says nothing at all"


def test_the_readme_shows_the_two_commands_own_data_and_the_module():
    text = "\n".join(step.text for step in steps_of(ROOT / "README.md"))
    sources = ["my-project", "my-library", "articles.jsonl", "articles.parquet"]
    commands = ["weft train", "weft generate", "weft evaluate perplexity", "weft inspect", "NativeSparseAttention("]
    assert [words for words in [*sources, *commands, "weft cpp build"] if words not in text] == []
    made = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert [line.split("#")[0].strip() for line in "".join(made).splitlines()] == ["make demo", "make test"]
