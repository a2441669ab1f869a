"""The configuration: a TOML file in, frozen dataclasses out, one sentence if it cannot be used.

The way of a file: `loading` reads it and finds out whose it is (a `[server]` table makes it a
server's); `client` and `server` each hold a table of keys with their parsers and, after it, the
checks that need more than one key; `values`, `amounts` and `rules` hold the parsers; `place` knows
where in the file a value stands, so that every complaint names it; `keys` reads key files and
refuses those that others can read.

Defaults live in one place, the dataclasses of `model`. Nothing here touches the network or the
running system; what a configuration would do to it is for the runtime to say and do.
"""

from mpbond.config.loading import load, load_client, load_server, parse
from mpbond.config.model import (
    DEFAULT_PORT,
    LOG_LEVELS,
    RUN_DIRECTORY,
    SCHEDULERS,
    TIERS,
    Address,
    ClientConfig,
    ConcentratorConfig,
    Endpoint,
    LinkConfig,
    Network,
    PeerConfig,
    Quota,
    ServerConfig,
)

__all__ = [
    "DEFAULT_PORT",
    "LOG_LEVELS",
    "RUN_DIRECTORY",
    "SCHEDULERS",
    "TIERS",
    "Address",
    "ClientConfig",
    "ConcentratorConfig",
    "Endpoint",
    "LinkConfig",
    "Network",
    "PeerConfig",
    "Quota",
    "ServerConfig",
    "load",
    "load_client",
    "load_server",
    "parse",
]
