# mpbond as client or server. It needs NET_ADMIN, NET_RAW, /dev/net/tun and a writable /proc/sys;
# docs/operations.md has the commands. scripts/docker-rehearsal runs the steps below without an engine.

FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libssl-dev python3-dev python3-venv
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY mpbond mpbond
RUN python3 -m venv /opt/mpbond && /opt/mpbond/bin/python -m pip install --no-cache-dir .

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends nftables python3 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/mpbond /opt/mpbond
RUN ln -s /opt/mpbond/bin/mpbond /usr/local/bin/mpbond && mpbond --version
ENV PYTHONUNBUFFERED=1
EXPOSE 4510/udp
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s CMD ["mpbond", "status"]
ENTRYPOINT ["mpbond"]
CMD ["server"]
