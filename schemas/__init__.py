"""The contract between the processes and with the affiliates: pure shapes, no decisions, no I/O."""
