from __future__ import annotations

import pytest

from batch.errors import SheetError
from batch.models import Field, Key, Meaning
from batch.read.columns import recognise
from batch.read.headings import WORDS, meaning_of, plain

READ_ONLY_OF_THE_API = ("type", "createdAt", "updatedAt", "tokenGroupIds")
OF_OUR_REPORTS = (
    *("row", "status", "changes", "http_status", "attempts", "code", "message", "request_id"),
    *("finished_at", "batch_status", "batch_message"),
)
OF_FLEETS = (
    *("Name", "Note", "Medarbejder", "Afdeling", "Reg.nr.", "Bil", "Kortnummer", "Card number"),
    *("Kundenavn", "Customer name", "Kundenname", "Fahrer", "Kennzeichen", "Kostenstelle"),
    *("E-mail", "Date", "Site ID", "Car ID", "Kid", "Priority", "Blocked", "Model", "", "#"),
)


def meaning(header: str) -> Meaning | None:
    key = "uid" if meaning_of(header) is Key.ID else "id"
    return recognise([header, key])[0].meaning


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("isActive", Field.IS_ACTIVE),
        ("is_active", Field.IS_ACTIVE),
        (" IS ACTIVE? ", Field.IS_ACTIVE),
        ("Aktiv", Field.IS_ACTIVE),
        ("Valid from", Field.VALID_FROM),
        ("Gyldig fra", Field.VALID_FROM),
        ("Gültig ab", Field.VALID_FROM),
        ("Gultig ab", Field.VALID_FROM),
        ("GUELTIG AB:", Field.VALID_FROM),
        ("Gu\u0308ltig ab", Field.VALID_FROM),
        ("Udløbsdato", Field.EXPIRES_AT),
        ("Udlobsdato", Field.EXPIRES_AT),
        ("Udloebsdato", Field.EXPIRES_AT),
        ("Valid until", Field.EXPIRES_AT),
        ("Gyldig til", Field.EXPIRES_AT),
        ("Roaming", Field.ROAMING_ENABLED),
        ("Priority charging", Field.PRIORITY_CHARGING_ENABLED),
        ("Prioritetsladning", Field.PRIORITY_CHARGING_ENABLED),
        ("Billing reference", Field.BILLING_REFERENCE),
        ("Faktureringsreference", Field.BILLING_REFERENCE),
        ("Kommentar", Field.COMMENT),
        ("BEMÆRKNING", Field.COMMENT),
        ("Bemaerkning", Field.COMMENT),
        ("Bemerkung", Field.COMMENT),
        ("identifier.appUserId", Field.APP_USER_ID),
        ("App-bruger", Field.APP_USER_ID),
        ("Kunde-ID", Field.CUSTOMER_ID),
        ("Kundennummer", Field.CUSTOMER_ID),
        ("Customer", Field.CUSTOMER_ID),
        ("token_id", Key.ID),
        ("Token ID", Key.ID),
        ("Charge key", Key.LABEL),
        ("Ladebrik", Key.LABEL),
        ("Ladeschlussel", Key.LABEL),
        ("UID", Key.UID),
        ("RFID", Key.UID),
    ],
)
def test_a_column_is_known_by_the_words_people_use(header: str, expected: Meaning) -> None:
    assert meaning(header) is expected


@pytest.mark.parametrize("expected", [*Key, *Field])
def test_every_field_is_known_by_its_api_name_and_in_snake_case(expected: Meaning) -> None:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in expected)
    assert [meaning_of(expected), meaning_of(snake)] == [expected, expected]


def test_no_word_means_two_fields() -> None:
    owners: dict[str, set[Meaning]] = {}
    for owner, words in WORDS.items():
        for word in words:
            owners.setdefault(plain(word), set()).add(owner)
    assert [word for word, found in owners.items() if len(found) > 1] == []


@pytest.mark.parametrize("header", [*READ_ONLY_OF_THE_API, *OF_OUR_REPORTS, *OF_FLEETS])
def test_other_columns_are_ignored(header: str) -> None:
    assert meaning(header) is None


def test_columns_come_in_order_with_their_headers_as_written() -> None:
    columns = recognise(["Bil", " Token ID ", "", "Kommentar"])
    assert [(c.letter, c.header, c.meaning) for c in columns] == [
        ("A", "Bil", None),
        ("B", " Token ID ", Key.ID),
        ("C", "", None),
        ("D", "Kommentar", Field.COMMENT),
    ]


@pytest.mark.parametrize(
    ("header", "suggestion"),
    [
        ("Coment", '"comment"'),
        ("Lable", '"label"'),
        ("Valid form", '"validFrom"'),
        ("isActiv", '"isActive"'),
        ("Gyldig frra", '"Gyldig fra"'),
        ("priority chargin enable", '"priorityChargingEnabled"'),
        ("Expired", '"Expires"'),
        ("Inactive", '"isActive"'),
    ],
)
def test_a_heading_nearly_known_is_refused_with_the_suggestion(
    header: str, suggestion: str
) -> None:
    with pytest.raises(SheetError) as refused:
        recognise(["id", header])
    assert f'column B "{header}" is nearly {suggestion}' in str(refused.value)


def test_the_suggested_mapping_of_a_near_miss_is_taken() -> None:
    columns = recognise(["id", "Coment"], {"Coment": "comment"})
    assert columns[1].meaning is Field.COMMENT


def test_a_mapping_wins_over_the_known_words() -> None:
    columns = recognise(["id", "Comment"], {"comment": "Billing reference"})
    assert columns[1].meaning is Field.BILLING_REFERENCE


def test_a_mapping_finds_its_header_whatever_the_case_and_punctuation() -> None:
    assert recognise(["Card no."], {"CARD NO": "label"})[0].meaning is Key.LABEL
    assert recognise(["", "#"], {"#": "id"})[1].meaning is Key.ID


def test_a_mapping_of_a_header_that_is_not_there_is_refused() -> None:
    with pytest.raises(SheetError, match='names "Card no", but the sheet\'s headings are "id"'):
        recognise(["id"], {"Card no": "label"})


def test_a_mapping_to_no_field_is_refused() -> None:
    with pytest.raises(SheetError, match='"labl" is no field; known are id, label, uid'):
        recognise(["id", "Card no"], {"Card no": "labl"})


def test_two_columns_of_one_meaning_are_refused_by_their_letters() -> None:
    with pytest.raises(SheetError, match='A "id" and C "Token ID" both mean id'):
        recognise(["id", "Comment", "Token ID"])


def test_a_sheet_that_names_no_token_is_refused() -> None:
    with pytest.raises(SheetError, match="no column names the token"):
        recognise(["Comment", "Active"])


@pytest.mark.parametrize(
    "heading",
    [
        *("validFrom (Europe/Kopenhagen)", "validFrom (localtime)", "Gyldig fra (dd-mm-åååå)"),
        *("validFrom [UTC]", "comment (Europe/Oslo)", "Kommentar (intern)"),
    ],
)
def test_a_known_heading_with_a_remark_is_no_column_to_ignore(heading: str) -> None:
    with pytest.raises(SheetError, match="is nearly"):
        recognise(["id", heading])


@pytest.mark.parametrize(
    "heading", ["validFrom (Europe/Copenhagen)", "Gyldig fra ( Europe/Copenhagen )"]
)
def test_a_heading_may_name_the_zone_of_its_dates(heading: str) -> None:
    column = recognise(["id", heading])[1]
    assert (column.meaning, column.zone) == (Field.VALID_FROM, "Europe/Copenhagen")
