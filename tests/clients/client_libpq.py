"""libpq 18, as psycopg brings it: protocol 3.2 with its long keys, and a token by OAUTHBEARER where the environment has one."""

import ctypes
import os
import threading
import time

import psycopg
from psycopg import pq

TOKEN = os.environ["SLUICE_TOKEN"]
BEARER_TOKEN = 1  # PQAUTHDATA_OAUTH_BEARER_TOKEN


class Request(ctypes.Structure):
    """PGoauthBearerRequest of libpq-fe.h."""

    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("poll", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Request))
def bring(kind, _connection, request):
    if kind != BEARER_TOKEN:
        return 0
    print("asked by", request.contents.openid_configuration.decode().rpartition("/.well-known/")[2])
    request.contents.token = TOKEN.encode()
    return 1


# The very library that psycopg has loaded.
with open("/proc/self/maps") as maps:
    library = next(line.split()[-1] for line in maps if "libpq-" in line or "libpq.so" in line)
ctypes.CDLL(library).PQsetAuthDataHook(bring)

print("libpq", pq.version() // 10000)
by_password = {"password": TOKEN}
by_bearer = {
    "oauth_issuer": os.environ["SLUICE_ISSUER"],
    "oauth_client_id": "psql",
    "options": "-c sluice.auth=oauthbearer",
    "require_auth": "oauth",
}
for way in (by_password, by_bearer):
    for version in ("3.0", "3.2", "latest"):
        with psycopg.connect(autocommit=True, max_protocol_version=version, **way) as connection:
            print(version, connection.pgconn.full_protocol_version, connection.execute("SELECT email FROM customer WHERE id = 1").fetchone())
            started = time.monotonic()
            threading.Timer(0.3, connection.cancel_safe).start()
            try:
                connection.execute("SELECT pg_sleep(20)")
            except psycopg.errors.QueryCanceled:
                print("cancelled", time.monotonic() - started < 10)
            print(connection.execute("SELECT 1").fetchone())
