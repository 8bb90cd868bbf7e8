"""What stands between the services and the Collector, or in the Collector's place."""

import socket
import ssl
import struct
import threading
from contextlib import suppress
from functools import partial

from collector import PORTS as COLLECTOR

SIZE = 1 << 16


class Middlebox:
    """Passes the connections to its `ports` on to the Collector's, until one of its faults."""

    ports = {"grpc": 5317, "http": 5318}

    def __init__(self, stage):
        self.targets = COLLECTOR
        self.connections = []
        for protocol, port in self.ports.items():
            accept(listen(stage, port), partial(self.forward, protocol))

    def forward(self, protocol, service):
        try:
            server = socket.create_connection(("127.0.0.1", self.targets[protocol]))
        except OSError:
            service.close()
            return
        self.connections.append(Connection(service, server))

    def send_to(self, targets):
        """Passes new connections on to other ports."""
        self.targets = targets

    def swallow(self):
        """Keeps the present connections open, and passes on no more bytes."""
        for connection in self.connections:
            connection.swallows = True

    def half_close(self):
        """Passes on each connection's next request, and sends the service a FIN instead of the answer."""
        for connection in self.connections:
            connection.on_request = connection.half_close

    def reset(self):
        """Resets each connection instead of passing on its next request."""
        for connection in self.connections:
            connection.on_request = connection.reset


class Connection:
    def __init__(self, service, server):
        self.service = service
        self.server = server
        self.swallows = False
        self.on_request = None
        for run in (self.read_requests, self.read_answers):
            threading.Thread(target=run, daemon=True).start()

    def read_requests(self):
        with suppress(OSError):
            while data := self.service.recv(SIZE):
                if self.on_request:
                    on_request, self.on_request = self.on_request, None
                    on_request(data)
                elif not self.swallows:
                    self.server.sendall(data)
        if not self.swallows:
            shut_down(self.server)

    def read_answers(self):
        with suppress(OSError):
            while data := self.server.recv(SIZE):
                if not self.swallows:
                    self.service.sendall(data)
        if not self.swallows:
            shut_down(self.service)

    def half_close(self, request):
        shut_down(self.service)
        self.server.sendall(request)

    def reset(self, _request):
        # Without lingering, a socket is closed by RST.
        self.service.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.service.close()


class Silent:
    """Servers that complete the handshake, and answer nothing."""

    ports = {"grpc": 6317, "http": 6318}

    def __init__(self, stage):
        directory = stage.certificates
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(directory / "server.crt", directory / "server.key")
        self.tls.load_verify_locations(directory / "ca.crt")
        self.tls.verify_mode = ssl.CERT_REQUIRED
        self.tls.set_alpn_protocols(["h2"])
        for port in self.ports.values():
            accept(listen(stage, port), self.shake_hands)

    def shake_hands(self, service):
        def run():
            with suppress(OSError), self.tls.wrap_socket(service, server_side=True) as session:
                while session.recv(SIZE):
                    pass

        threading.Thread(target=run, daemon=True).start()


class Deaf:
    """Servers whose connections the kernel accepts, and nobody else."""

    ports = {"grpc": 7317, "http": 7318}

    def __init__(self, stage):
        for port in self.ports.values():
            listen(stage, port)


def listen(stage, port):
    listener = socket.create_server(("0.0.0.0", port), backlog=128)
    stage.on_exit(listener.close)
    # Ends a thread that accepts, which would keep the port.
    stage.on_exit(lambda: listener.shutdown(socket.SHUT_RDWR))
    return listener


def accept(listener, handle):
    """Handles each connection, until the listener is shut down."""

    def run():
        with suppress(OSError):
            while True:
                handle(listener.accept()[0])

    threading.Thread(target=run, daemon=True).start()


def shut_down(stream):
    with suppress(OSError):
        stream.shutdown(socket.SHUT_WR)
