"""Drills for the warm start: many short instructions about one list of tools, each answered by a name alone, or by a call.

A conversation teaches one choice in a hundred tokens, a drill a dozen in three hundred; comparing is what a tiny model needs
longest for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from toolorchestra.core.policyformat import START, STOP, beginning
from toolorchestra.training.grpo.tiny.routes import Card, Kind, RouteTask
from toolorchestra.training.grpo.tiny.warmstart import arguments_of, call_of, drawing, instructions, record
from toolorchestra.training.grpo.tokens import Codec
from toolorchestra.training.grpo.trajectories import Trajectory

TURNS: Final = 12
_CALL: Final = beginning("")


@dataclass(frozen=True, slots=True)
class Drills:
    """Drawn lists and what is asked about them. ``whole``: what is asked is copied into the call, too."""

    seed: int
    whole: bool = False
    tools: int = 5

    async def trajectory(self, number: int, codec: Codec) -> Trajectory:
        """Drill ``number``; only the answers carry loss."""
        random = Random(f"drills/{self.seed}/{number}")
        task = drawing(self.seed, self.tools).task(random.randrange(1 << 40))
        ids = _system(await record(task, task.cards[0], codec))
        drill = Trajectory(codec, ids=ids, own=[0] * len(ids))
        asked = list(self._asked(random, task))
        for about, words, card in random.sample(asked, min(TURNS, len(asked))):
            answer = call_of(card, arguments_of(about, card)) if self.whole else beginning(card.name)
            _ask(drill, f"{about.question}\n\nPreference: {words}", answer, ends=self.whole)
        return drill

    def _asked(self, random: Random, task: RouteTask) -> Iterator[tuple[RouteTask, str, Card]]:
        """Questions of each kind that some tool knows, and instructions about them; each instruction once."""
        draw, seen = drawing(self.seed, self.tools), set[tuple[str, Kind | None]]()
        for kind in Kind:
            if not any(card.knows(kind) for card in task.cards):
                continue
            for words, card in instructions(replace(task, kind=kind)):
                key = (words, None if words.startswith("ask ") else kind)
                if key not in seen:
                    seen.add(key)
                    of = random.choice(tuple(Kind)) if key[1] is None else kind
                    question, argument, _ = draw.question(random, of)
                    yield replace(task, kind=of, question=question, argument=argument), words, card


def _system(shown: Trajectory) -> list[int]:
    """What stands before a conversation's first question: the list of tools."""
    return shown.ids[: shown.ids.index(shown.codec.stop) + 2]  # the mark, and the line's end


def _ask(drill: Trajectory, text: str, answer: str, *, ends: bool) -> None:
    """One turn; its end is taught where ``ends``."""
    codec = drill.codec
    before = codec.encode(f"{START}user\n{text}{STOP}\n{START}assistant\n{_CALL}")
    own = codec.encode(answer)[len(codec.encode(_CALL)) :]
    after = codec.encode(f"{STOP}\n")
    drill.ids += [*before, *own, *after]
    drill.own += [*[0] * len(before), *[1] * len(own), int(ends), *[0] * (len(after) - 1)]
