"""The first process of the node's process namespace: it starts the node's daemons, and starts again what ends.

usage: python -I supervisor.py PLAN.json

It runs as process 1 of a process and a mount namespace of its own, so whatever the node starts or mounts, containers
included, is gone the moment it ends. It imports the standard library only. The plan: ``{"private": [folders], "logs": folder,
"environment": {…}, "daemons": {name: command}}``; over each private folder an empty one is laid that only the node sees.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PAUSE_S = 0.5


def start(name: str, plan: dict[str, Any]) -> int:
    """Start a daemon; its log goes on where it was."""
    with (Path(plan["logs"]) / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            plan["daemons"][name],
            env=plan["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # Every child is buried below, so Popen's own bookkeeping must not wait for this one.
    process.returncode = 0
    return process.pid


def main(plan_path: str) -> None:
    # The one who starts it says so when he has noted its id; if he dies before, nobody would know of it.
    if not sys.stdin.readline():
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    for folder in plan["private"]:
        subprocess.run(["mount", "-t", "tmpfs", "private", folder], check=True)
    running = {start(name, plan): name for name in plan["daemons"]}
    while True:
        # Containers' parents end up here too when their own parent has ended.
        pid, status = os.waitpid(-1, 0)
        if name := running.pop(pid, None):
            print(f"{name} ended with {os.waitstatus_to_exitcode(status)}; it is started again", flush=True)
            time.sleep(PAUSE_S)
            running[start(name, plan)] = name


if __name__ == "__main__":
    main(sys.argv[1])
