"""What an item defines and what it uses, by names."""

from .defines import defined_names
from .standin import stand_in
from .uses import identifiers

__all__ = ["defined_names", "identifiers", "stand_in"]
