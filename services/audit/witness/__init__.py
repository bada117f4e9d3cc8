"""A witness: remembers how far a log had grown and cosigns only what continues it (C2SP tlog-witness)."""
