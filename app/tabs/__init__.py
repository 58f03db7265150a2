"""One tab a file: each builds its components and wires its own events."""
