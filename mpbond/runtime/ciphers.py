"""Which cipher this processor does fast: AES-256-GCM with hardware help, else ChaCha20-Poly1305."""

from pathlib import Path

from mpbond.core.keys import CIPHERS


def preferred_ciphers(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Return all ciphers, the one that is fast here first."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        text = ""
    has_aes = any(
        "aes" in line.split()
        for line in text.splitlines()
        if line.startswith(("flags", "Features"))
    )
    return tuple(sorted(CIPHERS, key=lambda name: name.startswith("AES") != has_aes))
