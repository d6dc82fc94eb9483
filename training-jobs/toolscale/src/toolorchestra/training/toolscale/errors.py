"""What can go wrong with a build, besides a broken world."""

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError


class InvalidBuildError(InvalidRequestError):
    """What was asked for cannot be built, or a folder holds no build; the message names field and fix."""

    code = "invalid_build"


class ContaminatedSplitsError(ToolOrchestraError):
    """Something that is held out stands in the tasks for learning; the message names splits and what they share."""

    code = "contaminated_splits"


class UnsoundTasksError(ToolOrchestraError):
    """Kept tasks pass for somebody who does not solve them; the message names the worlds and counts."""

    code = "unsound_tasks"


class WordingEndpointError(ToolOrchestraError):
    """The model that rewrites wording cannot be used at all: no address, no access, no such model."""

    code = "wording_endpoint"
