"""For tests: a wording model that answers as it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import override

from toolorchestra.training.toolscale.endpoint import WordingModel


@dataclass(slots=True)
class ScriptedModel(WordingModel):
    """A WordingModel whose answer is computed from the request; keeps what it was asked, in no certain order."""

    answer: Callable[[str], str | None]
    asked: list[str] = field(default_factory=list)

    @override
    def ask(self, instruction: str, request: str) -> str | None:
        """The scripted answer."""
        del instruction
        self.asked.append(request)
        return self.answer(request)
