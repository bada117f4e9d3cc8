"""The groups of the `dongui` command, one file each."""
