"""Library: the plumbing a process needs, one external thing per file."""
