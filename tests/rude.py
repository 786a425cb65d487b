"""Servers on loopback that misbehave in one way each: silent, endless, too large, or invalid."""

import gzip
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Answers = Callable[[socket.socket, threading.Event], None]

DRIP = 0.002  # seconds between two bytes
MOST = 1 << 26  # bytes that an endless server sends, so that a broken client also ends
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def once(data: bytes) -> Answers:
    """Return a behaviour that sends ``data`` and closes the connection."""
    return lambda connection, stop: connection.sendall(data)


def then_hangs(data: bytes) -> Answers:
    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(data)
        stop.wait()

    return answer


def flood(head: bytes, endless: bytes) -> Answers:
    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head)
        block = endless * (1 + 65_536 // len(endless))
        sent = 0
        while not stop.is_set() and sent < MOST:
            connection.sendall(block)
            sent += len(block)

    return answer


def drip(head: bytes, endless: bytes) -> Answers:
    """Return a behaviour that sends single bytes with short pauses."""

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head)
        while True:
            for byte in endless:
                if stop.wait(DRIP):
                    return
                connection.sendall(bytes([byte]))

    return answer


def reset(connection: socket.socket, stop: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", "")
    return "\r\n".join(lines).encode("latin-1") + body


_BOMB = gzip.compress(bytes(1 << 25), 9)

NO_ANSWER: dict[str, Answers] = {
    "silent": lambda connection, stop: stop.wait() and None,
    "closes at once": once(b""),
    "resets": reset,
    "drips its status": drip(b"", b"HTTP/1.1 200 " + b"x" * 1000),
    "drips its headers": drip(OK, b"X-More: 1\r\n"),
    "headers without end": flood(OK, b"X-More: 1\r\n"),
    "a header without end": flood(OK + b"X-More: ", b"x"),
    "a status line without end": flood(b"HTTP/1.1 200 ", b"x"),
    "1xx without end": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "1xx dripping": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "no HTTP": once(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "a status that is none": once(b"HTTP/1.1 abc OK\r\n\r\n"),
}
"""Behaviours that give a client no status."""

CUT: dict[str, Answers] = {
    "a body without end": flood(OK + b"\r\n", b"x"),
    "chunks without end": flood(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"),
    "tiny chunks without end": flood(CHUNKED, b"1\r\nx\r\n"),
    "a chunk size without end": flood(CHUNKED, b"0"),
    "trailers without end": flood(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-More: 1\r\n"),
    "drips its body": drip(OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "drips a body without a length": drip(OK + b"\r\n", b" "),
    "drips its trailers": drip(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-More: 1\r\n"),
    "chunks that stop": then_hangs(CHUNKED + b"2\r\n{}\r\n"),
    "chunks that break off": once(CHUNKED + b"400\r\n{}"),
    "a chunk size that is none": once(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "less than it says, and hangs": then_hangs(OK + b"Content-Length: 9\r\n\r\n{}"),
    "less than it says": once(OK + b"Content-Length: 9\r\n\r\n{}"),
    "a gzip bomb": once(whole(_BOMB, "Content-Encoding: gzip")),
    "a bomb of two layers": once(whole(gzip.compress(_BOMB), "Content-Encoding: gzip, gzip")),
    "no gzip": once(whole(b"{}", "Content-Encoding: gzip")),
    "half a gzip": once(whole(_BOMB[:20], "Content-Encoding: gzip")),
    "an encoding of nobody": once(whole(b"{}", "Content-Encoding: rot13")),
}
"""Behaviours that give a client a status of 200 and an incomplete body."""

_DEEP = b"[" * 100_000 + b"]" * 100_000

NONSENSE: dict[str, Answers] = {
    "a body that is too long": once(whole(b"x" * 200_000)),
    "nested too deep": once(whole(_DEEP)),
    "nested too deep, under a key": once(whole(b'{"a":' + b"[" * 20_000)),
    "a number of many digits": once(whole(b'{"a": ' + b"9" * 10_000 + b"}")),
    "a list": once(whole(b"[1, null]")),
    "an empty object": once(whole(b"{}")),
    "a text": once(whole(b'"x"')),
    "null": once(whole(b"null")),
    "a page of a proxy": once(whole(b"<html>sign in</html>", "Content-Type: text/html")),
    "a charset of nobody": once(whole(b"\xff\xfe{}", "Content-Type: text/plain; charset=rot13")),
    "nothing": once(whole(b"")),
    "two lengths": once(OK + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}xx"),
    "a negative length": once(OK + b"Content-Length: -5\r\n\r\n{}"),
    "more than it says": once(whole(b"{}") + b"x" * 1000),
    "103": once(b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole(b"{}")),
    "204 with a body": once(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}"),
    "redirects without end": once(whole(b"", "Location: /", status="302 Found")),
    "redirects nowhere": once(whole(b"", "Location: http://[", status="307 Moved")),
    "no date": once(whole(b"{}", "Date: tomorrow")),
    "a date beyond time": once(whole(b"{}", "Date: Fri, 31 Dec 99999 23:59:59 GMT")),
    "401": once(whole(b"{}", status="401 Unauthorized")),
    "429 until nonsense": once(whole(b"", "Retry-After: \xb2", status="429 Slow")),
    "503 with a list": once(whole(b'{"error": [[]]}', status="503 Busy")),
    "400 with a number": once(whole(b'{"error": {"message": 4}}', status="400 Bad")),
    "a weight that is none": once(whole(b"[]", "X-MBX-USED-WEIGHT-1M: \xb2")),
}
"""Behaviours that give a client something that it did not ask for."""

ALL = NO_ANSWER | CUT | NONSENSE
TIMED = {name for name in ALL if re.search("silent|drip|hangs|that stop", name)}
"""Behaviours that end only with the client's deadline."""


@contextmanager
def serve(answers: Answers, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yield the URL of a server that behaves in this way after each request."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def treat(connection: socket.socket) -> None:
        with connection:
            try:
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                connection.recv(65_536)
                answers(connection, stop)
                if answers is not reset:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):  # the rest of the request, or its end
                        pass
            except OSError:
                return  # the client has closed the connection, as it should

    def listen() -> None:
        while True:
            connection, _ = listener.accept()
            if stop.is_set():
                connection.close()
                return
            connection.settimeout(30)
            threads.append(threading.Thread(target=treat, args=(connection,), name="rude"))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        threads.append(threading.Thread(target=listen, name="rude"))
        threads[0].start()
        try:
            yield f"http{'s' if context else ''}://127.0.0.1:{port}"
        finally:
            stop.set()
            socket.create_connection(("127.0.0.1", port)).close()
            for thread in threads:
                thread.join()


@contextmanager
def serve_all(behaviours: dict[str, Answers]) -> Iterator[dict[str, str]]:
    """Yield the URLs of servers, one for each behaviour."""
    with ExitStack() as servers:
        yield {name: servers.enter_context(serve(each)) for name, each in behaviours.items()}
