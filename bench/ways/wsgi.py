"""The application of the way gunicorn, and its configuration."""

import os
import time


def post_worker_init(worker):
    host, port = worker.sockets[0].sock.getsockname()[:2]
    if ":" in host:
        host = "[%s]" % host
    # In one write: print may make several, and mix them with those of another worker.
    os.write(1, b"worker %s:%d\n" % (host.encode(), port))


def app(environ, start_response):
    query = environ["QUERY_STRING"]
    if query.startswith("burn="):
        burn(int(query[len("burn="):]))
    start_response(
        "200 OK",
        [("Worker", str(os.getpid())), ("Content-Type", "text/plain"), ("Content-Length", "6")],
    )
    return [b"hello\n"]


def burn(microseconds):
    """Use CPU time of this thread."""
    end = time.thread_time_ns() + microseconds * 1000
    while time.thread_time_ns() < end:
        pass
