"""Why a row was not taken in, in words for the person who sends the file: code -> (Korean, English)."""

from typing import Final

_REASONS: Final[dict[str, tuple[str, str]]] = {
    "bad_json": ("올바른 JSON이 아닙니다.", "The line is not valid JSON."),
    "not_an_object": ("한 줄에 JSON 객체 하나가 있어야 합니다.", "Each line must be one JSON object."),
    "row_too_large": ("행이 64 KiB를 넘습니다.", "The row is larger than 64 KiB."),
    "wrong_number_of_columns": ("열의 수가 머리글과 다릅니다.", "The row has not as many columns as the header."),
    "email_taken": (
        "다른 회원이 쓰는 아이디(이메일)이거나 파일에 두 번 있습니다.",
        "Another member has this e-mail, or the file has it twice.",
    ),
    "source_id_taken": (
        "같은 source_id로 다른 이메일의 회원이 이미 있습니다.",
        "A member with this source_id is in already, with another e-mail.",
    ),
    "email_invalid": ("이메일 형식이 아닙니다.", "This is not an e-mail address."),
    "missing": ("필수 항목이 없습니다.", "A required field is absent."),
    "extra_forbidden": ("알 수 없는 항목입니다.", "The field is unknown."),
    "bool_type": ("동의는 true 또는 false여야 합니다.", "A consent is true or false."),
    "sharing_invalid": (
        "제공 동의는 true/false 또는 관계사별 값이어야 합니다.",
        "Sharing is true, false, or one of them for each affiliate.",
    ),
    "collection_consent_required": ("수집·이용 동의가 없습니다.", "The consent to collection is absent."),
    "marketing_use_required": (
        "마케팅 이용(use) 동의 없이 수신 채널이 켜져 있습니다.",
        "A marketing channel is on without the consent to marketing use.",
    ),
    "unknown_notice_version": (
        "동의한 때에 시행 중이던 고지 버전이 아닙니다.",
        "The notice version was not in force when the consent was given.",
    ),
    "superseded_notice_version": (
        "동의한 때에는 더 새로운 고지가 시행 중이었습니다.",
        "A newer notice was in force when the consent was given.",
    ),
    "notice_not_in_language": ("이 고지는 그 언어로 제공되지 않습니다.", "The notice does not exist in that language."),
    "recipient_not_in_notice": (
        "인용한 고지가 알리지 않은 관계사입니다.",
        "The cited notice does not tell of that affiliate.",
    ),
    "age_declaration_contradicted": (
        "생년월일이 만 14세 이상이라는 확인과 맞지 않습니다.",
        "The birth date contradicts the declaration of being 14 or older.",
    ),
    "unknown_recipient": ("관계사가 아닌 수신자입니다.", "A recipient is not an affiliate."),
    "consented_at_in_future": ("동의 시각이 미래입니다.", "The consent is dated in the future."),
    "birth_date_in_future": ("생년월일이 미래입니다.", "The birth date is in the future."),
    "date_type": ("날짜는 YYYY-MM-DD로 씁니다.", "A date is written as YYYY-MM-DD."),
    "instant_type": ("시각은 2026-11-23T10:00:00+09:00처럼 씁니다.", "Write an instant as 2026-11-23T10:00:00+09:00."),
    "year_out_of_range": ("연도는 1900~9998이어야 합니다.", "The year lies between 1900 and 9998."),
    "too_many_items": ("역할보다 항목이 많습니다.", "There are more items than any role has."),
    "timezone_aware": ("시각에 UTC 오프셋이 필요합니다.", "The instant needs its offset from UTC."),
    "password_or_hash": (
        "password와 password_hash 중 하나만 있어야 합니다.",
        "Give exactly one of password and password_hash.",
    ),
    "string_pattern_mismatch": ("정해진 형식과 다릅니다.", "The text has not the form it must have."),
    "unknown_service": ("알 수 없는 서비스입니다.", "The service is unknown."),
    "unknown_role": ("이 서비스에 없는 역할입니다.", "The service has no such role."),
    "unknown_item": ("이 역할이 수집하지 않는 항목입니다.", "This role has no such item."),
    "account_item": ("계정 항목은 프로필에 넣을 수 없습니다.", "An account item does not belong in a profile."),
    "missing_item": ("이 역할의 필수 항목이 없습니다.", "An item this role requires is absent."),
    "missing_role": ("역할이 없습니다.", "The role is absent."),
    "ill_formed": ("항목의 형식이 올바르지 않습니다.", "The item's form is not right."),
}
_OTHER: Final = ("항목의 값이 올바르지 않습니다.", "The field's value is not right.")


def reason_of(code: str) -> tuple[str, str]:
    """Return the reason for a code; one that fits any field when the code is new here."""
    return _REASONS.get(code, _OTHER)
