"""A result on the screen and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of equal length, the head first, as aligned text."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    ruled = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in ruled
    )


def draw(result: dict[str, Any], file: Path) -> None:
    """Milliseconds of every contender over the lengths, both axes logarithmic, a panel for each pass.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture needs matplotlib; pip install 'weft-lm[train]'") from error

    entries = result["entries"]
    passes = list(dict.fromkeys(entry.get("pass", "") for entry in entries))
    figure = Figure(figsize=(5.5 * len(passes), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, pass_ in zip(figure.subplots(1, len(passes), squeeze=False)[0], passes, strict=True):
        lines: dict[str, list[tuple[int, float]]] = {}
        for entry in entries:
            if entry.get("pass", "") == pass_:
                for name, one in entry["contenders"].items():
                    lines.setdefault(name, []).append((entry["length"], one["median_ms"]))
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="ms", title=pass_)
        lengths = sorted({length for points in lines.values() for length, _ in points})
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.minorticks_off()
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize=7)
    figure.suptitle(f"{result['machine']}, {result['dtype']}, {result['date']}", fontsize=9)
    figure.savefig(file, dpi=120)
