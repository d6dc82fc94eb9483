"""A world as it is used: schema, rows, tools and policy, all fixed; every episode is a session on top of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolorchestra.worlds.schema import WorldSpec
from toolorchestra.worlds.state import Database, Rows
from toolorchestra.worlds.tools import WorldTool


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """``policy`` is the company's text for whoever serves its users; ``content_hash`` names exactly these files."""

    spec: WorldSpec
    rows: Rows = field(repr=False)
    tools: Mapping[str, WorldTool] = field(repr=False)
    policy: str = field(default="", repr=False)
    content_hash: str = ""
    # End states of golden calls, by what was called: they never change, and every check of a task needs its own.
    ends: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def instructions(self) -> str:
        """What the company tells its staff: its policy, and the moment at which every episode takes place."""
        return f"You serve the customers of {self.spec.title}. It is {self.spec.clock:%Y-%m-%dT%H:%M}.\n\n{self.policy}".strip()

    def database(self) -> Database:
        """The state with which an episode begins."""
        return Database(self.rows)
