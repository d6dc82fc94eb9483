"""world.yaml: the tables of a world, what their columns hold, and how two end states are compared."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME: Final = r"^[a-z][a-z0-9_]*$"
MOMENT: Final = "%Y-%m-%dT%H:%M"
Name = Annotated[str, Field(pattern=NAME, max_length=63)]


class ColumnType(StrEnum):
    """What a column holds. ``money`` is whole cents; ``date`` is ``2026-03-14``, ``datetime`` is ``2026-03-14T08:05``."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    MONEY = "money"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"


class Compare(StrEnum):
    """How a column counts when end states are compared."""

    EXACT = "exact"
    NORMALISED = "normalised"  # letter case, spaces and Unicode forms make no difference
    IGNORE = "ignore"


class Strict(BaseModel):
    """Unknown fields are errors; what was read does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Strict):
    """One column. ``ref`` names the table whose key it holds; ``values`` are those of a choice."""

    type: ColumnType
    values: tuple[str, ...] = ()
    ref: str | None = None
    nullable: bool = False
    unique: bool = False
    compare: Compare = Compare.EXACT
    description: str = ""

    @model_validator(mode="after")
    def _values_belong_to_choices(self) -> Self:
        if (self.type is ColumnType.CHOICE) != bool(self.values):
            raise ValueError("values: a column of type choice lists them, any other has none")
        if self.compare is Compare.NORMALISED and self.type is not ColumnType.TEXT:
            raise ValueError("compare: normalised is for columns of type text; use exact or ignore")
        return self


class Table(Strict):
    """One table; ``key`` is the column that names a row, always text that starts with the kind of thing, e.g. ``BK-7Q2F4C``."""

    key: Name
    columns: dict[Name, Column]
    description: str = ""

    @model_validator(mode="after")
    def _key_is_a_column(self) -> Self:
        column = self.columns.get(self.key)
        if column is None:
            raise ValueError(f"key: there is no column {self.key!r}; add it to columns, or name another")
        if column.type is not ColumnType.TEXT or column.nullable or column.compare is not Compare.EXACT:
            raise ValueError(f"columns.{self.key}: a key is of type text, never null, and compared exactly")
        return self


class WorldSpec(Strict):
    """A world's schema. ``clock`` is the moment at which every episode takes place: no tool reads another."""

    name: Name
    title: str
    domain: str
    description: str
    clock: datetime
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "GBP"
    tables: Annotated[dict[Name, Table], Field(min_length=1)]

    @model_validator(mode="after")
    def _references_lead_somewhere(self) -> Self:
        for name, table in self.tables.items():
            for column, about in table.columns.items():
                if about.ref is not None and about.ref not in self.tables:
                    known = ", ".join(self.tables)
                    raise ValueError(f"tables.{name}.columns.{column}.ref: no table {about.ref!r}; there are {known}")
        return self

    @property
    def now(self) -> str:
        """The clock as a datetime column holds it."""
        return self.clock.strftime(MOMENT)

    @property
    def today(self) -> str:
        """The clock's day as a date column holds it."""
        return self.clock.strftime("%Y-%m-%d")
