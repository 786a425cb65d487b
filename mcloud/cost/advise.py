"""Advice."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Advice:
    site: str
    title: str
    how: str
    why: str
    saving: Decimal
    at_most: bool
