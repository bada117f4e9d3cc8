"""Chaos on the whole system: seeded faults under load, one oracle for all of it, figures as JSON."""
