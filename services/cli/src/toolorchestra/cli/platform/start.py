"""Starts a platform on this machine: what it rests on side by side, then the schema, then the services, then a key."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from toolorchestra.cli.client import Client, RemoteError
from toolorchestra.cli.embedded.local_model import local_model_part
from toolorchestra.cli.embedded.parts import Part, port_is_free
from toolorchestra.cli.embedded.postgres import postgres_part
from toolorchestra.cli.embedded.supervisor import Supervisor
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.cli.platform.folder import API_URL_NAME, StateFolder
from toolorchestra.cli.platform.local_expert import forget_local_expert, preferred_port, write_local_expert
from toolorchestra.cli.platform.migrate import load_schema, migrate
from toolorchestra.cli.platform.options import UpOptions
from toolorchestra.cli.platform.services import Backing, Programs, platform_url, service_parts
from toolorchestra.core.errors import ConflictError
from toolorchestra.kit.addresses import parse_opening

KEY_NAME: Final = "laptop"
KEYS_PATH: Final = "/admin/v1/tenants/default/keys"
Tell: TypeAlias = Callable[[str, int], None]  # what is ready, and after how many ms
Migrate: TypeAlias = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that answers."""

    url: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts platforms. ``tell`` hears of each part that is ready."""

    options: UpOptions
    tell: Tell = lambda _name, _ms: None
    programs: Programs = field(default_factory=Programs)
    migrate: Migrate = migrate

    async def start(self, supervisor: Supervisor) -> Platform:
        """Start everything and wait until it answers. Raises PartFailedError with the log of what failed."""
        self._check()
        folder = StateFolder(self.options.state)
        folder.prepare()
        postgres, valkey, model = self._parts(folder)
        backing = self._backing(postgres, valkey, model)
        try:
            async with asyncio.TaskGroup() as group:
                if model:
                    group.create_task(self._start(supervisor, model))
                broker = group.create_task(self._start(supervisor, *([valkey] if valkey else [])))
                group.create_task(self._serve(supervisor, postgres, broker, backing))
        except ExceptionGroup as errors:
            raise _first(errors) from None
        platform = await asyncio.to_thread(self._with_key, folder)
        supervisor.announce(API_URL_NAME, platform.url)
        return platform

    def _check(self) -> None:
        for entry in self.options.allow_egress:
            parse_opening(entry)
        self._check_port()

    def _check_port(self) -> None:
        if not port_is_free(self.options.port):
            raise ConflictError(f"port {self.options.port} is taken", hint="choose another with --port")

    def _parts(self, folder: StateFolder) -> tuple[Part | None, Part | None, Part | None]:
        """PostgreSQL, Valkey and the local model, each unless something else is used in its place."""
        options = self.options
        postgres = None if options.database_url else postgres_part(folder.postgres)
        valkey = None if options.broker_url and options.signal_url else valkey_part(folder.valkey)
        if not options.local_model:
            forget_local_expert(folder.manifests)
            return postgres, valkey, None
        model = local_model_part(port=preferred_port(folder.manifests))
        write_local_expert(folder.manifests, model.url)
        return postgres, valkey, model

    def _backing(self, postgres: Part | None, valkey: Part | None, model: Part | None) -> Backing:
        options, embedded = self.options, valkey.url if valkey else ""
        return Backing(
            database_url=options.database_url or (postgres.url if postgres else ""),
            broker_url=options.broker_url or embedded,
            signal_url=options.signal_url or embedded,
            opened=(model.url.removeprefix("http://").partition("/")[0],) if model else (),
        )

    async def _serve(self, supervisor: Supervisor, postgres: Part | None, broker: asyncio.Task[None], backing: Backing) -> None:
        """The services, once the database has its schema and the broker answers."""
        loading = asyncio.create_task(asyncio.to_thread(load_schema))
        await self._start(supervisor, *([postgres] if postgres else []))
        await loading
        began = time.monotonic()
        await self.migrate(backing.database_url)
        self._told("schema", began)
        await broker
        self._check_port()  # much may have happened since the start
        async with asyncio.TaskGroup() as group:
            for part in service_parts(self.options, backing, self.programs):
                group.create_task(self._start(supervisor, part))

    async def _start(self, supervisor: Supervisor, *parts: Part) -> None:
        began = time.monotonic()
        await supervisor.start(*parts)
        for part in parts:
            self._told(part.name, began)

    def _told(self, name: str, began: float) -> None:
        self.tell(name, round((time.monotonic() - began) * 1000))

    def _with_key(self, folder: StateFolder) -> Platform:
        """The ready-made key: the kept one while the platform knows it, else a new one."""
        url = platform_url(self.options.port)
        kept = folder.api_key()
        if kept is not None and _is_known(url, kept):
            return Platform(url, kept)
        with Client(url, token=folder.admin_token(), credential="administrator's token") as admin:
            created: str = admin.post(KEYS_PATH, {"name": KEY_NAME})["key"]
        folder.keep_api_key(created)
        return Platform(url, created)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """What went wrong first; the rest followed from it."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _is_known(url: str, key: str) -> bool:
    try:
        with Client(url, token=key) as client:
            client.get("/v1/models")
    except RemoteError as error:
        if error.status in (401, 403):
            return False
        raise
    return True
