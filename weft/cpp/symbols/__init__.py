"""What an item defines and what it uses, by names."""

from .defines import defined_names
from .standin import bare, forward_declaration, stand_in
from .uses import LAMBDA, free_names, identifiers, member_names, occurrences, pointed_names

__all__ = [
    "LAMBDA",
    "bare",
    "defined_names",
    "forward_declaration",
    "free_names",
    "identifiers",
    "member_names",
    "occurrences",
    "pointed_names",
    "stand_in",
]
