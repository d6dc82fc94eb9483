"""The unit tier keeps its promise: nothing outside the process is reachable."""

import asyncio
import socket

import pytest
from pytest_socket import SocketBlockedError, SocketConnectBlockedError

pytestmark = pytest.mark.filterwarnings("ignore:A test tried to use socket")


def test_a_unit_test_cannot_open_a_socket():
    with pytest.raises(SocketBlockedError):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


async def test_a_unit_test_cannot_connect_to_a_unix_socket(tmp_path):
    with pytest.raises(SocketConnectBlockedError):
        await asyncio.open_unix_connection(str(tmp_path / "socket"))
