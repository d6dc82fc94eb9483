"""The login with which services reach the database, when it is another than the owner's."""

from typing import Final

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row

from toolorchestra.core.errors import ForbiddenError, InvalidRequestError
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.errors import translated
from toolorchestra.ledger.statements import step

ROLES: Final = "toolorchestra_app, toolorchestra_system"


async def admit(owner_dsn: str, dsn: str) -> bool:
    """Let the login of ``dsn`` take the services' roles, and create it if it is not there; False if nothing was to do.

    An existing login keeps its password. Raises ForbiddenError with the statement to run when the owner may not.
    """
    wanted = conninfo_to_dict(dsn)
    login, password = str(wanted.get("user") or ""), wanted.get("password")
    if not login:
        raise InvalidRequestError("the services' database URL names no user", hint="write postgresql://user:password@host/db")
    with translated():
        connection = await Connection.connect(owner_dsn, autocommit=True, row_factory=dict_row)
        async with connection:
            try:
                return await _admit(connection, login, str(password) if password else None)
            except InsufficientPrivilege as error:
                raise ForbiddenError(
                    f"the owner's login may not admit {login}", hint=f'run as an administrator: GRANT {ROLES} TO "{login}"'
                ) from error


async def _admit(connection: Connection, login: str, password: str | None) -> bool:
    name = sql.Identifier(login)
    found = await connection.row(step("logins", "standing", login=login))
    if found and found["admitted"]:
        return False
    if found is None:
        await connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(password)))
    await connection.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(ROLES), name))
    return True
