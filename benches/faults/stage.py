"""What a scenario works with, and what is measured of it.

A scenario is a function with a `Stage`, in the list `SCENARIOS` of its module by the decorator `scenario`. Its
docstring, one sentence, says in the report what happens. It starts the servers and the services, puts what breaks into
`with stage.fault():`, and lets the services run for as long as the peers should need afterwards; stopping and
measuring are done behind it:

    @scenario(SCENARIOS, "down at the start")
    def down_at_start(stage):
        \"\"\"The Collector is down when the service starts, and comes up 5 s later.\"\"\"
        with stage.fault():
            stage.start_services()
            stage.run_for(5)
            stage.collector.start()
        stage.run_for(8)

`savable=False` says that no retry can save everything, and `why`, why another goal does not hold.

All peers run at the same time against the same servers. Each dials a name and an address of its own: `peer.host` is
`peer.address`, by /etc/hosts in the suite's own mount namespace, and servers listen on 0.0.0.0. So one server serves
all, and can still tell them apart. Other tools for a scenario:

- `stage.collector`: the real Collector on 4317 (gRPC) and 4318 (HTTP): `start(*overlays)`, `terminate()`, `kill()`,
  `pause()`, `resume()`. Start it again with `start()`.
- `stage.start_services(ports=…)`: another server's ports by protocol, for a server of the scenario's own, or one between
  the services and the Collector. A server that does not forward what it accepts to the Collector calls
  `stage.deliveries.add(service_name, numbers)`; a span's name is its number.
- `stage.start_services(environment=…, prefix=…)`: more variables, and a command that runs the service (`prlimit`).
- `stage.services`: the running processes: `pid`, `peer`. `stage.terminate_services()` ends them before the scenario does.
- `stage.on_exit(function)`: called after the services have ended, last first: servers are closed so.
- `stage.ca`: issues certificates (`pki.Ca`); `stage.certificates` is the directory of ca.crt, server.* and client.*.
- `middlebox.py`: what stands between the services and the Collector. `namespace.filter_packets(rules…)`: drops or rejects.
- `stage.set_hosts({name: [addresses]})`: names beyond those of the peers, or other addresses for those.
- `stage.times(full, quick)`: chooses by `--quick`.

The network is the suite's own: `nft`, `tc` and `ip` may do to it what they like, as `on_exit` undoes it.
"""

import math
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import namespace
from collector import PORTS, Collector, Deliveries
from peers import Service
from pki import Ca


@dataclass(frozen=True)
class Scenario:
    name: str
    run: object
    protocols: tuple[str, ...]
    # Whether a retry within the default timeout of an export, 10 s, can save everything
    savable: bool
    # Why a goal does not hold for it
    why: str

    @property
    def what(self):
        return " ".join(self.run.__doc__.split())


def scenario(scenarios, name, protocols=("grpc", "http"), savable=True, why=""):
    def register(function):
        scenarios.append(Scenario(name, function, protocols, savable, why))
        return function

    return register


@dataclass
class Outcome:
    """What a scenario did to a peer."""

    emitted: int | None
    delivered: int
    duplicated: int
    # Items that it told of by their number, and messages for the operator (each of one or more items)
    reported: int | None
    messages: int | None
    # From the end of a fault to the first delivery afterwards, in seconds: the longest of all faults. Infinite if there was
    # no delivery, and None if the fault does not end.
    recovery: float | None
    dials: int
    cpu: float

    @property
    def lost(self):
        return None if self.emitted is None else self.emitted - self.delivered


@dataclass
class Stage:
    peers: list
    directory: object
    quick: bool
    services: list = field(default_factory=list)
    ends: list = field(default_factory=list)

    def __post_init__(self):
        self.ca = Ca(self.directory / "ca")
        self.certificates = self.ca.directory
        self.ca.issue("server", "server")
        self.ca.issue("client", "client")
        self.deliveries = Deliveries()
        self.collector = Collector(self.directory, self.certificates, self.deliveries)
        self.exits = ExitStack()
        self.exits.callback(self.collector.close)
        # All that each of them has had
        self.addresses = {peer: set() for peer in self.peers}
        self.set_hosts({})
        namespace.forget_dials()

    def set_hosts(self, hosts):
        hosts = {peer.host: [peer.address] for peer in self.peers} | hosts
        for peer in self.peers:
            self.addresses[peer].update(hosts[peer.host])
        namespace.set_hosts(self.directory.parent / "hosts", hosts)

    def start_services(self, ports=PORTS, environment=None, prefix=()):
        for peer in self.peers:
            service = Service(peer, ports[peer.protocol], self.certificates, environment or {}, prefix)
            self.services.append(service)
            # However a scenario fails
            self.exits.callback(service.process.kill)
        for service in self.services:
            service.wait_until_started()

    def terminate_services(self):
        for service in self.services:
            service.terminate()

    @contextmanager
    def fault(self):
        yield
        self.ends.append(time.monotonic())

    def run_for(self, seconds):
        time.sleep(seconds)

    def times(self, full, quick):
        return quick if self.quick else full

    def on_exit(self, function):
        self.exits.callback(function)

    def stop_services(self):
        """What each of them told, the CPU time that it took, and all dials."""
        self.terminate_services()
        told = {service.peer: service.outcome() for service in self.services}
        return told, namespace.dials()

    def outcome(self, peer, told, cpu, dials):
        deliveries = self.deliveries.of(peer.id)
        unique = {number for _, number in deliveries}
        recoveries = [
            min((time for time, _ in deliveries if time >= end), default=math.inf) - end
            for end in self.ends
        ]
        return Outcome(
            emitted=told["emitted"] if told else None,
            delivered=len(unique),
            duplicated=len(deliveries) - len(unique),
            reported=told["reported"] if told else None,
            messages=told["messages"] if told else None,
            recovery=max(recoveries, default=None),
            dials=sum(address in self.addresses[peer] for address, _, _ in dials),
            cpu=cpu,
        )


def perform(scenario, peers, directory, quick):
    """The outcome of each of the peers that the scenario is for."""
    chosen = [peer for peer in peers if peer.protocol in scenario.protocols]
    stage = Stage(chosen, directory, quick)
    with stage.exits:
        scenario.run(stage)
        told, dials = stage.stop_services()
    # The servers have ended, and all that they accepted is known.
    return {peer: stage.outcome(peer, *of_peer, dials) for peer, of_peer in told.items()}
