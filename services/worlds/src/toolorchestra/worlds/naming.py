"""How the session of an evaluation's episode is named: by suite, task, and a nonce that tells attempts apart.

The name travels with every call, so whoever answers one (a world's tool, a simulated expert) knows the task that it is part of.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from typing_extensions import override

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.sessions import is_session

_PART: Final = re.compile(r"[A-Za-z0-9._+-]+")
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class SessionName:
    """``suite:task:nonce`` as text. ``suite`` is a world's name or that of a set of questions.

    Raises InvalidRequestError for a part that is empty or of other letters than ``A-Za-z0-9._+-``, or a text above 128.
    """

    suite: str
    task: str
    nonce: str

    def __post_init__(self) -> None:
        for name, part in (("suite", self.suite), ("task", self.task), ("nonce", self.nonce)):
            if not _PART.fullmatch(part):
                raise InvalidRequestError(
                    f"session.{name}: {part!r} is no part of a session's name", param=name, hint="use A-Z a-z 0-9 . _ + -"
                )
        if not is_session(str(self)):
            raise InvalidRequestError(
                f"session: {str(self)!r} is longer than 128 letters", param="session", hint="shorten the id of the task"
            )

    @override
    def __str__(self) -> str:
        return f"{self.suite}:{self.task}:{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that a text is. Raises InvalidRequestError if it is none."""
        parts = text.split(":")
        if len(parts) != _PARTS:
            raise InvalidRequestError(
                f"session: {text!r} is not suite:task:nonce", param="session", hint="join three parts by `:`"
            )
        return cls(*parts)

    @classmethod
    def find(cls, text: str | None) -> Self | None:
        """The name that a text is, or None: a client may name its sessions as it likes."""
        try:
            return cls.parse(text) if text else None
        except InvalidRequestError:
            return None
