"""Faults of the Collector, and of the service's own process and files."""

import resource
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from stage import scenario

SCENARIOS = []


@scenario(SCENARIOS, "down at the start")
def down_at_start(stage):
    """The Collector is down when the service starts, and comes up 5 s later."""
    with stage.fault():
        stage.start_services()
        stage.run_for(5)
        stage.collector.start()
    stage.run_for(8)


@scenario(
    SCENARIOS,
    "restarts",
    why=(
        "the Collector takes over a second to restart, so that it is reachable for less than half of the time, and dials up "
        "to 5 s apart can miss it for longer than an export's timeout."
    ),
)
def restarts(stage):
    """The Collector is restarted 50 times under load, by SIGTERM, with a second of service between."""
    stage.collector.start()
    stage.start_services()
    for _ in range(stage.times(50, 5)):
        stage.run_for(1)
        with stage.fault():
            stage.collector.terminate()
            stage.collector.start()
    stage.run_for(8)


@scenario(SCENARIOS, "killed during exports")
def killed(stage):
    """The Collector is killed while exports wait for its answer, and starts again a second later, five times."""
    stage.collector.start()
    stage.start_services()
    for _ in range(stage.times(5, 2)):
        stage.run_for(3)
        with stage.fault():
            # So that each peer has an export without an answer.
            stage.collector.pause()
            stage.run_for(0.5)
            stage.collector.kill()
            stage.run_for(1)
            stage.collector.start()
    stage.run_for(8)


@scenario(SCENARIOS, "paused for 5 s")
def paused(stage):
    """The Collector is stopped by SIGSTOP for 5 s: its host accepts connections and data, and nothing is answered."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(1)
    with stage.fault():
        stage.collector.pause()
        stage.run_for(5)
        stage.collector.resume()
    stage.run_for(5)


@scenario(SCENARIOS, "down for 20 s", savable=False)
def down_for_long(stage):
    """The Collector is down for twice the default timeout of an export, 10 s."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(1)
    with stage.fault():
        stage.collector.kill()
        stage.run_for(20)
        stage.collector.start()
    stage.run_for(12)


@scenario(SCENARIOS, "service ends during an export")
def ends_during_an_export(stage):
    """The service gets SIGTERM while an export waits for its answer, which comes 2 s later."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        stage.collector.pause()
        stage.run_for(0.5)
        stage.terminate_services()
        stage.run_for(2)
        stage.collector.resume()


@scenario(SCENARIOS, "service ends while the Collector is down", savable=False)
def ends_while_down(stage):
    """The service gets SIGTERM 2 s after the Collector was killed; it has 5 s to shut down, and nobody to deliver to."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    stage.collector.kill()
    stage.run_for(2)


@scenario(
    SCENARIOS,
    "full queue",
    savable=False,
    why=(
        "while the queue is full, it drops what arrives, and ours dials only at the end of a window. Hand-wired "
        "opentelemetry-otlp dials for each batch, several times a second."
    ),
)
def full_queue(stage):
    """The Collector is down for 8 s, and the SDK's queue holds the spans of only 2.5 s."""
    stage.collector.start()
    environment = {"OTEL_BSP_MAX_QUEUE_SIZE": "500", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100"}
    stage.start_services(environment=environment)
    stage.run_for(1)
    with stage.fault():
        stage.collector.kill()
        stage.run_for(8)
        stage.collector.start()
    stage.run_for(8)


@scenario(SCENARIOS, "memory limit")
def memory_limit(stage):
    """The service may map only 4 MiB more than it has, by RLIMIT_AS, while the Collector is down for 5 s."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        for service in stage.services:
            pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[0])
            limit(service, resource.RLIMIT_AS, pages * resource.getpagesize() + 4 * 2**20)
        stage.collector.kill()
        stage.run_for(5)
        stage.collector.start()
    stage.run_for(8)


@scenario(SCENARIOS, "file descriptors exhausted")
def file_descriptors(stage):
    """The Collector is restarted while the service can open no file descriptor, by RLIMIT_NOFILE, for 4 s."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(1)
    with stage.fault():
        before = [limit(service, resource.RLIMIT_NOFILE, 0) for service in stage.services]
        stage.collector.kill()
        stage.collector.start()
        stage.run_for(4)
        for service, soft in zip(stage.services, before, strict=True):
            limit(service, resource.RLIMIT_NOFILE, soft)
    stage.run_for(8)


@scenario(SCENARIOS, "certificates missing")
def certificates_missing(stage):
    """The mount with the service's certificates is gone for 6 s, and the Collector is restarted meanwhile."""
    mounted = Mount(stage)
    stage.collector.start()
    stage.start_services(environment=mounted.environment)
    stage.run_for(1)
    with stage.fault():
        mounted.unmount()
        # Time to notice it
        stage.run_for(4)
        stage.collector.kill()
        stage.collector.start()
        stage.run_for(2)
        mounted.mount()
    stage.run_for(4)


@scenario(SCENARIOS, "disk full during a rotation")
def full_disk(stage):
    """The service's certificates are replaced on a full disk, which leaves them empty, and the Collector is restarted."""
    mounted = Mount(stage)
    stage.collector.start()
    stage.start_services(environment=mounted.environment)
    stage.run_for(1)
    with stage.fault():
        mounted.fill()
        stage.ca.issue("client", "client")
        mounted.write()
        stage.run_for(4)
        stage.collector.kill()
        stage.collector.start()
        stage.run_for(2)
        mounted.free()
        mounted.write()
    stage.run_for(4)


def limit(service, which, soft):
    """Sets a soft limit of the running service, and returns the one before."""
    before, hard = resource.prlimit(service.pid, which)
    resource.prlimit(service.pid, which, (soft, hard))
    return before


class Mount:
    """A file system for the service's certificates, apart from the Collector's."""

    FILES = ("ca.crt", "client.crt", "client.key")
    FILLER = "filler"

    def __init__(self, stage):
        self.certificates = stage.certificates
        self.at = stage.directory / "mounted"
        self.at.mkdir()
        prefix = "OTEL_EXPORTER_OTLP_"
        variables = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"]
        self.environment = {
            prefix + variable: str(self.at / file)
            for variable, file in zip(variables, self.FILES, strict=True)
        } | {"OTEL_RUST_EXPORTER_OTLP_RELOAD_INTERVAL": "1000"}
        self.mount()
        stage.on_exit(self.unmount)

    def mount(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(self.at)], check=True)
        self.write()

    def unmount(self):
        subprocess.run(["umount", str(self.at)], check=True)

    def write(self):
        """As `cp` does it: a file is emptied, then written."""
        for file in self.FILES:
            # The disk may be full.
            with suppress(OSError):
                shutil.copyfile(self.certificates / file, self.at / file)

    def fill(self):
        """Leaves no space for a new version of the files."""
        for file in self.FILES:
            (self.at / file).write_bytes(b"")
        with suppress(OSError), (self.at / self.FILLER).open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def free(self):
        (self.at / self.FILLER).unlink()
