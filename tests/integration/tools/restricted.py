"""Runs the python tool where some system calls are forbidden, as in stricter containers. Prints what it found, as JSON.

python restricted.py NUMBERS CODE: the system calls to refuse, separated by commas, and a program to run.
"""

import asyncio
import ctypes
import json
import struct
import sys

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.plugins import PluginContext
from toolorchestra.tools.python.jail.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, SECCOMP, Kernel
from toolorchestra.tools.python.jail.seccomp import Program
from toolorchestra.tools.python.tool import create

LOAD, ALLOW, EPERM, SIGKILL = 0x20, 0x7FFF0000, 0x00050001, 9


def forbid(numbers: list[int]) -> None:
    program = Program()
    program.add(LOAD, 0)
    for number in numbers:
        program.answer_if_number(number, EPERM)
    program.answer(ALLOW)
    code = program.assemble()
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("H6xP", len(code) // 8, ctypes.addressof(buffer))
    kernel = Kernel()
    kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    kernel.syscall(SECCOMP, 1, 0, ctypes.create_string_buffer(header, len(header)))


async def main() -> None:
    tool = create({})
    readiness = await tool.check({})
    found: dict[str, object] = {"ready": readiness.ready, "reason": readiness.reason, "message": readiness.message}
    try:
        context = PluginContext(call_id="c", tenant="t", timeout_ms=10_000, idempotency_key="k")
        result = await tool.run({"code": sys.argv[2]}, context)
        found |= {"content": result.content, "details": dict(result.details)}
    except ToolOrchestraError as error:
        found |= {"error": type(error).__name__, "content": error.message}
    print(json.dumps(found))


if __name__ == "__main__":
    forbid([int(number) for number in sys.argv[1].split(",") if number])
    asyncio.run(main())
