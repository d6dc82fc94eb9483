"""What can be wrong with a training run before any compute is spent on it."""

from toolorchestra.core.errors import InvalidRequestError


class InvalidRunError(InvalidRequestError):
    """The run's file, or what it names, cannot be trained with."""

    code = "invalid_training_run"
