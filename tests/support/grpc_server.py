"""A real gRPC server with the official health service, as a process: ``python grpc_server.py NAME=STATUS...``.

It prints its port, and follows lines ``NAME=STATUS`` on its standard input; without NAME: the server as a whole.
``none`` alone: a server without the health service. Standard input's end is its own.
"""

from __future__ import annotations

import sys
from concurrent import futures


def main(words: list[str]) -> None:
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    server = grpc.server(futures.ThreadPoolExecutor(2))
    service = health.HealthServicer()

    def follow(line: str) -> None:
        name, _, status = line.strip().partition("=")
        service.set(name, health_pb2.HealthCheckResponse.ServingStatus.Value(status))

    if words != ["none"]:
        for word in words:
            follow(word)
        health_pb2_grpc.add_HealthServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    for line in sys.stdin:
        follow(line)
        print("ok", flush=True)
    server.stop(None).wait()


if __name__ == "__main__":
    main(sys.argv[1:])
