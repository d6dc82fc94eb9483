"""What Kopf watches, and where it hands it: one handler for all kinds, which decides nothing and stores nothing."""

import asyncio
from functools import partial
from typing import Any, Final

import kopf

from toolorchestra.kit.kubernetes import JOBS, ResourceType
from toolorchestra.operator.factory import Operator

PREFIX: Final = "operator.toolorchestra.dev"
PAGE: Final = 500
SERVER_TIMEOUT_S: Final = 600  # an integer: it is written into the request as it is
CONNECT_TIMEOUT_S: Final = 10.0
AT_ONCE: Final = 64
# What is refused for want of rights is retried like anything else, and everything waits for the list of namespaces.
BACK_OFFS_S: Final = (0.5, 1, 2, 3)


def registry_for(operator: Operator) -> kopf.OperatorRegistry:
    """Handlers of every kind, and of what they own; a kind that the server lacks is watched once its CRD appears."""
    registry = kopf.OperatorRegistry()
    children = {child for kind in operator.kinds.values() for child in kind.children}
    for of in [kind.of for kind in operator.kinds.values()] + sorted(children, key=lambda one: one.kind):
        kopf.on.event(of.group, of.version, of.plural, registry=registry, id=of.plural)(_notice(operator, of))
    kopf.on.login(registry=registry, id="pod")(kopf.login_with_service_account)
    kopf.on.login(registry=registry, id="kubeconfig")(kopf.login_with_kubeconfig)
    return registry


def settings_for() -> kopf.OperatorSettings:
    """Kopf as a watcher: nothing is written to the objects, no finalizer, no event of its own."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.finalizer = f"{PREFIX}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=PREFIX)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=PREFIX)
    settings.watching.chunk_size = PAGE
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.error_backoffs = BACK_OFFS_S
    settings.queueing.worker_limit = AT_ONCE
    settings.queueing.idle_timeout = 1.0
    settings.watching.label_selectors[JOBS.group, JOBS.version, JOBS.plural] = "app.kubernetes.io/managed-by=toolorchestra"
    return settings


def _notice(operator: Operator, of: ResourceType) -> Any:
    """Kopf calls it in a thread of its own."""
    loop = asyncio.get_running_loop()

    async def notice(event: Any, **_: Any) -> None:
        body = event["object"]
        named = body if "kind" in body else {"apiVersion": of.api_version, "kind": of.kind, **body}
        loop.call_soon_threadsafe(partial(operator.noticer.event, named, deleted=event["type"] == "DELETED"))

    return notice
