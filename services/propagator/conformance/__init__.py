"""The conformance kit: adversarial sequences for an affiliate's own backend, and what it must hold after them."""
