"""The machinery behind the fixtures: a real stack for the whole run, fresh databases and topics for each test."""
