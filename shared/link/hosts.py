"""Which hosts and addresses may be reached, and sockets that reach nothing else.

Enters: an address somebody typed, or one a server redirected to. Leaves: its checked parts, or a connected
socket whose peer is known to be public. It knows nothing of HTTP, media or YouTube's pages.

Environment: ALLOWED_HOSTS, the hosts of direct media links, separated by commas: `media.example.org`,
`*.example.org` (its subdomains), `media.example.org:8443` (that port only; without one, 80 and 443), `*` (every host;
private addresses stay refused).
LINK_ALLOW_LOOPBACK=1 lets links lead to this very machine: for tests only.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import queue
import re
import socket
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.link.reasons import link_error

YOUTUBE = ("youtube.com", "youtu.be", "youtube-nocookie.com")
CONNECT_SECONDS = 4.0  # for name and connection together: with no network the answer comes before one loses patience
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


@dataclass(frozen=True)
class Target:
    """A checked address: scheme http or https, host in lower case and IDNA form, `path` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}{'' if self.port == default else f':{self.port}'}{self.path}"


def read_link(link: str) -> Target:
    """Take an address apart, or raise UserError: only http and https, no user name, nothing that two readers
    could read in two ways. 'youtu.be/…' without a scheme is taken as https."""
    link = link.strip()
    if not link or len(link) > 2000 or re.search(r"[\s\\\x00-\x1f\x7f]", link):
        raise link_error("malformed", got=link[:80] or "nothing")
    if re.match(r"[\w.-]+\.[a-zA-Z]{2,}(/|$|\?)", link):
        link = "https://" + link
    try:
        parts = urlsplit(link)
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        raise link_error("malformed", got=link[:80]) from None
    if scheme not in ("http", "https"):
        raise link_error("scheme" if scheme else "malformed", got=link[:80])
    if not host.strip(".") or parts.username is not None or parts.password is not None:
        raise link_error("malformed", got=link[:80])
    try:
        host = _plain(host)
    except UnicodeError:
        raise link_error("malformed", got=link[:80]) from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path = re.sub(r"[^\x21-\x7e]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), path)
    return Target(scheme, host, port if port is not None else (443 if scheme == "https" else 80), path)


def is_youtube(host: str) -> bool:
    return any(host == name or host.endswith("." + name) for name in YOUTUBE)


def check_media_host(target: Target) -> None:
    """Raise UserError unless ALLOWED_HOSTS names this host and port; a private address is called so first."""
    literal = _literal(target.host)
    if literal is not None and not may_connect(literal):
        raise link_error("address", got=target.host)
    for entry in re.split(r"[,\s]+", os.environ.get("ALLOWED_HOSTS", "").strip()):
        name, _, port = entry.rpartition(":") if re.search(r":\d+$", entry) else (entry, "", "")
        name = _plain(name.strip("[]"))
        fits_name = target.host.endswith(name[1:]) if name.startswith("*.") else name in ("*", target.host)
        if name and fits_name and target.port in ((int(port),) if port else (80, 443)):
            return
    raise link_error("host", got=target.host if target.port in (80, 443) else f"{target.host}:{target.port}")


def may_connect(address: str) -> bool:
    """True for a public unicast address (numeric, IPv4 or IPv6), or loopback where tests allow it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6 and ip in NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    elif ip.version == 6 and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return os.environ.get("LINK_ALLOW_LOOPBACK") == "1"
    if ip.version == 6 and (ip.sixtofour or ip.is_site_local):  # a tunnel to any IPv4 address; an old private range
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_link_local)


def connect(host: str, port: int, seconds: float = CONNECT_SECONDS) -> socket.socket:
    """A connected TCP socket. The name is resolved once and that very answer is used, so that no second answer
    can lead elsewhere; one private address among the answers refuses them all. Raises UserError."""
    deadline = time.monotonic() + seconds
    answers = _resolve(host, port, seconds)
    private = [address[0] for _, address in answers if not may_connect(address[0])]
    if private:
        raise link_error("address", got=host)
    for family, address in answers:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            sock.connect(address)
            peer = sock.getpeername()[0]
        except OSError:
            sock.close()
            continue
        if may_connect(peer):
            return sock
        sock.close()
        raise link_error("address", got=host)
    raise link_error("network", got=f"no connection to {host}")


def _resolve(host: str, port: int, seconds: float) -> list[tuple[int, tuple]]:
    """(family, socket address) of a host. In a thread: the system's resolver takes no time limit."""
    answer: queue.SimpleQueue = queue.SimpleQueue()

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        answer.put([])

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        found = []
    if not found:
        raise link_error("network", got=f"no address for {host}")
    return [(family, address) for family, _, _, _, address in found]


def _plain(host: str) -> str:
    """A host in the one form in which it is compared: lower case, IDNA, no dot at the end."""
    return host.rstrip(".").encode("idna").decode("ascii").lower() if ":" not in host else host.lower()


def _literal(host: str) -> str | None:
    """The numeric address a host is, in any notation the system's resolver takes (127.1, 0x7f000001, 017700000001)."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return None

