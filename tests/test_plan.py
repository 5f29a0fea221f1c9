"""What would change: matching, merging and comparing, without a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.models import (
    Field,
    Identifier,
    Operation,
    Outcome,
    Patch,
    Status,
    Token,
    TokenRef,
    Value,
)
from batch.plan import Named, Plan, again, make, objections, plain_uid

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
Changes = Mapping[Field, Value]


def token(
    token_id: int = 1,
    *,
    label: str | None = "DK-1",
    uid: str | None = "04A1B2",
    **values: Any,
) -> Token:
    fields: dict[str, Any] = {
        "valid_from": NEW_YEAR,
        "is_active": True,
        "roaming_enabled": True,
        "customer_id": 2001,
        "priority_charging_enabled": False,
        "expires_at": None,
        "billing_reference": "KST-1",
        "comment": "old",
    }
    app_user = values.pop("app_user_id", 7)
    identifier = Identifier(type="rfid", uid=uid, label=label, app_user_id=app_user)
    return Token(id=token_id, identifier=identifier, **(fields | values))


def patch(row: int, changes: Changes, ref: TokenRef | None = None) -> Patch:
    return Patch(row, ref or TokenRef(id=1), changes)


def planned(patches: Sequence[Patch], tokens: Sequence[Token]) -> Plan:
    named = Named(patches)
    for each in tokens:
        named.offer(each)
    return make(patches, named)


def outcomes(plan: Plan) -> dict[int, Status]:
    return {settled.row: settled.outcome.status for settled in plan.settled}


def only_outcome(plan: Plan) -> Outcome:
    (settled,) = plan.settled
    assert list(plan.operations) == []
    return settled.outcome


# Comparing

OSLO = timezone(timedelta(hours=1))
BOGOTA = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("field", "now", "asked"),
    [
        (Field.VALID_FROM, NEW_YEAR, datetime(2026, 1, 1, 1, tzinfo=OSLO)),
        (Field.EXPIRES_AT, None, None),
        (Field.EXPIRES_AT, NEW_YEAR, datetime(2025, 12, 31, 19, tzinfo=BOGOTA)),
        (Field.IS_ACTIVE, False, False),
        (Field.COMMENT, None, None),
        (Field.COMMENT, "", ""),
        (Field.COMMENT, "Søren 🚗", "Søren 🚗"),
        (Field.APP_USER_ID, 7, 7),
        (Field.CUSTOMER_ID, 2001, 2001),
    ],
)
def test_what_is_so_already_is_unchanged(field: Field, now: Value, asked: Value) -> None:
    plan = planned([patch(2, {field: asked})], [with_value(field, now)])

    assert only_outcome(plan).status is Status.UNCHANGED
    assert plan.settled[0].token == with_value(field, now)


@pytest.mark.parametrize(
    ("field", "now", "asked"),
    [
        (Field.VALID_FROM, NEW_YEAR, NEW_YEAR + timedelta(milliseconds=1)),
        (Field.VALID_FROM, NEW_YEAR, datetime(2026, 1, 1, tzinfo=OSLO)),
        (Field.EXPIRES_AT, None, NEW_YEAR),
        (Field.EXPIRES_AT, NEW_YEAR, None),
        (Field.IS_ACTIVE, False, True),
        (Field.PRIORITY_CHARGING_ENABLED, None, False),
        (Field.COMMENT, None, ""),
        (Field.COMMENT, "", None),
        (Field.COMMENT, "old", "Old"),
        (Field.COMMENT, "old", "old "),
        (Field.COMMENT, "\u00f8", "o\u0338"),
        (Field.APP_USER_ID, None, 7),
        (Field.CUSTOMER_ID, None, 2001),
        (Field.CUSTOMER_ID, 2001, 2002),
    ],
)
def test_what_differs_is_one_operation_with_just_that(
    field: Field, now: Value, asked: Value
) -> None:
    before = with_value(field, now)

    plan = planned([patch(2, {field: asked, Field.ROAMING_ENABLED: True})], [before])

    assert plan == Plan([Operation(before, {field: asked}, (2,))], [])


def with_value(field: Field, value: Value) -> Token:
    names = {
        Field.VALID_FROM: "valid_from",
        Field.EXPIRES_AT: "expires_at",
        Field.IS_ACTIVE: "is_active",
        Field.ROAMING_ENABLED: "roaming_enabled",
        Field.PRIORITY_CHARGING_ENABLED: "priority_charging_enabled",
        Field.BILLING_REFERENCE: "billing_reference",
        Field.COMMENT: "comment",
        Field.APP_USER_ID: "app_user_id",
        Field.CUSTOMER_ID: "customer_id",
    }
    given: dict[str, Any] = {names[field]: value}
    return token(**given)


def test_a_date_kept_finer_than_a_request_can_say_is_no_difference() -> None:
    finer = NEW_YEAR + timedelta(microseconds=400)  # the API's texts end with milliseconds

    plan = planned([patch(2, {Field.EXPIRES_AT: NEW_YEAR})], [token(expires_at=finer)])

    assert outcomes(plan) == {2: Status.UNCHANGED}


def test_a_row_without_changes_is_unchanged() -> None:
    assert outcomes(planned([patch(2, {})], [token()])) == {2: Status.UNCHANGED}


# Several rows for one token


def test_rows_of_one_token_become_one_operation() -> None:
    plan = planned(
        [
            patch(2, {Field.COMMENT: "new"}),
            patch(3, {Field.IS_ACTIVE: False, Field.COMMENT: "new"}, TokenRef(label="DK-1")),
            patch(4, {Field.CUSTOMER_ID: 2002}, TokenRef(uid="04:a1:b2")),
        ],
        [token()],
    )

    wanted: Changes = {Field.COMMENT: "new", Field.IS_ACTIVE: False, Field.CUSTOMER_ID: 2002}
    assert plan == Plan([Operation(token(), wanted, (2, 3, 4))], [])


def test_a_row_that_asks_for_nothing_new_is_no_part_of_its_tokens_operation() -> None:
    plan = planned(
        [
            patch(2, {Field.ROAMING_ENABLED: True}),
            patch(3, {Field.COMMENT: "new"}),
            patch(4, {}),
        ],
        [token()],
    )

    assert [operation.rows for operation in plan.operations] == [(3,)]
    assert outcomes(plan) == {2: Status.UNCHANGED, 4: Status.UNCHANGED}


def test_rows_that_disagree_are_all_invalid_and_name_each_other_and_the_fields() -> None:
    plan = planned(
        [
            patch(2, {Field.COMMENT: "a", Field.IS_ACTIVE: False}),
            patch(5, {Field.COMMENT: "b"}),
            patch(9, {Field.EXPIRES_AT: None, Field.IS_ACTIVE: True}),
            patch(11, {Field.CUSTOMER_ID: 2002}),
        ],
        [token()],
    )

    assert list(plan.operations) == []
    assert outcomes(plan) == dict.fromkeys((2, 5, 9, 11), Status.INVALID)
    for settled in plan.settled:
        assert settled.outcome.code == "rows_disagree"
        assert settled.token == token()
        assert settled.outcome.message == (
            "rows 2, 5, 9, 11 name the same token and disagree about "
            'comment (row 2: "a", row 5: "b"); isActive (row 2: false, row 9: true)'
        )


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        (Field.COMMENT, "old", "new"),  # one of them is what stands
        (Field.COMMENT, "", None),
        (Field.EXPIRES_AT, NEW_YEAR, None),
        (Field.VALID_FROM, NEW_YEAR, datetime(2026, 1, 1, tzinfo=OSLO)),
    ],
)
def test_different_values_for_one_field_disagree_even_when_one_is_so_already(
    field: Field, one: Value, other: Value
) -> None:
    plan = planned([patch(2, {field: one}), patch(3, {field: other})], [token()])

    assert outcomes(plan) == {2: Status.INVALID, 3: Status.INVALID}


def test_the_same_instant_in_two_zones_is_no_disagreement() -> None:
    later = NEW_YEAR + timedelta(days=1)
    patches = [
        patch(2, {Field.VALID_FROM: later}),
        patch(3, {Field.VALID_FROM: later.astimezone(OSLO)}),
    ]

    assert [operation.rows for operation in planned(patches, [token()]).operations] == [(2, 3)]


def test_rows_that_disagree_stop_no_other_token() -> None:
    tokens = [token(1), token(2, label="DK-2", uid="04FF")]
    plan = planned(
        [
            patch(2, {Field.COMMENT: "a"}),
            patch(3, {Field.COMMENT: "b"}),
            patch(4, {Field.COMMENT: "c"}, TokenRef(id=2)),
        ],
        tokens,
    )

    assert plan.operations == [Operation(tokens[1], {Field.COMMENT: "c"}, (4,))]


# The order of sending


def test_deactivations_go_first_and_then_the_sheets_order() -> None:
    tokens = [token(number, label=f"DK-{number}", uid=f"04{number}") for number in range(1, 6)]
    tokens[4] = replace(tokens[4], is_active=False)
    asked: list[Changes] = [
        {Field.COMMENT: "new"},
        {Field.IS_ACTIVE: False},
        {Field.CUSTOMER_ID: 2002},
        {Field.IS_ACTIVE: False, Field.COMMENT: "lost"},
        {Field.IS_ACTIVE: True},
    ]
    patches = [patch(row, asked[row - 2], TokenRef(id=row - 1)) for row in range(2, 7)]

    plan = planned(patches, tokens)

    assert [operation.token.id for operation in plan.operations] == [2, 4, 1, 3, 5]
    assert plan.deactivations == 2


def test_an_inactive_token_that_is_to_be_inactive_is_no_deactivation() -> None:
    asked: Changes = {Field.IS_ACTIVE: False, Field.COMMENT: "new"}

    plan = planned([patch(2, asked)], [token(is_active=False)])

    assert plan.deactivations == 0


def test_the_fields_are_counted_by_operation() -> None:
    tokens = [token(1), token(2, label="DK-2", uid="04FF")]
    plan = planned(
        [
            patch(2, {Field.COMMENT: "a"}),
            patch(3, {Field.COMMENT: "a", Field.IS_ACTIVE: False}),
            patch(4, {Field.COMMENT: "a"}, TokenRef(id=2)),
        ],
        tokens,
    )

    assert plan.fields() == {Field.COMMENT: 2, Field.IS_ACTIVE: 1}


# Which token a row names

ONE = token(1, label="DK-1", uid="04A1B2")
TWO = token(2, label="DK-2", uid="04C3D4")
TWIN = token(3, label="DK-2", uid="04E5F6")  # the same label as another
APP = token(4, label="APP-4", uid=None)
ACCOUNT = [ONE, TWO, TWIN, APP]


@pytest.mark.parametrize(
    ("ref", "found"),
    [
        (TokenRef(id=1), ONE),
        (TokenRef(label="DK-1"), ONE),
        (TokenRef(uid="04A1B2"), ONE),
        (TokenRef(id=1, label="DK-1", uid="04A1B2"), ONE),
        (TokenRef(label="DK-1", uid="04A1B2"), ONE),
        (TokenRef(id=3, label="DK-2"), TWIN),
        (TokenRef(label="DK-2", uid="04E5F6"), TWIN),
        (TokenRef(label="APP-4"), APP),
    ],
)
def test_a_row_finds_the_one_token_that_all_its_names_point_to(ref: TokenRef, found: Token) -> None:
    plan = planned([patch(2, {Field.COMMENT: "new"}, ref)], ACCOUNT)

    assert [operation.token for operation in plan.operations] == [found]


@pytest.mark.parametrize(
    "uid", ["04a1b2", "04:A1:B2", "04-a1-b2", "04 A1 B2", " 04A1B2 ", "04:a1 b2"]
)
@pytest.mark.parametrize("stored", ["04A1B2", "04:a1:b2"])
def test_a_uid_is_the_same_however_it_is_spelled(stored: str, uid: str) -> None:
    spelled = token(uid=stored)
    by_uid = patch(2, {Field.COMMENT: "new"}, TokenRef(uid=uid))
    by_both = patch(3, {Field.COMMENT: "new"}, TokenRef(id=1, uid=uid))

    plan = planned([by_uid, by_both], [spelled])

    assert [operation.rows for operation in plan.operations] == [(2, 3)]


def test_a_uid_is_read_without_its_separators() -> None:
    assert plain_uid(" 04:a1-b2 ") == "04A1B2"


@pytest.mark.parametrize(
    ("ref", "status", "code", "says"),
    [
        (TokenRef(id=9), Status.NOT_FOUND, "no_such_token", "id 9"),
        (TokenRef(label="DK-9"), Status.NOT_FOUND, "no_such_token", "label DK-9"),
        (TokenRef(label="dk-1"), Status.NOT_FOUND, "no_such_token", "label dk-1"),
        (TokenRef(uid="04FF"), Status.NOT_FOUND, "no_such_token", "uid 04FF"),
        (TokenRef(id=9, label="DK-1"), Status.NOT_FOUND, "no_such_token", "id 9, label DK-1"),
        (TokenRef(label="DK-9", uid="04FF"), Status.NOT_FOUND, "no_such_token", "label DK-9"),
        (TokenRef(id=1, label="DK-2"), Status.INVALID, "names_disagree", "label DK-1, not DK-2"),
        (TokenRef(id=1, uid="04C3D4"), Status.INVALID, "names_disagree", "uid 04A1B2, not 04C3D4"),
        (TokenRef(id=4, uid="04C3D4"), Status.INVALID, "names_disagree", "not 04C3D4"),
        (TokenRef(label="DK-1", uid="04C3D4"), Status.INVALID, "names_disagree", "same token"),
        (TokenRef(label="DK-9", uid="04C3D4"), Status.INVALID, "names_disagree", "same token"),
        (TokenRef(label="DK-1", uid="04FF"), Status.INVALID, "names_disagree", "same token"),
        (TokenRef(label="DK-2"), Status.INVALID, "ambiguous", "2 tokens (ids 2, 3)"),
    ],
)
def test_a_row_whose_names_do_not_lead_to_one_token_is_never_sent(
    ref: TokenRef, status: Status, code: str, says: str
) -> None:
    outcome = only_outcome(planned([patch(2, {Field.COMMENT: "new"}, ref)], ACCOUNT))

    assert (outcome.status, outcome.code) == (status, code)
    assert says in outcome.message


def test_a_uid_of_two_tokens_is_ambiguous_unless_the_label_decides() -> None:
    twins = [token(1, label="DK-1", uid="04FF"), token(2, label="DK-2", uid="04:ff")]
    changes: Changes = {Field.COMMENT: "new"}

    by_uid = patch(2, changes, TokenRef(uid="04FF"))
    by_both = patch(3, changes, TokenRef(label="DK-2", uid="04FF"))
    plan = planned([by_uid, by_both], twins)

    assert outcomes(plan) == {2: Status.INVALID}
    assert [operation.token.id for operation in plan.operations] == [2]


@pytest.mark.parametrize("ref", [TokenRef(id=1), TokenRef(label="DK-1"), TokenRef(uid="04A1B2")])
def test_a_token_that_the_listing_showed_twice_is_one_token_as_it_was_last(ref: TokenRef) -> None:
    later = token(comment="later")

    plan = planned([patch(2, {Field.COMMENT: "new"}, ref)], [token(), later])

    assert plan.operations == [Operation(later, {Field.COMMENT: "new"}, (2,))]


def test_what_is_still_missing_is_known_as_the_tokens_go_by() -> None:
    named = Named(
        [
            patch(2, {}, TokenRef(id=2)),
            patch(3, {}, TokenRef(id=1, label="not looked for: the id decides")),
            patch(4, {}, TokenRef(label="DK-2")),
        ]
    )
    before = (named.only_by_id, named.missing_ids, named.misses_others)
    for each in (ONE, TWIN):
        named.offer(each)

    assert before == (False, [1, 2], True)
    assert (named.missing_ids, named.misses_others) == ([2], False)


@pytest.mark.parametrize(
    ("ref", "only"),
    [
        (TokenRef(id=1), True),
        (TokenRef(id=1, label="a", uid="b"), True),
        (TokenRef(label="a"), False),
        (TokenRef(uid="b"), False),
    ],
)
def test_only_rows_without_an_id_need_the_whole_listing(ref: TokenRef, only: bool) -> None:  # noqa: FBT001 - a column of the table
    assert Named([patch(2, {}, ref)]).only_by_id is only


# The guards


def deactivating(count: int) -> list[Operation]:
    return [Operation(token(each), {Field.IS_ACTIVE: False}, (each,)) for each in range(count)]


@pytest.mark.parametrize(
    ("changes", "deactivations", "said"),
    [
        (None, None, []),
        (3, 2, []),
        (2, None, ["the plan changes 3 tokens and --max-changes allows 2"]),
        (None, 1, ["the plan switches 2 tokens off and --max-deactivations allows 1"]),
        (None, 0, ["the plan switches 2 tokens off and --max-deactivations allows 0"]),
    ],
)
def test_a_plan_larger_than_allowed_is_objected_to(
    changes: int | None, deactivations: int | None, said: list[str]
) -> None:
    plan = Plan([*deactivating(2), Operation(token(9), {Field.COMMENT: "new"}, (9,))], [])
    found = objections(plan, max_changes=changes, max_deactivations=deactivations)
    assert list(found) == said


@pytest.mark.parametrize(
    ("off", "others", "many"), [(10, 0, False), (11, 0, True), (11, 209, False), (12, 209, True)]
)
def test_more_than_ten_and_more_than_a_twentieth_are_many(
    off: int,
    others: int,
    many: bool,  # noqa: FBT001 - a column of the table
) -> None:
    others_ = [Operation(token(each), {Field.COMMENT: "new"}, (each,)) for each in range(others)]
    assert Plan([*deactivating(off), *others_], []).deactivates_many is many


def test_a_column_with_one_value_is_remarked_on() -> None:
    alike = [Operation(token(each), {Field.COMMENT: "new"}, (each,)) for each in range(11)]
    assert Plan(alike, []).uniform() == {Field.COMMENT: "new"}
    assert Plan(alike[:10], []).uniform() == {}
    other = Operation(token(99), {Field.COMMENT: "newer"}, (99,))
    assert Plan([*alike, other], []).uniform() == {}


# What the token must hold


def test_a_token_that_holds_neither_what_is_expected_nor_what_is_asked_is_a_conflict() -> None:
    patches = [patch(2, {Field.COMMENT: "old"})]

    def made(now: str) -> Plan:
        named = Named(patches)
        named.offer(token(comment=now))
        return make(patches, named, {2: {Field.COMMENT: "new"}})

    assert [each.changes for each in made("new").operations] == [{Field.COMMENT: "old"}]
    assert only_outcome(made("old")).status is Status.UNCHANGED
    conflict = only_outcome(made("other"))
    assert conflict.status is Status.CONFLICT
    assert 'comment is now "other", not "new"' in conflict.message


# An operation whose end is not known

ASKED: Changes = {Field.COMMENT: "new", Field.IS_ACTIVE: False}
OPERATION = Operation(token(), ASKED, (2, 3))


@pytest.mark.parametrize("was_sent", [True, False], ids=["sent", "not sent"])
@pytest.mark.parametrize(
    ("now", "when_sent", "when_not"),
    [
        (None, Status.NOT_FOUND, Status.NOT_FOUND),
        (token(comment="new", is_active=False), Status.UPDATED, Status.UNCHANGED),
        (token(comment="other"), Status.CONFLICT, Status.CONFLICT),
        (token(comment="other", is_active=False), Status.CONFLICT, Status.CONFLICT),
        (token(comment=None), Status.CONFLICT, Status.CONFLICT),
    ],
    ids=["gone", "as asked", "moved", "partly as asked, partly moved", "emptied"],
)
def test_a_token_decides_how_an_operation_ended(
    now: Token | None,
    when_sent: Status,
    when_not: Status,
    was_sent: bool,  # noqa: FBT001 - a column of the table
) -> None:
    decided = again(OPERATION, now, was_sent=was_sent)

    assert isinstance(decided, Outcome)
    assert decided.status is (when_sent if was_sent else when_not)
    assert decided.after == (now if was_sent else None)
    assert decided.message


@pytest.mark.parametrize("was_sent", [True, False], ids=["sent", "not sent"])
@pytest.mark.parametrize(
    ("now", "left"),
    [
        (token(), ASKED),
        (token(comment="new"), {Field.IS_ACTIVE: False}),
        (token(is_active=False), {Field.COMMENT: "new"}),
        (token(customer_id=2002), ASKED),  # somebody else's change of another field
    ],
    ids=["as before", "partly", "partly otherwise", "another field moved"],
)
def test_what_is_not_yet_as_asked_is_sent_against_the_token_as_it_is_now(
    now: Token,
    left: Changes,
    was_sent: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert again(OPERATION, now, was_sent=was_sent) == Operation(now, left, (2, 3))


def test_what_stands_as_asked_tells_what_else_moved_meanwhile() -> None:
    now = token(comment="new", is_active=False, roaming_enabled=not token().roaming_enabled)

    decided = again(OPERATION, now, was_sent=True)

    assert isinstance(decided, Outcome)
    assert (decided.status, decided.code) == (Status.UPDATED, "side_effect")
    assert "also changed, though it was not asked: roamingEnabled" in decided.message


def test_a_conflict_names_the_field_and_what_it_is_now() -> None:
    decided = again(OPERATION, token(comment="other"), was_sent=True)

    assert isinstance(decided, Outcome)
    assert decided.message == 'changed by someone else: comment is now "other"'


# For all tokens and sheets

INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001 - a zone is added
    lambda instant: instant.replace(microsecond=instant.microsecond // 1000 * 1000, tzinfo=UTC)
)
# Few values, so that rows ask for what is so already, agree and disagree.
MOMENTS = st.sampled_from([NEW_YEAR, NEW_YEAR.astimezone(OSLO), NEW_YEAR + timedelta(days=1)])
TEXTS = st.sampled_from([None, "", "a", "A", "ø"])
CHANGES: st.SearchStrategy[Changes] = st.fixed_dictionaries(
    {},
    optional={
        Field.VALID_FROM: MOMENTS | INSTANTS,
        Field.EXPIRES_AT: st.none() | MOMENTS,
        Field.IS_ACTIVE: st.booleans(),
        Field.COMMENT: TEXTS,
        Field.APP_USER_ID: st.integers(1, 2),
    },
)
TOKENS = st.lists(
    st.builds(
        lambda number, same_label, valid, expires, active, comment, user: token(
            number,
            label="twin" if same_label else f"L{number}",
            uid=f"04{number:02}",
            valid_from=valid,
            expires_at=expires,
            is_active=active,
            comment=comment,
            app_user_id=user,
        ),
        st.integers(1, 6),
        st.booleans(),
        MOMENTS,
        st.none() | MOMENTS,
        st.booleans(),
        TEXTS,
        st.none() | st.integers(1, 2),
    ),
    max_size=6,
    unique_by=lambda each: each.id,
)
REFS = st.builds(
    lambda number, kind: {
        "id": TokenRef(id=number),
        "label": TokenRef(label=f"L{number}"),
        "twin": TokenRef(label="twin"),
        "uid": TokenRef(uid=f"04:{number:02}"),
        "all": TokenRef(id=number, label=f"L{number}", uid=f"04{number:02}"),
    }[kind],
    st.integers(1, 7),
    st.sampled_from(["id", "label", "twin", "uid", "all"]),
)


def pointed_to(ref: TokenRef, tokens: Sequence[Token]) -> list[Token]:
    """The tokens that fit every name given; written again, the slow way."""
    return [
        each
        for each in tokens
        if ref.id in (None, each.id)
        and ref.label in (None, each.identifier.label)
        and (ref.uid is None or ref.uid.replace(":", "") == each.identifier.uid)
    ]


def applied(now: Token, changes: Changes) -> dict[Field, Value]:
    return {name: now.value(name) for name in Field} | dict(changes)


@given(tokens=TOKENS, asked=st.lists(st.tuples(REFS, CHANGES), max_size=8))
def test_every_plan_does_exactly_what_its_rows_ask_and_nothing_twice(
    tokens: list[Token], asked: list[tuple[TokenRef, Changes]]
) -> None:
    patches = [Patch(row, ref, changes) for row, (ref, changes) in enumerate(asked, start=2)]

    plan = planned(patches, tokens)

    in_operations = [row for operation in plan.operations for row in operation.rows]
    settled = outcomes(plan)
    assert sorted(in_operations + list(settled)) == [patch.row for patch in patches]
    assert len(settled) == len(plan.settled)
    ids = [operation.token.id for operation in plan.operations]
    assert len(ids) == len(set(ids))
    assert all(operation.changes for operation in plan.operations)
    order = [(not operation.deactivates, operation.rows[0]) for operation in plan.operations]
    assert order == sorted(order)

    after = {each.id: applied(each, {}) for each in tokens}
    for operation in plan.operations:
        after[operation.token.id] = applied(operation.token, operation.changes)
    untouched = {each.id for each in tokens} - set(ids)
    assert all(after[each.id] == applied(each, {}) for each in tokens if each.id in untouched)
    for each in patches:
        fitting = pointed_to(each.ref, tokens)
        status = settled.get(each.row)
        assert (status is Status.NOT_FOUND) <= (not fitting)
        if status in (None, Status.UNCHANGED):
            (its_token,) = fitting
            assert all(after[its_token.id][name] == value for name, value in each.changes.items())
        if status is Status.UNCHANGED:
            assert all(its_token.value(name) == value for name, value in each.changes.items())


@given(tokens=TOKENS, asked=st.lists(st.tuples(REFS, CHANGES), max_size=8))
def test_a_plan_that_was_carried_out_leaves_nothing_to_plan(
    tokens: list[Token], asked: list[tuple[TokenRef, Changes]]
) -> None:
    patches = [Patch(row, ref, changes) for row, (ref, changes) in enumerate(asked, start=2)]
    changed = {op.token.id: changed_token(op) for op in planned(patches, tokens).operations}

    once_more = planned(patches, [changed.get(each.id, each) for each in tokens])

    assert list(once_more.operations) == []


def changed_token(operation: Operation) -> Token:
    values = applied(operation.token, operation.changes)
    identifier = operation.token.identifier
    return token(
        operation.token.id,
        label=identifier.label,
        uid=identifier.uid,
        valid_from=values[Field.VALID_FROM],
        expires_at=values[Field.EXPIRES_AT],
        is_active=values[Field.IS_ACTIVE],
        comment=values[Field.COMMENT],
        app_user_id=values[Field.APP_USER_ID],
    )


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_in_which_tokens_go_by_does_not_matter(order: tuple[int, ...]) -> None:
    tokens = [ONE, TWO, APP]
    patches = [
        patch(2, {Field.COMMENT: "new"}, TokenRef(id=1)),
        patch(3, {Field.COMMENT: "new"}, TokenRef(label="DK-2")),
        patch(4, {Field.COMMENT: "new"}, TokenRef(label="APP-4")),
    ]

    assert planned(patches, [tokens[place] for place in order]) == planned(patches, tokens)


# Letters that were spoilt on the way


@pytest.mark.parametrize(
    "spoilt",
    [
        "R?d bil, ?lborg",
        "R\ufffdd bil, \ufffdlborg",
        "Rød bil, Ålborg".encode().decode("cp1252"),
        "R??d bil, ??lborg",
    ],
)
def test_the_tokens_own_text_with_spoilt_letters_is_no_change(spoilt: str) -> None:
    made = planned([patch(2, {Field.COMMENT: spoilt})], [token(comment="Rød bil, Ålborg")])
    assert made.operations == []
    assert made.settled[0].outcome.code == "letters_spoilt"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Rød bil", "Rød bil?"),
        ("Rød bil", "R?d bus"),
        ("really", "really?"),
        ("Rød bil", "Blå bil"),
        (None, "what?"),
    ],
)
def test_another_text_with_a_question_mark_is_a_change(old: str | None, new: str) -> None:
    made = planned([patch(2, {Field.COMMENT: new})], [token(comment=old)])
    assert [operation.changes for operation in made.operations] == [{Field.COMMENT: new}]


@pytest.mark.timeout(5)
def test_a_text_of_spoilt_letters_alone_is_seen_at_once() -> None:
    made = planned([patch(2, {Field.COMMENT: "?" * 100})], [token(comment="汉" * 100)])
    assert made.settled[0].outcome.code == "letters_spoilt"


# Zeros that a spreadsheet has dropped


@pytest.mark.parametrize("others", [["00123"], ["123", "0123"]])
def test_a_label_that_may_have_lost_its_zeros_names_no_token(others: list[str]) -> None:
    tokens = [token(place, label=label) for place, label in enumerate(others, 1)]
    made = planned([patch(2, {Field.COMMENT: "x"}, TokenRef(label="123"))], tokens)
    assert made.operations == []
    assert made.settled[0].outcome.code == "ambiguous"
    assert others[-1] in made.settled[0].outcome.message


# Who goes first


def test_the_operation_that_shows_the_most_goes_first_then_deactivations() -> None:
    tokens = [
        token(1),
        token(2),
        token(3, is_active=False),
        token(4, is_active=False, roaming_enabled=False),
    ]
    asked: list[Changes] = [
        {Field.COMMENT: "x"},
        {Field.IS_ACTIVE: False},
        {Field.COMMENT: "x"},
        {Field.COMMENT: "x"},
    ]
    patches = [patch(row, each, TokenRef(id=row - 1)) for row, each in enumerate(asked, 2)]
    made = planned(patches, tokens)
    assert [operation.token.id for operation in made.operations] == [4, 2, 1, 3]
    assert made.operations[0].reveals == {Field.VALID_FROM, Field.IS_ACTIVE, Field.ROAMING_ENABLED}


def test_a_field_that_is_sent_shows_nothing() -> None:
    everything: Changes = {
        Field.VALID_FROM: NEW_YEAR + timedelta(days=1),
        Field.IS_ACTIVE: True,
        Field.ROAMING_ENABLED: True,
    }
    one = token(is_active=False, roaming_enabled=False)
    made = planned([patch(2, everything)], [one])
    assert not made.can_tell
    assert planned([patch(2, {Field.COMMENT: "x"})], [one]).can_tell
