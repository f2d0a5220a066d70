"""A description as text for people."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weft.model.describe import Description, LayerDescription
from weft.model.pattern import spell


def as_table(description: Description) -> RenderableType:
    """What `weft model describe` prints: a headline, the layers, the parameters by part, the cost by context."""
    config = description.config
    total = description.parameters["total"]
    headline = Text(f"{description.name}: {total:,} parameters ({_short(total)})", style="bold")
    shape = Text(
        f"width {config.hidden_size:,}, MLP {config.mlp} of {config.mlp_width:,}, vocabulary {config.vocab_size:,}"
        f"{' (tied)' if config.tie_embeddings else ''}, context {config.max_position_embeddings:,}\n"
        f"{config.num_layers} layers: {spell(layer.name for layer in description.layers)}"
    )
    return Group(headline, shape, _layers(description), _parts(description), _costs(description))


def _layers(description: Description) -> Table:
    """A row for each entry of the pattern."""
    table = _table(f"each layer (cache in {description.cache_dtype})")
    for column in ("entry", "kind"):
        table.add_column(column)
    for column in ("layers", "attention", "MLP", "cache B/token", "cache B fixed"):
        table.add_column(column, justify="right")
    for layer in _entries(description):
        table.add_row(
            layer.name,
            layer.kind,
            str(sum(other.name == layer.name for other in description.layers)),
            f"{layer.attention_parameters:,}",
            f"{layer.mlp_parameters:,}",
            f"{layer.cache_bytes_per_token:,.0f}",
            f"{layer.cache_bytes_constant:,}",
        )
    table.add_section()
    per_token, constant = description.cache_bytes_per_token, description.cache_bytes_constant
    table.add_row("all", "", str(len(description.layers)), "", "", f"{per_token:,.0f}", f"{constant:,}")
    return table


def _parts(description: Description) -> Table:
    table = _table("parameters")
    table.add_column("part")
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    total = description.parameters["total"]
    for part, count in description.parameters.items():
        if part == "total":
            table.add_section()
        table.add_row(part, f"{count:,}", f"{count / total:.1%}")
    return table


def _costs(description: Description) -> Table:
    contexts = tuple(description.flops_per_token)
    table = _table("by context")
    table.add_column("tokens")
    for context in contexts:
        table.add_column(f"{context // 1024}k" if context % 1024 == 0 else f"{context:,}", justify="right")
    for layer in _entries(description):
        table.add_row(f"entries read by a query of {layer.name}", *(f"{layer.reads[S]:,}" for S in contexts))
    table.add_section()
    table.add_row("forward FLOPs a token", *(_short(description.flops_per_token[T]) for T in contexts))
    cache = (description.cache_bytes_constant + description.cache_bytes_per_token * S for S in contexts)
    table.add_row("cache of a row, MiB", *(f"{size / 2**20:,.1f}" for size in cache))
    return table


def _entries(description: Description) -> list[LayerDescription]:
    """One layer of each entry, in the order in which they first appear."""
    return list({layer.name: layer for layer in description.layers}.values())


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _short(number: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"
