"""The boundaries at which an orchestrator is killed, and what each may cost."""

import json
from dataclasses import dataclass, field
from typing import Any

TOOL_NANO_USD = 1_000_000  # $0.001 per call
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def say(name: str) -> dict[str, Any]:
    return {"text": f"Done with {name}."}


def call(tool: str, name: str) -> dict[str, Any]:
    return {"call": [tool, {"question" if tool == "helper" else "n": name}]}


@dataclass(frozen=True)
class Case:
    """A boundary, and what a kill there may cost.

    ``calls`` are the tools that the manager calls in turn. ``at`` is the fact whose transaction is under way: ``commits`` tells
    whether it is stored in the end. Without ``at`` the run hangs in a peer. ``asks`` are requests that reached the provider,
    ``visits`` those that reached the tools, ``estimates`` the entries of what was under way, ``status`` how the run ends.
    """

    name: str
    at: str | None = None
    commits: bool = False
    model: str = "manager"
    calls: tuple[str, ...] = ("look", "pay")
    asks: int = 3
    visits: tuple[int, ...] = (1, 1)
    estimates: int = 0
    status: str = "completed"
    stream: bool = False
    client_tool: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    stored: bool = True

    @property
    def passes_through(self) -> bool:
        return self.model.startswith("through")

    def body(self) -> dict[str, Any]:
        turns = [call(tool, f"{self.name} {tool}") for tool in self.calls]
        if self.client_tool:
            turns.append({"call": ["weather", {"city": "Paris"}]})
        turns.append(say(self.name))
        asked = say(self.name) if self.passes_through else {"turns": turns}
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"{self.name} [[{json.dumps(asked)}]]"}],
            "metadata": {"case": self.name, **({"gate": self.name, "at": self.at} if self.at else {})},
            "stream": self.stream,
        }
        extension = {"toolorchestra": self.limits} if self.limits else {}
        return {**body, **({"tools": [WEATHER]} if self.client_tool else {}), **extension}


def _both(at: str, *, before: dict[str, Any], after: dict[str, Any], **common: Any) -> list[Case]:
    named = common.pop("named", at)
    return [
        Case(f"before {named}", at, commits=False, **common, **before),
        Case(f"after {named}", at, commits=True, **common, **after),
    ]


CASES = [
    *_both("opened", before={}, after={}),
    *_both("asked/1", before={}, after={"estimates": 1}),
    *_both("decided/1", before={"asks": 4, "estimates": 1}, after={"estimates": 1}),
    # A read-only call whose outcome was lost is made again.
    *_both("call_finished/1", before={"visits": (2, 1), "estimates": 1}, after={"estimates": 1}),
    # A destructive one is not, whether or not it left.
    *_both("decided/2", before={"asks": 4, "estimates": 1}, after={"visits": (1, 0), "estimates": 1}),
    *_both("call_finished/2", before={"estimates": 1}, after={"estimates": 1}),
    *_both("decided/3", named="ended", before={"asks": 4, "estimates": 1}, after={}),
    *_both(
        "call_finished/1", named="an idempotent outcome", calls=("put",), asks=2,
        before={"visits": (2,), "estimates": 1}, after={"visits": (1,), "estimates": 1},
    ),
    *_both("parked/2", client_tool=True, calls=("look",), visits=(1,), before={"asks": 4, "estimates": 1}, after={}),
    *_both(
        "continued/2", client_tool=True, calls=("look",), visits=(1,), before={}, after={"estimates": 0},
    ),
    # The closing answer has one hold: when it is lost, the best observation is the answer.
    *_both(
        "asked/2", named="the closing question", calls=("look",), limits={"max_turns": 2},
        before={"asks": 2, "visits": (2,), "estimates": 1}, after={"asks": 1, "visits": (1,), "estimates": 1},
    ),
    *_both(
        "decided/2", named="the closing answer", calls=("look",), visits=(1,), limits={"max_turns": 2},
        before={"asks": 2, "estimates": 1}, after={"asks": 2},
    ),
    Case("in the manager's call", model="stuck-manager", calls=(), visits=(), asks=2, estimates=1),
    Case("in a streamed thought", model="halting-manager", calls=(), visits=(), asks=2, estimates=1, stream=True),
    Case(
        "in a streamed answer", model="halting-manager", calls=(), visits=(), asks=1, estimates=1, stream=True,
        limits={"max_turns": 1}, status="failed",
    ),
    Case("in a read-only call", calls=("hang-look",), visits=(2,), asks=2, estimates=1),
    Case("in an idempotent call", calls=("hang-put",), visits=(2,), asks=2, estimates=1),
    Case("in a destructive call", calls=("hang-pay",), visits=(1,), asks=2, estimates=1),
    Case("between commit and act", calls=("deaf-pay",), visits=(0,), asks=2, estimates=1),
    Case("in an expert's call", calls=("helper",), visits=(), asks=4, estimates=1),
    *_both(
        "opened", named="a pass-through", model="through", calls=(), visits=(), status="cancelled",
        before={"asks": 0, "stored": False}, after={"asks": 0, "estimates": 1},
    ),
    *_both(
        "decided/1", named="the end of a pass-through", model="through", calls=(), visits=(), asks=1,
        before={"estimates": 1, "status": "cancelled"}, after={},
    ),
    *_both(
        "decided/1", named="the end of a passed stream", model="through", calls=(), visits=(), asks=1, stream=True,
        before={"estimates": 1, "status": "cancelled"}, after={},
    ),
    Case("in a pass-through", model="through-stuck", calls=(), visits=(), asks=1, estimates=1, status="cancelled"),
    Case(
        "in a passed stream", model="through-halting", calls=(), visits=(), asks=1, estimates=1, status="cancelled", stream=True
    ),
]  # fmt: skip
