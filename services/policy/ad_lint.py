"""Does a text look as the law wants an advertisement to look (Network Act 50(4), decree 62 and table 6)? Pure.

The label is exactly `(광고)`, first; `[광고]` or `(광 고)` evade the filters of the receiver and are forbidden.
"""

import re
from typing import Final

LABEL: Final = "(광고)"
_OPEN, _CLOSE = r"(\[{<（［〔【「", r")\]}>）］〕】」"
_GAP = rf"[^\w{_OPEN}{_CLOSE}]{{0,3}}"
_DISGUISED: Final = re.compile(rf"[{_OPEN}]{_GAP}(?:광{_GAP}고|AD){_GAP}[{_CLOSE}]", re.IGNORECASE)
"""The label and whatever a reader would take for it."""
_FREE_REFUSAL: Final = re.compile(r"무료\s?수신\s?거부|unsubscribe free of charge", re.IGNORECASE)


def lint(subject: str, body: str, *, sender: str, contact: str, refusal: str) -> list[str]:
    """Return the codes of what is wrong with an advertisement; none when it may go out.

    `label_missing`, `label_disguised`, `sender_missing`, `contact_missing`, `refusal_not_last`.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    faults = {
        "label_missing": not (subject.startswith(LABEL) and body.startswith(LABEL)),
        "label_disguised": any(found != LABEL for text in (subject, body) for found in _DISGUISED.findall(text)),
        "sender_missing": sender not in subject + body,
        "contact_missing": contact not in body,
        "refusal_not_last": refusal not in last or not _FREE_REFUSAL.search(last),
    }
    return [code for code, wrong in faults.items() if wrong]


def labelled(subject: str, body: str) -> bool:
    """Say whether a text carries the label, or something like it: what is no advertisement must not."""
    return bool(_DISGUISED.search(subject) or _DISGUISED.search(body))
