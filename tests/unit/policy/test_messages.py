"""Texts of messages: the lint of advertisements (law.md E6), the senders, and what E4 and E5 want said."""

from importlib.resources import files

import pytest

from services.policy import ad_lint, messages
from services.policy.message_text import Address, AdvertisementError, render
from services.policy.messages import LANGUAGES, MessagesError
from services.policy.model import load as load_rules

GOOD = ("(광고) [회사] 새 소식", "(광고) 회사\n\n소식\n\n전송자: 회사 (02-1)\n무료 수신거부: 080-1\n")


def lint(subject: str, body: str) -> list[str]:
    return ad_lint.lint(subject, body, sender="회사", contact="02-1", refusal="080-1")


def test_a_right_advertisement_has_no_fault() -> None:
    assert lint(*GOOD) == []


@pytest.mark.parametrize(
    ("wrong", "codes"),
    [
        ("[광고]", {"label_missing", "label_disguised"}),
        ("(광 고)", {"label_missing", "label_disguised"}),
        ("( 광고 )", {"label_missing", "label_disguised"}),
        ("(광.고)", {"label_missing", "label_disguised"}),
        ("<광고>", {"label_missing", "label_disguised"}),
        ("（광고）", {"label_missing", "label_disguised"}),
        ("(AD)", {"label_missing", "label_disguised"}),
        ("광고", {"label_missing"}),
        ("", {"label_missing"}),
        (" (광고)", {"label_missing"}),
    ],
)
def test_only_the_exact_label_at_the_start_is_right(wrong: str, codes: set[str]) -> None:
    assert set(lint(GOOD[0].replace("(광고)", wrong), GOOD[1])) == codes
    assert set(lint(GOOD[0], GOOD[1].replace("(광고)", wrong))) == codes


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("(02-1)", "", "contact_missing"),
        ("무료 수신거부: 080-1\n", "", "refusal_not_last"),
        ("무료 수신거부: 080-1", "수신거부: 080-1", "refusal_not_last"),
        ("080-1\n", "080-1\n끝\n", "refusal_not_last"),
        ("무료 수신거부: 080-1", "무료 수신거부", "refusal_not_last"),
    ],
)
def test_contact_and_a_free_way_to_refuse_at_the_end_are_wanted(old: str, new: str, code: str) -> None:
    assert lint(GOOD[0], GOOD[1].replace(old, new)) == [code]


def test_the_sender_is_named() -> None:
    assert lint(GOOD[0].replace("회사", ""), GOOD[1].replace("회사", "")) == ["sender_missing"]


def _data() -> tuple[str, str]:
    folder = files("services.policy").joinpath("rules")
    return folder.joinpath("messages.toml").read_text("utf-8"), folder.joinpath("message_texts.toml").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('subject = "(광고) [{sender}] {title}"', 'subject = "[광고] [{sender}] {title}"', "label_missing"),
        ("무료 수신거부: {refusal}", "무료 수신거부", "refusal_not_last"),
        ("수신 의사 표시: {wished_on}, {wish}", "수신 의사 표시: {wish}", "wished_on is said nowhere"),
        ("{leaves_on}에 탈퇴", "{left_on}에 탈퇴", "unknown placeholder left_on"),
        ("회원 탈퇴 처리 결과 안내", "(광고) 탈퇴 안내", "label_on_information"),
    ],
)
def test_a_text_that_breaks_the_rules_does_not_load(old: str, new: str, fault: str) -> None:
    kinds, texts = _data()
    assert old in texts
    with pytest.raises(MessagesError, match=fault):
        messages.parse(kinds, texts.replace(old, new))


def test_every_advertisement_passes_the_lint_for_each_company_and_language() -> None:
    data, rules = messages.load(), load_rules()
    advertising = [kind for kind in data.kinds.values() if kind.advertising]
    assert [kind.id for kind in advertising] == ["advertisement"]
    for company in data.companies.values():
        for language in LANGUAGES:
            made = render(
                data, rules, Address("advertisement", company.id, language), {"title": "소식", "text": "글"}, "홍길동"
            )
            assert made.subject.startswith("(광고) [")
            assert made.body.startswith("(광고) ")
            assert made.body.rstrip().endswith(company.refusal)


def test_a_disguised_label_in_the_campaigns_own_words_is_refused() -> None:
    with pytest.raises(AdvertisementError, match="label_disguised"):
        render(
            messages.load(),
            load_rules(),
            Address("advertisement", "tmax-os", "ko"),
            {"title": "소식", "text": "[광고] 글"},
            "홍길동",
        )


def test_a_result_notice_names_the_company_that_sends_the_date_and_the_result() -> None:
    data = {"wished_on": "2026-11-23", "wish": "withdrawn", "channels": ["email", "night"]}
    made = render(messages.load(), load_rules(), Address("marketing_result", "tmax-os", "ko"), data, "홍길동")
    assert made.subject == "[㈜티맥스오에스] 광고성 정보 수신 의사 처리 결과 안내"
    assert "전송자: ㈜티맥스오에스\n" in made.body
    assert "2026년 11월 23일, 수신 동의 철회\n" in made.body
    assert "대상: 이메일, 야간 전송(21시~다음 날 8시)\n" in made.body
    assert "처리 결과: 위 의사를 접수하여 처리를 마쳤습니다." in made.body


def test_a_members_name_is_text_and_never_a_placeholder_or_a_label() -> None:
    made = render(
        messages.load(),
        load_rules(),
        Address("withdrawal_result", "tmax-cloud", "ko"),
        {"withdrawn_on": "2026-11-23"},
        "{contact}(광고)",
    )
    assert made.body.startswith("{contact}(광고) 님, 안녕하세요.")


def test_every_company_of_the_policy_can_send_and_the_operator_is_first() -> None:
    rules, data = load_rules(), messages.load()
    assert set(data.companies) == set(rules.affiliates)
    assert rules.affiliates[data.operator].operator


@pytest.mark.parametrize(
    ("held", "beside", "sensitive", "owes"),
    [
        (999_999, 0, 0, False),
        (1_000_000, 0, 0, True),
        (0, 999_999, 0, False),
        (0, 1_000_000, 0, True),
        (600_000, 600_000, 0, False),  # they may be the same persons
        (0, 0, 49_999, False),
        (0, 0, 50_000, True),
    ],
)
def test_the_notices_of_source_and_use_are_owed_from_the_statutory_numbers_on(
    held: int, beside: int, sensitive: int, owes: bool
) -> None:
    data = messages.load()
    company = data.companies["tmax-os"].model_copy(update={"persons": beside, "sensitive_persons": sensitive})
    assert company.owes_notices(data.limits, held) is owes


def test_a_company_may_promise_the_notices_earlier_and_never_later_than_the_law() -> None:
    texts = files("services.policy").joinpath("rules")
    data, words = (texts.joinpath(f"{n}.toml").read_text(encoding="utf-8") for n in ("messages", "message_texts"))
    lower, higher = "persons = 300, sensitive_persons = 5", "persons = 1_000_001, sensitive_persons = 5"
    found = messages.parse(data.replace('id = "tmax-os"', f'id = "tmax-os"\nlimits = {{ {lower} }}'), words)
    company = found.companies["tmax-os"]
    assert [company.owes_notices(found.limits, held) for held in (299, 300)] == [False, True]
    with pytest.raises(MessagesError, match="limits above the law's"):
        messages.parse(data.replace('id = "tmax-os"', f'id = "tmax-os"\nlimits = {{ {higher} }}'), words)
