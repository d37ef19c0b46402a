"""Computed answers: scenarios, the simulator, faults, virtual time, the loopback server."""
