"""What would change: patches and the tokens as they are become operations. Pure.

Everything that takes several rows, or a row and its token, to see is decided here; nothing is
read and nothing is sent.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TypeVar

from batch.models import (
    BadCells,
    Expected,
    Field,
    Operation,
    Outcome,
    Patch,
    Status,
    Token,
    TokenRef,
    Value,
    shown,
)

T = TypeVar("T")

MANY_DEACTIVATIONS = 10  # operations, and more than …
MANY_DEACTIVATIONS_SHARE = 0.05  # … of all of them: then the plan is asked about twice
FOREIGN = 3  # tokens known from before of which none exists: it is another account
MANY_ALIKE = 10  # tokens that would get the same value are worth a remark beyond it

_NOTHING: Expected = {}

_ENCODINGS = ("utf-8", "cp850", "cp437", "mac_roman")  # in which a file may be taken for cp1252
_HOW_TO_KEEP_LETTERS = (
    "letters were spoilt when the sheet was saved or opened; use CSV UTF-8 or a workbook"
)
_LOST = frozenset("?\ufffd")  # what stands in the place of a letter that an encoding lacks


@dataclass(frozen=True, slots=True)
class Settled:
    """A row that needs no request, and why. `token` is None where none was found."""

    row: int
    outcome: Outcome
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All operations in the order of sending, and the rows that need none."""

    operations: Sequence[Operation]
    settled: Sequence[Settled]

    def fields(self) -> Counter[Field]:
        """How many operations change each field."""
        return Counter(name for operation in self.operations for name in operation.changes)

    @property
    def deactivations(self) -> int:
        """How many working tokens would stop working."""
        return sum(operation.deactivates for operation in self.operations)

    @property
    def deactivates_many(self) -> bool:
        """Whether more working tokens would stop working than anybody does by the way."""
        share = MANY_DEACTIVATIONS_SHARE * len(self.operations)
        return self.deactivations > max(MANY_DEACTIVATIONS, share)

    def uniform(self) -> Mapping[Field, Value]:
        """The fields that would hold one and the same value in many tokens: a cell filled down
        too far, perhaps.
        """
        values: defaultdict[Field, Counter[Value]] = defaultdict(Counter)
        for operation in self.operations:
            for name, value in operation.changes.items():
                values[name][value] += 1
        return {
            name: next(iter(counts))
            for name, counts in values.items()
            if len(counts) == 1 and counts.total() > MANY_ALIKE
        }

    @property
    def can_tell(self) -> bool:
        """Whether an answer could show that the API gives defaults to fields that are left out."""
        return any(operation.reveals for operation in self.operations)

    @property
    def finds_none(self) -> bool:
        """Whether not one of its tokens exists, and there are too many for that to be by chance."""
        missing = (row.outcome.status is Status.NOT_FOUND for row in self.settled)
        return not self.operations and len(self.settled) >= FOREIGN and all(missing)

    def to_new_customers(self) -> Sequence[Operation]:
        """Those after which another company would be billed."""
        return [each for each in self.operations if Field.CUSTOMER_ID in each.changes]

    def expired(self, now: datetime) -> Sequence[Operation]:
        """Those that set an end of validity which is in the past."""
        ends = ((each, each.changes.get(Field.EXPIRES_AT)) for each in self.operations)
        return [each for each, end in ends if isinstance(end, datetime) and end <= now]


class Named:
    """The tokens that the patches name, collected as the account's tokens go by."""

    def __init__(self, patches: Iterable[Patch]) -> None:
        self.ids: set[int] = set()
        self._labels: set[str] = set()
        self._uids: set[str] = set()
        self._by_id: dict[int, Token] = {}
        self._by_label: defaultdict[str, list[Token]] = defaultdict(list)
        self._by_uid: defaultdict[str, list[Token]] = defaultdict(list)
        self._with_zeros: defaultdict[str, list[Token]] = defaultdict(list)
        for patch in patches:
            self._want(patch.ref)

    def _want(self, ref: TokenRef) -> None:
        if ref.id is not None:
            self.ids.add(ref.id)
            return
        if ref.label is not None:
            self._labels.add(ref.label)
        if ref.uid is not None:
            self._uids.add(plain_uid(ref.uid))

    @property
    def only_by_id(self) -> bool:
        """Whether single reads could answer: labels and uids need the whole listing."""
        return not self._labels and not self._uids

    @property
    def missing(self) -> int:
        """How many of the ids named have a token that has not gone by."""
        return len(self.ids) - len(self._by_id)

    @property
    def missing_ids(self) -> list[int]:
        """Which those are, ascending."""
        return sorted(self.ids - self._by_id.keys())

    @property
    def misses_others(self) -> bool:
        """Whether a label or uid is named whose token has not gone by."""
        return bool(self._labels - self._by_label.keys() or self._uids - self._by_uid.keys())

    def offer(self, token: Token) -> None:
        """Keep the token if a patch names it; the latest word about a token counts."""
        if token.id in self.ids:
            self._by_id[token.id] = token
        label = token.identifier.label
        if label in self._labels:
            _replace(self._by_label[label], token)
        elif label and label[0] == "0" and (bare := label.lstrip("0")) in self._labels:
            _replace(self._with_zeros[bare], token)
        if token.identifier.uid and (uid := plain_uid(token.identifier.uid)) in self._uids:
            _replace(self._by_uid[uid], token)

    def find(self, ref: TokenRef) -> Token | Outcome:
        """The one token that all given names point to, or why there is none."""
        if ref.id is not None:
            return _agreeing(ref, self._by_id.get(ref.id))
        if ref.label is not None and ref.label in self._with_zeros:
            return _zeros_lost(ref, self._with_zeros[ref.label])
        labelled = self._by_label.get(ref.label, []) if ref.label is not None else None
        carded = self._by_uid.get(plain_uid(ref.uid), []) if ref.uid is not None else None
        return _only_one(ref, labelled, carded)


def plain_uid(uid: str) -> str:
    """A uid for comparison: readers write `04:a1:b2`, `04-A1-B2` and `04A1B2` for one card."""
    return re.sub(r"[\s:-]", "", uid).upper()


def make(patches: Iterable[Patch], named: Named, expected: Expected = _NOTHING) -> Plan:
    """Match, merge and compare.

    A row whose token does not hold what is expected of it, nor what is asked, is a conflict.

    Behind the operation whose answer shows the most, deactivations come first (a lost card must
    stop working before a comment is mended), then the order of the sheet.
    """
    settled: list[Settled] = []
    matched: list[tuple[Token, Patch]] = []
    for patch in patches:
        found = named.find(patch.ref)
        if isinstance(found, Outcome):
            settled.append(Settled(patch.row, found))
        else:
            matched.append((found, patch))
    matched.sort(key=lambda pair: pair[0].id)
    operations: list[Operation] = []
    for _, same_token in groupby(handed_over(matched), key=lambda pair: pair[0].id):
        pairs = list(same_token)
        token, same = pairs[0][0], [patch for _, patch in pairs]
        drifted = _drift(token, same, expected)
        if drifted:
            outcome = Outcome(Status.CONFLICT, drifted, code="changed_since")
            settled.extend(Settled(patch.row, outcome, token) for patch in same)
        else:
            _compare(token, same, operations, settled)
    settled.sort(key=lambda row: row.row)
    operations.sort(key=lambda operation: operation.rows[0])
    operations.sort(key=lambda operation: not operation.deactivates)
    _lead_with_a_probe(operations)
    return Plan(operations, settled)


def _lead_with_a_probe(operations: list[Operation]) -> None:
    """The first one goes alone, to see what the API does with fields that are left out: it shall
    be the one whose answer shows the most.
    """
    if operations:
        best = max(operations, key=lambda operation: len(operation.reveals))
        operations.remove(best)
        operations.insert(0, best)


def handed_over(items: list[T]) -> Iterator[T]:
    """Each item once, in order, and let go of: a large sheet's patches and its operations
    together are what the program's memory is measured by.
    """
    items.reverse()
    while items:
        yield items.pop()


def again(operation: Operation, token: Token | None, *, was_sent: bool) -> Operation | Outcome:
    """An operation whose end is not known, against its token as it is now.

    What stands as asked is settled, and told with whatever else moved. A field that is neither as
    it was nor as asked was changed by someone else, and the token is left alone. `was_sent`: a
    request may have left.
    """
    if token is None:
        return Outcome(Status.NOT_FOUND, f"token {operation.token.id} no longer exists")
    left = _differing(token, operation.changes)
    if not left and was_sent:
        message = "settled by reading the token: the answer to the request was lost"
        updated = Outcome(Status.UPDATED, message, after=token)
        return updated.with_side_effects(operation.side_effects(token))
    if not left:
        return Outcome(Status.UNCHANGED, "already so when the run went on")
    moved = [name for name in left if token.value(name) != operation.token.value(name)]
    if moved:
        found = ", ".join(f"{name} is now {shown(token.value(name))}" for name in moved)
        message = f"changed by someone else: {found}"
        stands = ", ".join(name for name in operation.changes if name not in left)
        if stands and was_sent:
            message += f"; as asked: {stands}"
        return Outcome(Status.CONFLICT, message, after=token if was_sent else None)
    return Operation(token, left, operation.rows)


def objections(
    plan: Plan, *, max_changes: int | None, max_deactivations: int | None
) -> Sequence[str]:
    """Why the plan must not be sent: it is larger than its owner allows. Empty if it may."""
    found = []
    if max_changes is not None and len(plan.operations) > max_changes:
        found.append(
            f"the plan changes {len(plan.operations):,} tokens and --max-changes allows "
            f"{max_changes:,}"
        )
    if max_deactivations is not None and plan.deactivations > max_deactivations:
        found.append(
            f"the plan switches {plan.deactivations:,} tokens off and --max-deactivations allows "
            f"{max_deactivations:,}"
        )
    return found


def _replace(tokens: list[Token], newer: Token) -> None:
    """A token that the listing showed twice, because it shifted, is one token."""
    tokens[:] = [token for token in tokens if token.id != newer.id]
    tokens.append(newer)


def _agreeing(ref: TokenRef, token: Token | None) -> Token | Outcome:
    if token is None:
        return _not_found(ref)
    identifier = token.identifier
    if ref.label is not None and ref.label != identifier.label:
        return _disagree(ref, f"token {token.id} has the label {identifier.label}, not {ref.label}")
    if ref.uid is not None and plain_uid(ref.uid) != plain_uid(identifier.uid or ""):
        return _disagree(ref, f"token {token.id} has the uid {identifier.uid}, not {ref.uid}")
    return token


def _only_one(
    ref: TokenRef, labelled: list[Token] | None, carded: list[Token] | None
) -> Token | Outcome:
    """The token that carries the label and the uid; None stands for one that was not given."""
    if not labelled and not carded:
        return _not_found(ref)
    both = [token for token in labelled or () if token in (carded or ())]
    fitting = both if labelled is not None and carded is not None else labelled or carded or []
    if not fitting:
        return _disagree(ref, f"label {ref.label} and uid {ref.uid} are not the same token")
    if len(fitting) > 1:
        ids = ", ".join(str(token.id) for token in fitting)
        return _misnamed(ref, f"{ref} names {len(fitting)} tokens (ids {ids}): name it by id")
    return fitting[0]


def _not_found(ref: TokenRef) -> Outcome:
    message = f"there is no token with {ref}"
    return Outcome(Status.NOT_FOUND, message, "no_such_token", bad_cells=_names(ref, message))


def _zeros_lost(ref: TokenRef, others: list[Token]) -> Outcome:
    """A spreadsheet drops the zeros before a number: which of the cards is meant is not known."""
    labels = ", ".join(str(token.identifier.label) for token in others)
    message = f"{ref} may be {labels} without its zeros: write the label as text, or name the id"
    return _misnamed(ref, message)


def _disagree(ref: TokenRef, message: str) -> Outcome:
    message = f"{message}: is a column sorted apart from the rest?"
    return _misnamed(ref, message, code="names_disagree")


def _misnamed(ref: TokenRef, message: str, code: str = "ambiguous") -> Outcome:
    return Outcome(Status.INVALID, message, code, bad_cells=_names(ref, message))


def _names(ref: TokenRef, message: str) -> BadCells:
    """The cells that name the token are the bad ones."""
    return dict.fromkeys(ref.given, message)


def _drift(token: Token, patches: list[Patch], expected: Expected) -> str:
    """Which fields hold neither what is expected nor what is asked; empty when none does."""
    moved = [
        f"{name} is now {shown(token.value(name))}, not {shown(was)}"
        for patch in patches
        for name, was in expected.get(patch.row, {}).items()
        if token.value(name) not in (was, patch.changes.get(name, was))
    ]
    return f"changed by someone else since: {', '.join(moved)}" if moved else ""


def _compare(
    token: Token, patches: list[Patch], operations: list[Operation], settled: list[Settled]
) -> None:
    """Add the operation of one token's rows, and settle the rows that need none."""
    clashes = _clashes(patches)
    if clashes:
        rows_said = ", ".join(str(patch.row) for patch in patches)
        disagree = "; ".join(f"{name} ({values})" for name, values in clashes.items())
        message = f"rows {rows_said} name the same token and disagree about {disagree}"
        outcome = Outcome(Status.INVALID, message, code="rows_disagree", bad_cells=clashes)
        settled.extend(Settled(patch.row, outcome, token) for patch in patches)
        return
    changes: Mapping[Field, Value] = {}
    rows = []
    for patch in patches:
        differing = _differing(token, patch.changes)
        damage = _spoilt(token, differing)
        if damage:
            message = f"{'; '.join(damage.values())}: {_HOW_TO_KEEP_LETTERS}"
            outcome = Outcome(Status.INVALID, message, code="letters_spoilt", bad_cells=damage)
            settled.append(Settled(patch.row, outcome, token))
        elif differing:
            changes = {**changes, **differing} if changes else differing
            rows.append(patch.row)
        else:
            settled.append(Settled(patch.row, Outcome(Status.UNCHANGED), token))
    if changes:
        operations.append(Operation(token, changes, tuple(rows)))


def _differing(token: Token, changes: Mapping[Field, Value]) -> Mapping[Field, Value]:
    """Dates compare as instants, texts exactly. What differs in all is itself the answer."""
    differing = {name: value for name, value in changes.items() if token.value(name) != value}
    return changes if len(differing) == len(changes) else differing


def _spoilt(token: Token, changes: Mapping[Field, Value]) -> BadCells:
    """The texts that are the token's own but for letters that were spoilt when the sheet was
    saved, and what has become of each.
    """
    return {
        name: f"{name} {shown(old)} has become {shown(new)}"
        for name, new in changes.items()
        if isinstance(new, str)
        and isinstance(old := token.value(name), str)
        and _is_garbled(old, new)
    }


def _is_garbled(old: str, new: str) -> bool:
    """Whether the new text is the old one written in one encoding and read in another."""
    if new == old or old.isascii():
        return False
    return _is_misread(old, new) or _has_lost_letters(old, new)


def _is_misread(old: str, new: str) -> bool:
    for encoding in _ENCODINGS:
        with suppress(UnicodeError):
            if old.encode(encoding).decode("cp1252") == new:
                return True
    return False


def _has_lost_letters(old: str, new: str) -> bool:
    """Whether some letters have become one question mark or two, and nothing else."""
    if not _LOST.intersection(new):
        return False
    ends = {0}  # how far the new text may reach with the old one's letters so far
    for letter in old:
        ends = {end for start in ends for end in _ends(letter, new, start)}
    return len(new) in ends


def _ends(letter: str, new: str, start: int) -> Iterator[int]:
    if new[start : start + 1] == letter:
        yield start + 1
    if letter.isascii():
        return
    for end in (start + 1, start + 2):
        if end <= len(new) and _LOST.issuperset(new[start:end]):
            yield end


def _clashes(patches: list[Patch]) -> BadCells:
    """The fields for which rows of the same token want different values, and which."""
    if len(patches) == 1:
        return {}
    wanted: defaultdict[Field, dict[Value, int]] = defaultdict(dict)
    for patch in patches:
        for name, value in patch.changes.items():
            wanted[name].setdefault(value, patch.row)
    return {
        name: ", ".join(f"row {row}: {shown(value)}" for value, row in rows.items())
        for name, rows in wanted.items()
        if len(rows) > 1
    }
