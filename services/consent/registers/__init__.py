"""Registers that the policy promises beside members: provision to investigators (3.3), processors (4), inquiries (10).

Each keeps codes, ids and dates; a text is sealed under the member's data key. Who may read what stands in `api.py`.
"""
