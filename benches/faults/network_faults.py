"""Faults of the network and of names."""

import namespace
from collector import PORTS
from middlebox import Deaf, Middlebox, Silent
from stage import scenario

SCENARIOS = []
COLLECTOR = "{ " + ", ".join(map(str, PORTS.values())) + " }"


@scenario(SCENARIOS, "no handshake")
def no_handshake(stage):
    """For 5 s, connections are accepted, and nothing is answered on them, also later; new connections are served."""
    stage.collector.start()
    served_after(stage, Deaf(stage))


@scenario(SCENARIOS, "no answer after the handshake")
def no_answer_after_the_handshake(stage):
    """For 5 s, connections get nothing but the TLS handshake, also later; new connections are served."""
    stage.collector.start()
    served_after(stage, Silent(stage))


def served_after(stage, server):
    """Starts the services with connections to a server for 5 s."""
    middlebox = Middlebox(stage)
    middlebox.send_to(server.ports)
    stage.start_services(middlebox.ports)
    with stage.fault():
        stage.run_for(5)
        middlebox.send_to(PORTS)
    stage.run_for(14)


@scenario(SCENARIOS, "FIN instead of an answer")
def half_closed(stage):
    """A middlebox passes an export on, and closes the service's connection instead of the answer, ten times."""
    stage.collector.start()
    middlebox = Middlebox(stage)
    stage.start_services(middlebox.ports)
    for _ in range(stage.times(10, 3)):
        stage.run_for(2)
        with stage.fault():
            middlebox.half_close()
    stage.run_for(8)


@scenario(SCENARIOS, "RST during an export")
def reset(stage):
    """A middlebox resets the service's connection when an export arrives on it, ten times."""
    stage.collector.start()
    middlebox = Middlebox(stage)
    stage.start_services(middlebox.ports)
    for _ in range(stage.times(10, 3)):
        stage.run_for(2)
        with stage.fault():
            middlebox.reset()
    stage.run_for(8)


@scenario(
    SCENARIOS,
    "bytes swallowed",
    why="the path stays dead, which is noticed by the packets that nobody acknowledges.",
)
def swallowed(stage):
    """A middlebox keeps connections open and passes on nothing more, without an end; new connections are served."""
    stage.collector.start()
    middlebox = Middlebox(stage)
    stage.start_services(middlebox.ports)
    stage.run_for(2)
    with stage.fault():
        middlebox.swallow()
    stage.run_for(20)


@scenario(
    SCENARIOS,
    "flows forgotten",
    why="the path stays dead, which is noticed by the packets that nobody acknowledges.",
)
def flows_forgotten(stage):
    """A firewall forgets its connections, and drops their packets, without an end; new connections are served."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        ports = ", ".join(str(own) for _, _, own in namespace.dials())
        filtered(stage, f"tcp sport {{ {ports} }} drop", f"tcp dport {{ {ports} }} drop")
    stage.run_for(20)


@scenario(SCENARIOS, "packets dropped for 5 s")
def dropped(stage):
    """All packets are dropped for 5 s, in both directions."""
    drop_for(stage, 5)


@scenario(SCENARIOS, "packets dropped for 20 s", savable=False)
def dropped_for_long(stage):
    """All packets are dropped for twice the default timeout of an export, in both directions."""
    drop_for(stage, 20)


def drop_for(stage, seconds):
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        filtered(stage, f"tcp sport {COLLECTOR} drop", f"tcp dport {COLLECTOR} drop")
        stage.run_for(seconds)
        namespace.filter_packets()
    stage.run_for(14)


@scenario(SCENARIOS, "first address refuses")
def first_address_refuses(stage):
    """The first of two addresses of the Collector's name refuses connections, and the Collector is restarted."""
    dead_address(stage, "reject with tcp reset")


@scenario(SCENARIOS, "first address drops")
def first_address_drops(stage):
    """The first of two addresses of the Collector's name does not answer, and the Collector is restarted."""
    dead_address(stage, "drop")


def dead_address(stage, verdict):
    stage.set_hosts({peer.host: [other_address(peer), peer.address] for peer in stage.peers})
    filtered(stage, *(f"ip daddr {other_address(peer)} tcp flags syn {verdict}" for peer in stage.peers))
    stage.collector.start()
    stage.start_services()
    stage.run_for(5)
    with stage.fault():
        stage.collector.kill()
        stage.collector.start()
    stage.run_for(8)


@scenario(SCENARIOS, "the name moves")
def name_moves(stage):
    """The Collector is killed, and its name moves to another address, where a Collector starts; the old one refuses."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        stage.collector.kill()
        reject = "tcp flags syn reject with tcp reset"
        filtered(stage, *(f"ip daddr {peer.address} {reject}" for peer in stage.peers))
        stage.set_hosts({peer.host: [other_address(peer)] for peer in stage.peers})
        stage.collector.start()
    stage.run_for(14)


@scenario(SCENARIOS, "no name for 5 s")
def no_name(stage):
    """The Collector's name does not resolve for 5 s, and the Collector is restarted meanwhile."""
    stage.collector.start()
    stage.start_services()
    stage.run_for(2)
    with stage.fault():
        stage.set_hosts({peer.host: [] for peer in stage.peers})
        stage.collector.kill()
        stage.collector.start()
        stage.run_for(5)
        stage.set_hosts({})
    stage.run_for(8)


def other_address(peer):
    """Resolvers sort it before the peer's first one: it has more bits of the service's own, 127.0.0.1."""
    return peer.address.replace("127.0.1.", "127.0.0.1")


def filtered(stage, *rules):
    namespace.filter_packets(*rules)
    stage.on_exit(namespace.filter_packets)
