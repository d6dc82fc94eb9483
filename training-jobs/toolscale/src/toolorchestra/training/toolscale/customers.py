"""Those who ask: a task is of one customer, who is found by an e-mail address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row

CUSTOMER: Final = "customer"  # what a composer remembers them by


@dataclass(frozen=True, slots=True)
class Customers:
    """Rows of ``table`` with an e-mail address and a name, found by the tool ``find``; ``key`` is the table's key."""

    table: str
    key: str
    find: str

    def meet(self, do: Composer, key: str) -> Row:
        """The customer, found by e-mail; one per task."""
        do.need(do.shared.setdefault(CUSTOMER, key) == key)
        customer = do.row(self.table, key)
        do.introduce(email=customer["email"], name=customer["name"])
        do.once(self.find, email=customer["email"])
        return customer

    def somebody(self, do: Composer, fits: Fits = lambda _: True) -> Row:
        """The customer of this task, or one who fits."""
        return self.meet(do, do.pick(self.table, lambda row: self.owns(do, row) and fits(row))[self.key])

    def owns(self, do: Composer, row: Mapping[str, Any]) -> bool:
        """Whether a row is of the customer of this task, or there is none yet."""
        return self.may_be(do, row[self.key])

    def may_be(self, do: Composer, key: str) -> bool:
        """Whether the task is of this customer, or of nobody yet."""
        return do.shared.get(CUSTOMER) in (None, key)

    def theirs(self, do: Composer, table: str, fits: Fits = lambda _: True) -> Row:
        """A row of the customer of this task, or of anybody, who then is the customer and met."""
        row = do.pick(table, lambda row: self.owns(do, row) and fits(row))
        self.meet(do, row[self.key])
        return row
