"""Reset the TCP connection of a request, or cut it off in the middle of the answer.

ASGI does not give an application its connection, so the uvicorn protocol class passes it on as
`request.state.connection`. With SO_LINGER set to zero, the kernel closes with RST instead of FIN, so that the client
sees a real reset.
"""

from __future__ import annotations

import asyncio
import http
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from crm_to_meta_demo.meta_stand_in.answers import Answer

LINGER_ZERO: Final = struct.pack("ii", 1, 0)  # on, 0 seconds: unsent data is discarded and the peer gets RST


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection of a client. `lost` is set once uvicorn notices that it is gone."""

    transport: asyncio.Transport
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def is_gone(self) -> bool:
        return self.transport.is_closing()

    async def reset(self) -> None:
        if self.is_gone():
            return
        peer: socket.socket = self.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.transport.abort()
        await self.lost.wait()

    async def cut(self, answer: Answer) -> None:
        """Announce the whole body, send half of it, and close."""
        head = (
            f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}\r\n"
            f"content-type: {answer.media_type}\r\n"
            f"content-length: {len(answer.body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + answer.body[: len(answer.body) // 2])
        self.transport.close()
        await self.lost.wait()


class ConnectionProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, which also gives the application its connection."""

    connection: Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.connection = Connection(transport)
        self.app_state = {**self.app_state, "connection": self.connection}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.connection.lost.set()
