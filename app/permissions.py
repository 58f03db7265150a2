"""What visitors of a page may do to it. It is checked where a thing is done, not by hiding a button."""

from __future__ import annotations

from dataclasses import dataclass

from ssa_me.errors import InputError

CLOSED = {
    "train": "Training is switched off on this page. Run SSA-ME studio on your own machine: python app.py",
    "delete": "Nothing can be deleted on this page. Run SSA-ME studio on your own machine: python app.py",
    "bring": "Data and versions cannot be brought here. Run SSA-ME studio on your own machine: python app.py",
}


@dataclass(frozen=True)
class Allowed:
    """What visitors may do: train, delete, and bring data and versions of their own."""

    train: bool = True
    delete: bool = True
    bring: bool = True

    @classmethod
    def on(cls, public: bool, training: bool = False) -> Allowed:
        """Everything on a page of one's own; nothing on a public one, but training and its data where that is wanted."""
        return cls(train=training, delete=False, bring=training) if public else cls()

    def check(self, what: str) -> None:
        """InputError where `what` is switched off."""
        if not {"train": self.train, "delete": self.delete, "bring": self.bring}[what]:
            raise InputError(CLOSED[what])
