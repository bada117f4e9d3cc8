"""Fuzzing of everything that reads what others wrote: `tests/security/test_fuzzing.py`, or `python -m tests.fuzz`."""
