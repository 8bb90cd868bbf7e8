"""The real Collector, and what has arrived there."""

import json
import os
import signal
import subprocess
import threading
import time
from collections import defaultdict

from peers import REPOSITORY, SERVERS

PORTS = {"grpc": 4317, "http": 4318}
# In seconds
TIMEOUT = 60


class Deliveries:
    """The numbers of the spans that a server has accepted, by service.name, each with its time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_service = defaultdict(list)

    def add(self, service, numbers):
        now = time.monotonic()
        with self.lock:
            self.by_service[service].extend((now, number) for number in numbers)

    def of(self, service):
        with self.lock:
            return list(self.by_service[service])


class Collector:
    """On the ports of `PORTS`, of all addresses. It can be started again after its end."""

    def __init__(self, directory, certificates, deliveries):
        self.directory = directory
        self.certificates = certificates
        self.deliveries = deliveries
        self.process = None
        self.readers = []

    def start(self, *overlays):
        """Starts it, and waits until it is ready. An overlay is a setting, `PATH::TO::KEY:VALUE`."""
        start = len(self.readers)
        # A new file for each, so that the line that a killed one has not finished is not continued.
        output = self.directory / f"{start}.json"
        output.touch()
        endpoints = [
            f"receivers::otlp::protocols::{protocol}::endpoint: 0.0.0.0:{port}"
            for protocol, port in PORTS.items()
        ]
        configuration = REPOSITORY / "tests" / "servers" / "collector" / "config.yaml"
        log = self.directory / f"{start}.log"
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    str(SERVERS / "collector"),
                    f"--config=file:{configuration}",
                    *(f"--config=yaml:{overlay}" for overlay in [*endpoints, *overlays]),
                ],
                env=os.environ | {"CERTIFICATES": str(self.certificates), "OUTPUT": str(output)},
                stdin=subprocess.DEVNULL,
                stderr=errors,
            )
        self.readers.append(Reader(output, self.deliveries))
        deadline = time.monotonic() + TIMEOUT
        while "Everything is ready" not in log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Collector does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.01)

    def terminate(self):
        """As Kubernetes does it: it answers the requests that it has."""
        self._end(signal.SIGTERM)

    def kill(self):
        self._end(signal.SIGKILL)

    def _end(self, by):
        self.process.send_signal(by)
        self.process.wait(TIMEOUT)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        for reader in self.readers:
            reader.close()


class Reader(threading.Thread):
    """Reads the Collector's output as it is written."""

    def __init__(self, path, deliveries):
        super().__init__(daemon=True)
        self.path = path
        self.deliveries = deliveries
        self.ended = threading.Event()
        self.start()

    def run(self):
        with self.path.open() as file:
            incomplete = ""
            ended = False
            while not ended:
                ended = self.ended.wait(0.01)
                *lines, incomplete = (incomplete + file.read()).split("\n")
                for line in lines:
                    self.read(json.loads(line))

    def read(self, request):
        for of_resource in request.get("resourceSpans", []):
            attributes = of_resource["resource"]["attributes"]
            values = {attribute["key"]: attribute["value"] for attribute in attributes}
            spans = [span for scope in of_resource["scopeSpans"] for span in scope["spans"]]
            service = values["service.name"]["stringValue"]
            self.deliveries.add(service, [int(span["name"]) for span in spans])

    def close(self):
        self.ended.set()
        self.join()
