"""Namespaces of the suite's own: its network, mounts and processes end with it, and touch nothing of the host."""

import json
import os
import subprocess
import sys

INSIDE = "OTLP_MTLS_FAULTS_INSIDE"
# Counts each dial once, whatever becomes of it: a SYN that is sent again has the same port. The rules of
# `filter_packets` are those of `input`: the sender of a packet that is dropped there is not told, as on a network.
RULES = """
table inet faults {
  set dials {
    type ipv4_addr . inet_service . inet_service
    size 65535
    flags dynamic
  }
  chain output {
    type filter hook output priority 0
    tcp flags & (syn | ack) == syn update @dials { ip daddr . tcp dport . tcp sport }
  }
  chain input {
    type filter hook input priority 0
  }
}
"""


def is_inside():
    return INSIDE in os.environ


def enter():
    """Runs this program again in namespaces, unless it is in them already."""
    if is_inside():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["nft", "--file", "-"], input=RULES, text=True, check=True)
        return
    os.environ[INSIDE] = "1"
    namespaces = ["--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    command = ["unshare", *namespaces, "--mount-proc", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def set_hosts(file, hosts):
    """Resolves names, each to its addresses, by a file instead of /etc/hosts."""
    is_new = not file.exists()
    lines = [f"{address} {name}\n" for name, addresses in hosts.items() for address in addresses]
    file.write_text("".join(["127.0.0.1 localhost\n", *lines]))
    if is_new:
        subprocess.run(["mount", "--bind", str(file), "/etc/hosts"], check=True)


def filter_packets(*rules):
    """Has the packets that arrive, of all connections, pass these rules of nftables, instead of those before."""
    commands = ["flush chain inet faults input", *(f"add rule inet faults input {rule}" for rule in rules)]
    subprocess.run(["nft", "--file", "-"], input="\n".join(commands), text=True, check=True)


def forget_dials():
    subprocess.run(["nft", "flush", "set", "inet", "faults", "dials"], check=True)


def dials():
    """Address, port and own port of each dial."""
    listed = subprocess.run(
        ["nft", "--json", "list", "set", "inet", "faults", "dials"],
        check=True,
        capture_output=True,
    )
    entries = json.loads(listed.stdout)["nftables"]
    return [element["concat"] for entry in entries for element in entry.get("set", {}).get("elem", [])]
