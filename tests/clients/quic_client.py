"""A client of sluice/1 by other hands: aioquic, and docs/quic.md. Prints what it is answered, a line each.

usage: quic_client.py HOST:PORT CA CONNECTION, with the token in SLUICE_TOKEN
"""

import asyncio
import os
import ssl
import struct
import sys

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration

TOKEN, CONNECTION, PURPOSE, CLIENT, SESSION, CODE, MESSAGE, SECONDS, CARRIES = range(1, 10)
OPEN, RENEW, ACCEPTED, REFUSED = 0x01, 0x02, 0x81, 0x82


def frame(kind, *fields):
    body = b"".join(struct.pack(">BH", tag, len(value)) + value for tag, value in fields)
    return struct.pack(">BBH", 1, kind, len(body)) + body


async def answer(reader):
    version, kind, length = struct.unpack(">BBH", await reader.readexactly(4))
    assert version == 1
    body, fields = await reader.readexactly(length), {}
    while body:
        tag, size = struct.unpack(">BH", body[:3])
        fields[tag], body = body[3 : 3 + size], body[3 + size :]
    return kind, fields


async def main(gateway, authority, connection):
    host, port = gateway.rsplit(":", 1)
    token = os.environ["SLUICE_TOKEN"].encode()
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["sluice/1"], verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(authority)
    async with connect(host, int(port), configuration=configuration) as client:
        reader, writer = await client.create_stream()
        writer.write(frame(OPEN, (TOKEN, token), (CONNECTION, connection.encode()), (PURPOSE, b"a test"), (CLIENT, b"aioquic")))
        kind, fields = await answer(reader)
        assert kind == ACCEPTED, fields
        carries = {1: "bytes", 2: "mcp"}[fields[CARRIES][0]]
        seconds = struct.unpack(">I", fields[SECONDS])[0]
        assert 0 < seconds <= 3600
        print(f"accepted: {carries}, session {fields[SESSION].decode()}")
        writer.write(b"0123456789" * 10_000)
        writer.write_eof()
        print((await reader.read()).decode())

        # A session that stays, for a newer token to hold.
        _, kept = await client.create_stream()
        kept.write(frame(OPEN, (TOKEN, token), (CONNECTION, connection.encode())))
        await asyncio.sleep(0.5)
        reader, writer = await client.create_stream()
        writer.write(frame(RENEW, (TOKEN, token), (CONNECTION, connection.encode())))
        kind, fields = await answer(reader)
        print("renewed" if kind == ACCEPTED else f"not renewed: {fields}")

        reader, writer = await client.create_stream()
        writer.write(frame(OPEN, (TOKEN, token), (CONNECTION, b"nowhere")))
        kind, fields = await answer(reader)
        assert kind == REFUSED
        print(f"refused: {struct.unpack('>H', fields[CODE])[0]} {fields[MESSAGE].decode()}")


asyncio.run(main(*sys.argv[1:]))
