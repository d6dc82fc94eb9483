"""Who asks: the tenant that pays, the key that is charged, and what it may use."""

from dataclasses import dataclass

from toolorchestra.core.errors import ModelNotFoundError
from toolorchestra.core.preferences import matches


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    tenant: str
    key: str
    models: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)

    def may_use(self, model: str) -> bool:
        return matches(model, self.models)

    def require(self, model: str) -> None:
        """Raises ModelNotFoundError: a model that the key may not use does not exist for it."""
        if not self.may_use(model):
            raise ModelNotFoundError(f"the model {model!r} does not exist", param="model", hint="see GET /v1/models")
