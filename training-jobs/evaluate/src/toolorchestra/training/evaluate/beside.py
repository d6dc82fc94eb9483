"""Processes beside this one: Ctrl-C in a terminal is not theirs to answer, and none outlives the process that started it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, pthread_sigmask
from threading import Thread


def end_with_parent() -> None:
    """In a process that ``multiprocessing`` started: end when its parent is gone, however it went.

    A process of a pool would wait for work for ever, because it holds the other end of its queue itself.
    """
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent.sentinel,), name="end-with-parent", daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started in the block never see SIGINT, which a terminal sends to all; this one sees it afterwards."""
    before = pthread_sigmask(SIG_BLOCK, {SIGINT})
    try:
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, before)
