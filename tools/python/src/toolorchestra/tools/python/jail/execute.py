"""Runs the code like an interactive session: output as it comes, and the value of a last expression."""

import builtins
import linecache
import sys
import threading
import traceback
from io import TextIOWrapper
from types import ModuleType
from typing import Any, Final

_NAME: Final = "<code>"
_ONLY_SYNTAX: Final = 0x400  # ast.PyCF_ONLY_AST, without loading ast
_FRAMES: Final = 6
_MAX_ERROR: Final = 4_000


def execute(code: str, *, value_characters: int) -> dict[str, Any]:
    """``{"value": repr or None, "error": trimmed traceback or None, "kind": name of the exception or None}``."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what is printed before a kill must not be lost
    linecache.cache[_NAME] = (len(code), None, code.splitlines(keepends=True), _NAME)
    module = ModuleType("__main__")
    module.__dict__.update({"__builtins__": builtins, "exit": sys.exit, "quit": sys.exit})
    sys.modules["__main__"] = module
    try:
        value = _run(code, module.__dict__)
        text = None if value is None else _cut(repr(value), value_characters)
        _wait_for_threads()
    except SystemExit as stop:
        return _finished(None) if stop.code in (None, 0) else _failed(f"SystemExit: {stop.code}", "SystemExit")
    except BaseException as error:  # noqa: BLE001  # whatever the code raises is its result
        return _failed(_describe(error), type(error).__name__)
    return _finished(text)


def _run(code: str, names: dict[str, Any]) -> Any:
    """Everything but a last expression is executed; that expression is evaluated, and its value returned."""
    tree: Any = compile(code, _NAME, "exec", flags=_ONLY_SYNTAX, dont_inherit=True)
    last: Any = tree.body.pop() if tree.body and type(tree.body[-1]).__name__ == "Expr" else None
    exec(compile(tree, _NAME, "exec", dont_inherit=True), names)  # noqa: S102  # the purpose of this process
    if last is None:
        return None
    expression: Any = compile("0", _NAME, "eval", flags=_ONLY_SYNTAX, dont_inherit=True)
    expression.body = last.value
    return eval(compile(expression, _NAME, "eval", dont_inherit=True), names)  # noqa: S307  # likewise


def _wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _describe(error: BaseException) -> str:
    """The traceback through the code's own lines only."""
    summary = traceback.StackSummary.extract(
        (frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == _NAME
    )
    own = summary[-_FRAMES:]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(own)] if own else []
    return _cut("".join([*lines, *traceback.format_exception_only(error)]).rstrip(), _MAX_ERROR)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"


def _finished(value: str | None) -> dict[str, Any]:
    return {"value": value, "error": None, "kind": None}


def _failed(error: str, kind: str) -> dict[str, Any]:
    return {"value": None, "error": error, "kind": kind}
