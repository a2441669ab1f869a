"""How fast tunnels are where links are not the limit: over plain wires between two namespaces."""
