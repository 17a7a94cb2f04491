"""A real gRPC server with the official health service: ``python grpc_server.py [--port=PORT] NAME=STATUS...``.

It prints its port, and follows lines ``NAME=STATUS`` on its standard input; without NAME: the server as a whole.
``none`` alone: a server without the health service. Standard input's end is its own.
"""

from __future__ import annotations

import sys
from concurrent import futures


def main(words: list[str]) -> None:
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    wanted = "0"
    if words and words[0].startswith("--port="):
        wanted, words = words[0].partition("=")[2], words[1:]
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service = health.HealthServicer()

    def follow(line: str) -> None:
        name, _, status = line.strip().partition("=")
        service.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))

    if words != ["none"]:
        for word in words:
            follow(word)
        health_pb2_grpc.add_HealthServicer_to_server(service, server)
    port = server.add_insecure_port(f"127.0.0.1:{wanted}")
    server.start()
    print(port, flush=True)
    for line in sys.stdin:
        follow(line)
        print("ok", flush=True)
    server.stop(None).wait()


if __name__ == "__main__":
    main(sys.argv[1:])
