"""Numbers with their nouns, for messages."""


def counted(number: int, noun: str) -> str:
    """`1 project`, `1,024 projects`: nouns that take an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
