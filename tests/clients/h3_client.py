"""HTTP/3 by other hands: aioquic. Each line of input is a request, each line of output its answer, as JSON.

usage: h3_client.py HOST:PORT CA [CERTIFICATE KEY], with lines {"method", "path", "headers": {…}, "body"} and, where the stream is to be reset
after so many bytes of the answer, "until"; an answer is {"status", "headers": {…}, "body"} or {"error"}
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated, StreamReset


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.answers = {}

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if isinstance(event, ConnectionTerminated):
            for answer in self.answers.values():
                self.finish(answer, error=f"closed: {event.error_code:#x} {event.reason_phrase}")
        if isinstance(event, StreamReset) and event.stream_id in self.answers:
            self.finish(self.answers[event.stream_id], error=f"reset: {event.error_code:#x}")
        if self.http is None:
            return
        for part in self.http.handle_event(event):
            answer = self.answers.get(getattr(part, "stream_id", None))
            if answer is None:
                continue
            if isinstance(part, HeadersReceived):
                headers = {name.decode(): value.decode() for name, value in part.headers}
                answer["status"] = int(headers.pop(":status"))
                answer["headers"] = headers
            if isinstance(part, DataReceived):
                answer["body"] += part.data
                if answer["until"] is not None and len(answer["body"]) >= answer["until"]:
                    self._quic.stop_stream(part.stream_id, ErrorCode.H3_REQUEST_CANCELLED)
                    self.transmit()
                    self.finish(answer)
            if getattr(part, "stream_ended", False):
                self.finish(answer)

    def finish(self, answer, **more):
        answer.update(more)
        if not answer["done"].done():
            answer["done"].set_result(None)

    async def ask(self, host, request):
        stream = self._quic.get_next_available_stream_id()
        done = asyncio.get_running_loop().create_future()
        answer = self.answers[stream] = {"body": b"", "until": request.get("until"), "done": done}
        head = [(":method", request["method"]), (":scheme", "https"), (":authority", request.get("authority", host))]
        head += [(":path", request["path"]), *request.get("headers", {}).items()]
        body = request.get("body", "").encode()
        self.http.send_headers(stream, [(name.encode(), value.encode()) for name, value in head], end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(done, 30)
        del answer["done"], answer["until"], self.answers[stream]
        return {**answer, "body": answer["body"].decode()}


async def main(gateway, authority, *certificate):
    host, port = gateway.rsplit(":", 1)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(authority)
    if certificate:
        configuration.load_cert_chain(*certificate)
    async with connect(host, int(port), configuration=configuration, create_protocol=Client) as client:
        for line in sys.stdin:
            print(json.dumps(await client.ask(gateway, json.loads(line))), flush=True)


asyncio.run(main(*sys.argv[1:]))
