"""Load for the laboratory: TCP, pages, UDP, voice and QUIC, each with what it sees of the network."""

from bench.lab.traffic.generator import Generator
from bench.lab.traffic.runs import (
    PageLoads,
    QuicTransfer,
    Transfer,
    UdpStream,
    VoiceCall,
)

__all__ = ["Generator", "PageLoads", "QuicTransfer", "Transfer", "UdpStream", "VoiceCall"]
