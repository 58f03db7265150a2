"""What a benchmark claims of a number that it measured, and whether that holds. It knows no model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A ratio and what it must keep: at most `limit`, or at least where `at_least`."""

    text: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        verdict = "holds" if self.holds else "FAILS"
        return f"{verdict}: {self.text}: {self.value:.2f} {self.unit} ({sign} {self.limit:g} {self.unit})"


def conclude(*claims: Claim) -> int:
    """Print the claims; 0 where all hold, else 1."""
    for claim in claims:
        print(claim)
    return 0 if all(claim.holds for claim in claims) else 1
