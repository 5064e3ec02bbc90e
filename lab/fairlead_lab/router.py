# SPDX-License-Identifier: Apache-2.0
"""The upstream router's BIRD: it waits for the edges' sessions and puts their VIPs in its kernel.

The edges open the sessions. Only prefixes inside the lab's VIP ranges are let in, whatever an edge
announces (host routes, and aggregates of the routed range); paths of equal cost from several edges
become one ECMP route. A second session per edge, inside the edges' own AS and under a password,
waits for edges that are told of it; its routes stay in a table of their own.
"""

import time

from fairlead_lab import netns, process
from fairlead_lab.config import LabConfig

ASN = 64500
EDGE_ASN = 64512
INTERNAL_PORT = 1790
INTERNAL_PASSWORD = "fairlead lab"
INTERNAL_TABLE = "internal4"
PROCESS = "router-bird"
# A session inside an AS counts as several hops in BIRD: its BFD and its next hops, too.
# BIRD runs one session per neighbour's address and port, so the second one names another port,
# though it calls nobody.
# Without short error times a session stays down for a minute after BFD drops it.
_HEAD = """\
log stderr all;
router id {router};
protocol device {{ }}
protocol bfd {{
  interface "eth0" {{ min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }};
}}
protocol kernel {{
  merge paths on limit 8;
  ipv4 {{ import none; export where source = RTS_BGP; }};
}}
protocol kernel {{
  merge paths on limit 8;
  ipv6 {{ import none; export where source = RTS_BGP; }};
}}
ipv4 table internal4;
ipv4 table connected4;
protocol direct {{ ipv4 {{ table connected4; }}; interface "eth0"; }}
template bgp edge {{
  passive on;
  bfd on;
  graceful restart off;
  hold time 9;
  keepalive time 3;
  error wait time 1, 3;
  error forget time 1;
}}
"""
_SESSION = """\
protocol bgp {name} from edge {{
  local {local} as {asn};
  neighbor {address} external;
  {family} {{ import where net ~ [ {prefixes} ]; export none; }};
}}
"""
_INTERNAL = """\
protocol bgp {name} from edge {{
  local {local} port {port} as {asn};
  neighbor {address} port {port} internal;
  password "{password}";
  ipv4 {{ table {table}; igp table connected4; import where net ~ [ {prefixes} ]; export none; }};
}}
"""


def bird_conf(cfg: LabConfig) -> str:
    """BIRD's configuration: one session per edge and family."""
    pool4, pool6 = cfg.lan_pool
    parts = [_HEAD.format(router=cfg.router_address)]
    for edge in cfg.edges:
        parts.append(
            _SESSION.format(
                name=f"{edge}_4",
                local=cfg.router_address,
                asn=ASN,
                address=cfg.address(edge),
                family="ipv4",
                prefixes=f"{pool4}{{32,32}}, {cfg.routed_pool}{{26,32}}",
            )
        )
        parts.append(
            _INTERNAL.format(
                name=f"{edge}_i",
                local=cfg.address("inside"),
                port=INTERNAL_PORT,
                asn=EDGE_ASN,
                address=cfg.address(edge),
                password=INTERNAL_PASSWORD,
                table=INTERNAL_TABLE,
                prefixes=f"{pool4}{{32,32}}, {cfg.routed_pool}{{26,32}}",
            )
        )
        parts.append(
            _SESSION.format(
                name=f"{edge}_6",
                local=cfg.address6("router"),
                asn=ASN,
                address=cfg.address6(edge),
                family="ipv6",
                prefixes=f"{pool6}{{128,128}}",
            )
        )
    return "".join(parts)


def start_bird(cfg: LabConfig) -> None:
    """Start BIRD in the router's namespace and wait for its control socket.

    Raises:
        process.ProcessError: it does not come up; the message has its last words.
    """
    folder = cfg.state_dir / "router"
    folder.mkdir(parents=True, exist_ok=True)
    conf, control = folder / "bird.conf", folder / "bird.ctl"
    text = bird_conf(cfg)
    if process.alive(cfg, PROCESS) and conf.exists() and conf.read_text() == text:
        return
    process.stop(cfg, PROCESS)
    control.unlink(missing_ok=True)
    conf.write_text(text)
    process.spawn(
        cfg, PROCESS, ["bird", "-f", "-c", str(conf), "-s", str(control)], netns=cfg.netns("router")
    )
    deadline = time.monotonic() + 10
    while netns.run(["birdc", "-s", str(control), "show", "status"], check=False).returncode:
        if time.monotonic() > deadline or not process.alive(cfg, PROCESS):
            log = cfg.log_dir / f"{PROCESS}.log"
            words = log.read_text()[-1000:] if log.exists() else ""
            raise process.ProcessError(f"the router's BIRD does not start; {log} ends:\n{words}")
        time.sleep(0.05)


def birdc(cfg: LabConfig, *words: str) -> str:
    """What the router's BIRD answers to a command.

    Raises:
        netns.NetnsError: BIRD does not run, or does not know the command.
    """
    control = cfg.state_dir / "router" / "bird.ctl"
    return netns.run(["birdc", "-s", str(control), *words]).stdout
