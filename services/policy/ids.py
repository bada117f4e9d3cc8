"""The ids of the rules that `decide` can name. Their texts and citations are data (`rules/rules.toml`)."""

from typing import Final

OPERATOR: Final = "4.3-operator"
SHARE: Final = "3.2-share"
ITEMS: Final = "3.2-items"
CONSENT: Final = "3.1-consent"
MINIMUM: Final = "3.1-minimum"
PROCESS: Final = "4.3-process"
MARKETING: Final = "1.5-marketing"
CORRECT: Final = "5.1-correct"
REVOKE: Final = "3.2-revoke"
PROCESS_END: Final = "4.3-end"
CONTRACT: Final = "4.3-contract"
MARKETING_STOP: Final = "1.5-stop"
WITHDRAWAL_REQUEST: Final = "3.2-withdrawal-request"
WITHDRAWN: Final = "3.2-withdrawn"
SUSPEND: Final = "5.1-suspend"
SUSPEND_PART: Final = "5.1-suspend-part"
RELEASE: Final = "5.1-release"
ERASE: Final = "7.1-erase"
GUARDIAN: Final = "5.3-guardian"
NOTIFY: Final = "5.7-notify"

PERMISSIONS: Final = (OPERATOR, SHARE, PROCESS, MARKETING)
"""Rules that permit something, for a purpose, from a date on."""
ALL: Final = frozenset(
    {
        *PERMISSIONS,
        ITEMS,
        CONSENT,
        MINIMUM,
        CORRECT,
        REVOKE,
        PROCESS_END,
        CONTRACT,
        MARKETING_STOP,
        WITHDRAWAL_REQUEST,
        WITHDRAWN,
        SUSPEND,
        SUSPEND_PART,
        RELEASE,
        ERASE,
        GUARDIAN,
        NOTIFY,
    }
)
