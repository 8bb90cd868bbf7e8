"""Faults of servers that answer badly, and of their certificates."""

import json
import subprocess
import threading
import time
from datetime import timedelta

from collector import PORTS
from peers import GO
from pki import Ca
from stage import scenario

SCENARIOS = []


class Server:
    """The server of server/main.go, which accepts everything until a fault is set."""

    ports = {"grpc": 8317, "http": 8317}
    by_frames = {"grpc": 9317, "http": 9317}

    def __init__(self, stage):
        self.deliveries = stage.deliveries
        self.process = subprocess.Popen(
            [str(GO / "server"), str(stage.certificates)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if not self.process.stdout.readline():
            raise RuntimeError("the server does not start")
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        stage.on_exit(self.close)

    def read(self):
        for line in self.process.stdout:
            export = json.loads(line)
            self.deliveries.add(export["service"], export["numbers"])

    def set(self, fault, delay=0):
        """See main.go; a refusal names the delay, in seconds."""
        print(fault, delay, file=self.process.stdin, flush=True)

    def close(self):
        self.process.stdin.close()
        self.reader.join()
        self.process.wait()


def answered(stage, fault, delay=0, ports=Server.ports):
    """Answers with a fault for 3 s."""
    server = Server(stage)
    stage.start_services(ports)
    stage.run_for(2)
    with stage.fault():
        server.set(fault, delay)
        stage.run_for(3)
        server.set("accept")
    stage.run_for(12)


@scenario(SCENARIOS, "connections of limited age")
def limited_age(stage):
    """Connections are ended by GOAWAY: the Collector's after 600 ms, and a server's on net/http after three requests."""
    age = "max_connection_age: 600ms"
    stage.collector.start(f"receivers::otlp::protocols::grpc::keepalive::server_parameters::{age}")
    Server(stage).set("goaway")
    stage.start_services({"grpc": PORTS["grpc"], "http": Server.ports["http"]})
    stage.run_for(stage.times(30, 8))


@scenario(SCENARIOS, "UNAVAILABLE, 503")
def unavailable(stage):
    """For 3 s, exports are answered with UNAVAILABLE or 503, without a delay."""
    answered(stage, "unavailable")


@scenario(SCENARIOS, "UNAVAILABLE, 503, with a delay")
def unavailable_with_delay(stage):
    """For 3 s, exports are answered with UNAVAILABLE or 503, which ask for a delay of 2 s."""
    answered(stage, "unavailable", 2)


@scenario(
    SCENARIOS,
    "UNAVAILABLE, 503, with a long delay",
    savable=False,
    why=(
        "exports fail at once as long as the rest of the delay is longer than their timeout. Go retries for a "
        "minute."
    ),
)
def unavailable_with_long_delay(stage):
    """For 3 s, exports are answered with UNAVAILABLE or 503, which ask for a delay of 12 s: longer than an export's timeout."""
    answered(stage, "unavailable", 12)


@scenario(SCENARIOS, "429", protocols=("http",))
def too_many_requests(stage):
    """For 3 s, exports are answered with 429, without a delay."""
    answered(stage, "exhausted")


@scenario(SCENARIOS, "RESOURCE_EXHAUSTED", protocols=("grpc",), savable=False)
def exhausted(stage):
    """For 3 s, exports are answered with RESOURCE_EXHAUSTED without RetryInfo: OTLP forbids to retry them."""
    answered(stage, "exhausted")


@scenario(SCENARIOS, "RESOURCE_EXHAUSTED, 429, with a delay")
def exhausted_with_delay(stage):
    """For 3 s, exports are answered with RESOURCE_EXHAUSTED or 429, which ask for a delay of 2 s."""
    answered(stage, "exhausted", 2)


@scenario(SCENARIOS, "REFUSED_STREAM")
def refused_stream(stage):
    """For 3 s, streams are reset with REFUSED_STREAM."""
    answered(stage, "refuse", ports=Server.by_frames)


@scenario(
    SCENARIOS,
    "no answer",
    savable=False,
    why="an export without an answer ends by its timeout, after 10 s.",
)
def no_answer(stage):
    """The exports of 3 s are never answered, and others are, on the same connections: each takes its whole timeout."""
    answered(stage, "silent")


@scenario(SCENARIOS, "partial success", savable=False)
def partial_success(stage):
    """For 3 s, half of the spans are rejected by a partial success: OTLP forbids to retry them."""
    answered(stage, "partial")


@scenario(SCENARIOS, "HTML page", savable=False)
def html_page(stage):
    """For 3 s, exports are answered with 200 and an HTML page, as by a proxy that wants a login: OTLP forbids to retry them."""
    answered(stage, "html")


@scenario(SCENARIOS, "invalid answer", savable=False)
def invalid_answer(stage):
    """For 3 s, exports are answered with an unreadable grpc-status, or 200 and an unreadable message."""
    answered(stage, "garbage")


@scenario(SCENARIOS, "TLS 1.2 only")
def tls_1_2(stage):
    """The Collector allows TLS 1.2 only, and is restarted."""
    restarted(stage, "max_version: '1.2'")


@scenario(SCENARIOS, "TLS 1.3 only")
def tls_1_3(stage):
    """The Collector allows TLS 1.3 only, and is restarted."""
    restarted(stage, "min_version: '1.3'")


def restarted(stage, setting):
    stage.collector.start(*tls(setting))
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        stage.collector.kill()
        stage.collector.start(*tls(setting))
    stage.run_for(8)


@scenario(SCENARIOS, "server certificate expires")
def certificate_expires(stage):
    """The Collector's certificate expires, which a restart shows, and is replaced 3 s later; the Collector reloads it."""
    lifetime = timedelta(seconds=8)
    stage.ca.issue("server", "server", lifetime)
    # At the latest; by the clock that the peers read, not the monotonic one.
    expired = time.time() + lifetime.total_seconds()
    reloading = tls("reload_interval: 1s")
    stage.collector.start(*reloading)
    stage.start_services()
    stage.run_for(expired + 1 - time.time())
    with stage.fault():
        stage.collector.kill()
        stage.collector.start(*reloading)
        stage.run_for(3)
        stage.ca.issue("server", "server")
    stage.run_for(12)


@scenario(SCENARIOS, "CA replaced, with overlap")
def ca_with_overlap(stage):
    """The services' CA file gets a second CA, then the Collector a certificate of that one, and is restarted."""
    rollover = Rollover(stage)
    rollover.trust(stage.ca, rollover.new)
    stage.run_for(2)
    with stage.fault():
        rollover.use_new()
    stage.run_for(12)


@scenario(SCENARIOS, "CA replaced, without overlap")
def ca_without_overlap(stage):
    """The Collector gets a certificate of another CA, and is restarted; the services' CA file is replaced 3 s later."""
    rollover = Rollover(stage)
    with stage.fault():
        rollover.use_new()
        stage.run_for(3)
        rollover.trust(rollover.new)
    stage.run_for(12)


class Rollover:
    """Running services with a CA file of their own, and another CA."""

    def __init__(self, stage):
        self.stage = stage
        self.new = Ca(stage.directory / "new-ca", "new CA of the fault suite")
        self.new.issue("server", "server")
        self.trusted = stage.directory / "trusted.crt"
        self.trust(stage.ca)
        stage.collector.start()
        stage.start_services(environment={"OTEL_EXPORTER_OTLP_CERTIFICATE": str(self.trusted)})
        stage.run_for(2)

    def trust(self, *cas):
        written = self.trusted.with_suffix(".new")
        written.write_text("".join(ca.certificate.read_text() for ca in cas))
        written.replace(self.trusted)

    def use_new(self):
        for name in ("server.crt", "server.key"):
            (self.stage.certificates / name).write_bytes((self.new.directory / name).read_bytes())
        self.stage.collector.kill()
        self.stage.collector.start()


def tls(setting):
    """Overlays of the Collector."""
    return [f"receivers::otlp::protocols::{protocol}::tls::{setting}" for protocol in PORTS]
