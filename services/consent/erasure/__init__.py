"""Clause 7: the destruction of a member, from the selection to the certificate, in design.md section 2.8's order."""
