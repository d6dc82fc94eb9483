"""Drills for the warm start: many short instructions about one list of tools, each answered by a name alone.

A conversation teaches one choice in a hundred tokens, a drill a dozen in three hundred; comparing is what a tiny model needs
longest for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from toolorchestra.core.policyformat import START, STOP, beginning
from toolorchestra.training.grpo.tiny.routes import Card, Kind, RouteTask
from toolorchestra.training.grpo.tiny.warmstart import drawing, instructions, record
from toolorchestra.training.grpo.tokens import Codec
from toolorchestra.training.grpo.trajectories import Trajectory

TURNS: Final = 12
_CALL: Final = beginning("")


@dataclass(frozen=True, slots=True)
class Drills:
    """Drawn lists and what is asked about them."""

    seed: int
    tools: int = 5

    async def trajectory(self, number: int, codec: Codec) -> Trajectory:
        """Drill ``number``; only the names carry loss."""
        random = Random(f"drills/{self.seed}/{number}")
        task = drawing(self.seed, self.tools).task(random.randrange(1 << 40))
        ids = _system(await record(task, task.cards[0], codec))
        drill = Trajectory(codec, ids=ids, own=[0] * len(ids))
        asked = list(self._asked(random, task))
        for question, words, card in random.sample(asked, min(TURNS, len(asked))):
            _ask(drill, f"{question}\n\nPreference: {words}", card)
        return drill

    def _asked(self, random: Random, task: RouteTask) -> Iterator[tuple[str, str, Card]]:
        """Questions of each kind that some tool knows, and instructions about them; each instruction once."""
        draw, seen = drawing(self.seed, self.tools), set[tuple[str, Kind | None]]()
        for kind in Kind:
            if not any(card.knows(kind) for card in task.cards):
                continue
            for words, card in instructions(replace(task, kind=kind)):
                key = (words, None if words.startswith("ask ") else kind)
                if key not in seen:
                    seen.add(key)
                    yield draw.question(random, random.choice(tuple(Kind)) if key[1] is None else kind)[0], words, card


def _system(shown: Trajectory) -> list[int]:
    """What stands before a conversation's first question: the list of tools."""
    return shown.ids[: shown.ids.index(shown.codec.stop) + 2]  # the mark, and the line's end


def _ask(drill: Trajectory, text: str, card: Card) -> None:
    codec = drill.codec
    before = codec.encode(f"{START}user\n{text}{STOP}\n{START}assistant\n{_CALL}")
    name = codec.encode(beginning(card.name))[len(codec.encode(_CALL)) :]
    after = codec.encode(f"{STOP}\n")
    drill.ids += [*before, *name, *after]
    drill.own += [*[0] * len(before), *[1] * len(name), *[0] * len(after)]
