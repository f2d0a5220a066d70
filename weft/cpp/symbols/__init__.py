"""What an item defines and what it uses, by names."""

from .defines import defined_names
from .standin import stand_in
from .uses import free_names, identifiers, member_names

__all__ = ["defined_names", "free_names", "identifiers", "member_names", "stand_in"]
