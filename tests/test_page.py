"""report.html says what happened to whoever opens it, and does nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import re
import signal
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import (
    FIRST,
    NOBODY,
    Cells,
    Quiet,
    apply,
    comments,
    hurry,
    resume,
    settings_for,
)
from test_report import FACTS, NEW_YEAR, outcome, settle, token, updated

from batch import run
from batch.files import replacing
from batch.folders import read_run
from batch.journal import Journal
from batch.models import Field, Operation, Requests, Row, Sitting, Status, iso
from batch.report.page import facts_of, write_page
from batch.report.page.axis import TimeAxis, counting_ticks, duration_ticks
from batch.report.page.changes import KEPT, Change, Changes
from batch.report.page.plots import answers, progress
from batch.report.page.timeline import MOST_BINS, Durations, Events, timeline
from batch.report.words import lasting
from batch.run import Ended
from batch.simulator import Behaviour, Fault, Faults, SimulatedApi

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style></svg><b>bold</b>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;not escaped twice&gt;",
    "http://evil.example/x.png",
]


class Page:
    """A page as a browser reads it; the parser refuses what is not well formed."""

    def __init__(self, path: Path) -> None:
        self.source = path.read_text(encoding="utf-8")
        parser = html5lib.HTMLParser(
            html5lib.getTreeBuilder("etree"), strict=True, namespaceHTMLElements=False
        )
        self.root: ET.Element = parser.parse(self.source)

    def all(self, tag: str) -> list[ET.Element]:
        return list(self.root.iter(tag))

    def one(self, tag: str) -> ET.Element:
        (found,) = self.all(tag)
        return found

    @property
    def sentence(self) -> str:
        return text_of(self.one("h1"))

    @property
    def commands(self) -> list[str]:
        return [text_of(code) for code in self.all("code")]

    @property
    def text(self) -> str:
        return text_of(self.one("body"))

    def section(self, name: str) -> str:
        (found,) = (each for each in self.all("section") if each.get("aria-labelledby") == name)
        return text_of(found)

    def table(self, class_: str) -> list[list[str]]:
        tables = [each for each in self.all("table") if each.get("class") == class_]
        return [
            [text_of(cell) for cell in row]
            for table in tables
            for row in list(table.iter("tr"))[1:]
        ]


def text_of(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def written(journal: Journal) -> Page:
    write_page(journal.folder, facts_of(journal))
    return Page(journal.folder / "report.html")


def page_of(ended: Ended) -> Page:
    with read_run(Path(ended.summary.folder)) as journal:
        return written(journal)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    folder = tmp_path / "2026-01-01-kort"
    folder.mkdir()
    with contextlib.closing(Journal.create(folder)) as made:
        yield made


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=60, behaviour=Behaviour(limits=None)) as running:
        yield running


def of_statuses(journal: Journal, *statuses: Status, **facts: Any) -> Page:
    """The page of a run whose rows ended so."""
    journal.note(**(FACTS | facts))
    journal.add_rows(Row(row, ()) for row in range(2, 2 + len(statuses)))
    journal.settle_rows((row, outcome(each), None) for row, each in enumerate(statuses, 2))
    return written(journal)


# What happened


def test_a_run_that_did_all_says_so_and_how_it_is_taken_back(
    api: SimulatedApi, tmp_path: Path
) -> None:
    done: list[Cells] = [{"id": FIRST, "comment": "asked 0"}]
    apply(api, tmp_path, done)

    page = page_of(ended := apply(api, tmp_path, comments(5)))

    assert page.sentence == (
        "All 5 rows are as the sheet asks: 4 tokens were changed, and 1 row was already right."
    )
    undo = f"token-batch undo {ended.summary.run} --reports {tmp_path / 'reports'}"
    assert page.commands == [undo]
    assert "Nothing. Should it have been a mistake" in page.section("next")


def test_rows_that_share_a_token_are_told_as_rows_and_the_token_once(
    api: SimulatedApi, tmp_path: Path
) -> None:
    rows: list[Cells] = [
        {"id": FIRST, "comment": "x", "billingReference": ""},
        {"id": FIRST, "comment": "", "billingReference": "y"},
    ]

    page = page_of(apply(api, tmp_path, rows))

    assert page.sentence == "All 2 rows are as the sheet asks: 1 token was changed."


def test_a_run_with_nothing_to_do_says_so(api: SimulatedApi, tmp_path: Path) -> None:
    apply(api, tmp_path, comments(3))

    page = page_of(apply(api, tmp_path, comments(3)))

    assert page.sentence == ("All 3 rows are already as the sheet asks: nothing needed to be sent.")
    assert page.commands == []
    assert page.section("changed") == "What changed No token was changed."


def test_a_run_with_problems_says_how_many_rows_to_mend_and_where(
    api: SimulatedApi, tmp_path: Path
) -> None:
    rows = [*comments(3), {"id": NOBODY, "comment": "x"}, {"id": "card 7", "comment": "x"}]

    page = page_of(ended := apply(api, tmp_path, rows))

    assert page.sentence == "3 of 5 rows are as the sheet asks; 2 need mending."
    fix = f"{ended.summary.folder}/fix.csv"
    assert page.commands == [f"token-batch apply {fix} --reports {tmp_path / 'reports'}"]


def test_the_workbook_to_mend_is_named_where_there_is_one(journal: Journal) -> None:
    page = of_statuses(journal, Status.INVALID, worksheet="Cards")

    assert page.sentence == "None of 1 row is as the sheet asks; 1 needs mending."
    assert "fix.xlsx" in page.commands[0]


def test_an_interrupted_run_says_what_is_left_and_how_it_goes_on(
    api: SimulatedApi, tmp_path: Path
) -> None:
    ended = apply(api, tmp_path, comments(5), interrupting_after(2), workers=1)

    page = page_of(ended)

    assert re.fullmatch(
        r"The run was interrupted: [1-4] of 5 rows (is|are) as the sheet asks; [1-4] (was|were) "
        r"not sent\.",
        page.sentence,
    )
    assert page.commands[0].startswith(f"token-batch resume {ended.summary.run} ")
    assert "1970" not in page.text


def interrupting_after(count: int) -> Quiet:
    """Ctrl-C once so many are settled."""
    settled = itertools.count(1)

    def settling(*_: object) -> None:
        if next(settled) == count:
            signal.raise_signal(signal.SIGINT)

    return Quiet(settling=settling)


def test_a_run_that_was_gone_on_with_tells_both_times_and_its_whole_end(
    api: SimulatedApi, tmp_path: Path
) -> None:
    apply(api, tmp_path, comments(6), interrupting_after(3), workers=1)

    page = page_of(resume(api, tmp_path))

    assert page.sentence == "All 6 rows are as the sheet asks: 6 tokens were changed."
    assert "Nobody was at work on it" in page.section("course")
    assert len([row for row in page.all("tr") if "interrupted" in text_of(row)]) == 1


def test_a_run_that_stopped_tells_the_reason(tmp_path: Path) -> None:
    with SimulatedApi(tokens=20, behaviour=Behaviour(limits=None, key_expires_after=2)) as api:
        page = page_of(apply(api, tmp_path, comments(6), workers=1))

    assert page.sentence.startswith("The run stopped early: 2 of 6 rows are as the sheet asks;")
    assert "Why it stopped: the API does not accept the key (401" in page.text
    assert "When what stopped it is mended, go on" in page.section("next")


def test_fields_that_moved_unasked_are_told_and_how_to_put_them_back(tmp_path: Path) -> None:
    with SimulatedApi(tokens=20, behaviour=Behaviour(limits=None, applies_defaults=True)) as api:
        page = page_of(apply(api, tmp_path, comments(6), workers=1))

    undo, resume_, *_ = page.commands
    assert undo.startswith("token-batch undo ")
    assert resume_.startswith("token-batch apply sheet.csv --pin-defaults ")
    assert "also changed, though it was not asked" in page.section("wrong")


def test_a_run_that_was_killed_says_so(journal: Journal) -> None:
    journal.begin_sitting(who="søren", version="1", settings={})

    page = of_statuses(journal, Status.UPDATED, Status.UPDATED, Status.NOT_SENT)

    assert page.sentence == (
        "The run has not come to its end, because it was killed or is still at work: so far "
        "2 of 3 rows are as the sheet asks."
    )
    assert page.commands[0].startswith("token-batch resume ")


def test_rows_whose_end_is_not_known_are_to_be_settled(journal: Journal) -> None:
    page = of_statuses(journal, Status.UPDATED, Status.UNKNOWN)

    assert page.sentence == "1 of 2 rows is as the sheet asks; 1 was sent without an answer."
    assert page.commands[0].startswith("token-batch resume ")


def test_rows_that_failed_or_met_somebody_else_are_told_apart(journal: Journal) -> None:
    page = of_statuses(
        journal, *[Status.UPDATED] * 3, *[Status.CONFLICT] * 2, Status.FAILED, Status.REJECTED
    )

    assert page.sentence == (
        "3 of 7 rows are as the sheet asks; 1 needs mending, 2 were left alone, because somebody "
        "else made a change and 1 failed."
    )


def test_an_undo_is_told_as_one(api: SimulatedApi, tmp_path: Path) -> None:
    first = apply(api, tmp_path, comments(4))
    folder = Path(first.summary.folder)

    ended = asyncio.run(run.undo(folder, settings_for(api, tmp_path), Quiet()))

    assert ended is not None
    assert page_of(ended).sentence == (
        f"All 4 tokens are as before the run {folder.name}: 4 tokens were changed."
    )


def test_a_simulated_run_says_so_first_and_in_its_title_and_commands(journal: Journal) -> None:
    page = of_statuses(journal, Status.UPDATED, Status.FAILED, simulated=True)

    assert page.text.startswith("Simulated. ")
    assert text_of(page.one("title")).startswith("Simulated: ")
    assert all(command.endswith("--simulate") for command in page.commands)


def test_another_run_does_not_say_that_it_is_simulated(journal: Journal) -> None:
    assert "imulat" not in of_statuses(journal, Status.UPDATED).text


# Figures


def test_the_counts_are_those_of_the_summary(api: SimulatedApi, tmp_path: Path) -> None:
    rows = [*comments(9), {"id": NOBODY, "comment": "x"}, {"id": "?", "comment": "x"}]
    ended = apply(api, tmp_path, [*rows, {"id": FIRST + 20}])

    page = page_of(ended)

    told = json.loads((Path(ended.summary.folder) / "summary.json").read_text(encoding="utf-8"))
    counts = {status: count for status, count in told["counts"].items() if count}
    assert {
        row[0].split(" ")[0].lower() if row[0][:3] != "Not" else "not_found": int(row[1])
        for row in page.table("statuses")
    } == counts


def test_problems_are_told_by_cause_with_their_rows(journal: Journal) -> None:
    journal.note(**FACTS)
    journal.add_rows(Row(row, ()) for row in range(2, 42))
    gone = outcome(Status.REJECTED, message="Customer 999999 does not exist")
    journal.settle_rows([(row, gone, None) for row in range(5, 36)])
    journal.settle_rows(
        (row, outcome(Status.NOT_FOUND, message=f"there is no token with id {row}"), None)
        for row in (2, 3, 4, *range(36, 42))
    )

    assert written(journal).table("causes") == [
        ["31", "Customer 999999 does not exist Rejected · rows 5, 6, 7, 8, 9, …"],
        [
            "9",
            (
                "there is no token with id … For example: there is no token with id 2 "
                "Not found · rows 2, 3, 4, 36, 37, …"
            ),
        ],
    ]


def test_what_changed_is_told_by_field_with_the_commonest_changes(journal: Journal) -> None:
    operations = [
        Operation(token(n, comment=f"old {n % 2}"), {Field.COMMENT: "new; → x"}, (n,))
        for n in range(2, 12)
    ]
    operations += [Operation(token(20), {Field.IS_ACTIVE: False}, (20,))]
    updated(journal, operations)

    assert written(journal).table("changes") == [
        ["isActive", "1"],
        ["yes → no", "1"],
        ["comment", "10"],
        ["“old 0” → “new; → x”", "5"],
        ["“old 1” → “new; → x”", "5"],
    ]


def difference(old: str, new: str) -> str:
    return Operation(token(1, comment=old), {Field.COMMENT: new}, (2,)).difference


def test_one_new_value_for_many_old_ones_is_told_as_one_change() -> None:
    changes = Changes()
    for number in range(3 * KEPT):
        changes.add(difference(f"old {number}", "new"))

    (found,) = changes.by_field()

    assert found.changes == (Change("…", "“new”", 3 * KEPT),)
    assert found.others == 0


def test_values_of_their_own_are_told_by_examples_and_summed() -> None:
    changes = Changes()
    for number in range(3 * KEPT):
        changes.add(difference("", f"new {number}"))

    (found,) = changes.by_field()

    assert not found.are_commonest
    assert found.others == 3 * KEPT - len(found.changes)


@given(st.text(), st.text())
def test_any_text_is_told_as_it_was_and_as_it_is(old: str, new: str) -> None:
    changes = Changes()

    changes.add(difference(old, new))

    (found,) = changes.by_field()
    assert found.changes == (Change(f"“{old}”", f"“{new}”", 1),)


def test_who_when_from_what_and_with_which_settings_is_told(journal: Journal) -> None:
    requests = Requests(total=1234, reads=34, writes=1200, retries=7, refusals_429=5)
    journal.begin_sitting(who="søren", version="1", settings={})
    journal.end_sitting("")
    page = of_statuses(
        journal, Status.UPDATED, requests=requests, settings={"write_rate": "120/min", "x": None}
    )

    told = page.section("run")
    for fact in (
        "kort.csv",
        "0" * 64,
        "https://api.example",
        "søren",
        "2026-01-01 00:00:00",
        "2026-01-02 00:00:00",
        "1,234: 34 to read, 1,200 to change",
        "write_rate 120/min",
    ):
        assert fact in told


# What it must never do


@pytest.fixture
def hostile(journal: Journal) -> Page:
    texts = [*HOSTILE, "a\0b\x1b[31m", "\u202egnp.exe", "W" * 5000]
    journal.note(**(FACTS | {"sheet": HOSTILE[0], "who": HOSTILE[1], "worksheet": HOSTILE[2]}))
    journal.note(stopped=HOSTILE[0], settings={HOSTILE[0]: HOSTILE[1]})
    journal.begin_sitting(who=HOSTILE[0], version="1", settings={})
    rows = range(2, 2 + len(texts))
    journal.add_rows(Row(row, ()) for row in rows)
    journal.settle_rows(
        (row, outcome(Status.REJECTED, message=f"odd {row % 7} {text}", code=text), None)
        for row, text in zip(rows, texts, strict=True)
    )
    operations = [
        Operation(token(n, comment=text), {Field.COMMENT: f"{text}!"}, (90 + n,))
        for n, text in enumerate(texts)
    ]
    journal.add_rows(Row(90 + n, ()) for n, _ in enumerate(texts))
    journal.add_operations(operations)
    ends = {
        n: outcome(Status.UPDATED, seconds=n / 50, finished_at=NEW_YEAR + timedelta(seconds=n))
        for n in range(1, len(operations) + 1)
    }
    settle(journal, ends)

    async def pauses() -> None:
        journal.pause(HOSTILE[2])
        journal.unpause()
        await journal.caught_up()

    asyncio.run(pauses())
    journal.end_sitting(HOSTILE[0])
    return written(journal)


def test_what_sheets_and_the_api_say_is_text_and_nothing_else(hostile: Page) -> None:
    assert hostile.all("script") == hostile.all("img") == hostile.all("b") == []
    for text in HOSTILE:
        assert text in hostile.text
    assert text_of(hostile.one("title")).endswith(HOSTILE[0])


def test_characters_that_hide_or_move_others_are_told_by_their_numbers(hostile: Page) -> None:
    assert "a⟨U+0000⟩b⟨U+001B⟩[31m" in hostile.text
    assert "⟨U+202E⟩gnp.exe" in hostile.text
    assert not re.search("[\0\x1b\u202a-\u202e\u2066-\u2069]", hostile.source)


def test_an_endless_word_is_cut_and_can_be_broken(hostile: Page) -> None:
    assert "W" * 700 not in hostile.source
    assert "overflow-wrap: anywhere" in text_of(hostile.one("style"))


def test_the_page_asks_nothing_of_anybody(hostile: Page) -> None:
    names = [(name, element) for element in hostile.root.iter() for name in element.attrib]
    assert [e for name, e in names if name in {"src", "href", "srcset", "style", "action"}] == []
    assert [e for name, e in names if name.startswith("on")] == []
    assert hostile.all("link") == hostile.all("iframe") == hostile.all("form") == []
    style = hostile.one("style").text or ""
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_the_pages_own_style_and_nothing_else(hostile: Page) -> None:
    (policy,) = (
        each.get("content")
        for each in hostile.all("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    style = (hostile.one("style").text or "").encode()
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


# For everybody


def test_a_screen_reader_finds_its_way(hostile: Page) -> None:
    assert hostile.one("html").get("lang") == "en"
    levels = [int(e.tag[1]) for e in hostile.root.iter() if re.fullmatch("h[1-6]", str(e.tag))]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for table in hostile.all("table"):
        assert text_of(next(table.iter("caption")))
        assert {cell.get("scope") for cell in table.iter("th")} <= {"col", "row", "rowgroup"}
    ids = [element.get("id") for element in hostile.root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    named = [e.get("aria-labelledby", "") for e in hostile.root.iter()]
    assert {name for names in named for name in names.split()} <= set(ids)


def test_pictures_are_told_in_words_and_bars_have_their_numbers_beside_them(
    hostile: Page,
) -> None:
    pictures = [each for each in hostile.all(f"{SVG}svg") if not each.get("aria-hidden")]
    assert len(pictures) == 4
    for picture in pictures:
        assert picture.get("role") == "img"
        title, description = (next(picture.iter(f"{SVG}{tag}")) for tag in ("title", "desc"))
        assert title.text
        assert text_of(description) in hostile.section("course")


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TEXTS = [
    *itertools.product(("ink", "muted", "link"), ("paper", "tint")),
    *((name, f"{name}-tint") for name in ("good", "mend", "open")),
    ("muted", "pause"),
]
MARKS = ["well", "badly", "fill"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough_in_both_schemes(hostile: Page, scheme: str) -> None:
    style = hostile.one("style").text or ""
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in halves(style))
    colours = light if scheme == "light" else dark

    assert light.keys() == dark.keys()
    low = [pair for pair in TEXTS[:-1] if contrast(*(colours[name] for name in pair)) < 4.5]
    faint = [name for name in MARKS if contrast(colours[name], colours["paper"]) < 3]
    assert (low, faint) == ([], [])


def halves(style: str) -> tuple[str, str]:
    light, _, rest = style.partition("@media screen and (prefers-color-scheme: dark)")
    return light, rest.partition("@media")[0]


# Plots


def events(*at: float, kind: str = "well") -> Events:
    made = Events()
    for each in at:
        made.add(each, kind)
    return made


def test_a_run_of_a_moment_has_sentences_instead_of_pictures(journal: Journal) -> None:
    updated(journal, [Operation(token(2), {Field.COMMENT: "new"}, (2,))])

    page = written(journal)

    assert [each for each in page.all(f"{SVG}svg") if not each.get("aria-hidden")] == []
    assert "1 change settled from 2026-01-01 00:00:00" in page.section("course")
    assert "there are no response times" in page.section("course")


def test_a_run_of_which_nothing_came_has_a_page(journal: Journal) -> None:
    journal.note(**FACTS)

    assert written(journal).sentence == "There were no rows, so there was nothing to do."


def test_a_real_run_with_faults_has_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    faults = Faults(rates={Fault.TOO_MANY: 0.2, Fault.UNAVAILABLE: 0.1}, seed=3, retry_after=0)
    with SimulatedApi(tokens=60, behaviour=Behaviour(limits=None), faults=faults) as api:
        ended = apply(api, tmp_path, comments(50), tries=6)

    page = page_of(ended)

    requests = ended.summary.requests
    told = page.section("course")
    assert f"{requests.refusals_429:,} of them because the API asked to slow down (429)" in told
    assert {"try-429", "try-other", "well-line"} <= {
        each.get("class", "") for each in page.root.iter()
    }


def test_events_are_kept_in_bins_of_which_there_are_never_too_many() -> None:
    made = events(*range(0, 50_000_000, 500))

    bins = list(made.bins())

    assert len(bins) <= MOST_BINS
    assert sum(kinds.total() for _, kinds in bins) == made.totals.total() == 100_000
    assert [at for at, _ in bins] == sorted(at for at, _ in bins)
    assert (bins[0][0] >= made.first, bins[-1][0] == made.last) == (True, True)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (0.95, 0.95), (1.0, 1.0)])
def test_shares_of_answers_are_right_to_about_two_percent(share: float, expected: float) -> None:
    durations = Durations()
    for number in range(1, 1001):
        durations.add(number / 1000)

    assert durations.share(share) == pytest.approx(expected, rel=0.025)


def test_every_answer_is_in_a_column() -> None:
    durations = Durations()
    for number in range(1, 1001):
        durations.add(number / 1000)

    columns = list(durations.columns(30))

    assert len(columns) <= 30
    assert sum(count for *_, count in columns) == 1000


def test_a_stop_of_hours_takes_a_small_part_of_the_picture() -> None:
    hour = 3_600_000.0
    axis = TimeAxis([(0, hour), (11 * hour, 12 * hour)], 0, 700)

    assert axis.is_broken
    assert axis.place(11 * hour) - axis.place(hour) < 50
    assert axis.place(hour / 2) == pytest.approx(axis.place(hour) / 2)


def sitting(began: float, ended: float | None) -> Sitting:
    def instant(seconds: float) -> str:
        return iso(NEW_YEAR + timedelta(seconds=seconds))

    return Sitting(instant(began), None if ended is None else instant(ended), "me", "1", {}, "")


def test_a_process_that_was_killed_worked_until_its_last_trace() -> None:
    start = NEW_YEAR.timestamp() * 1000
    settled = events(start + 1000, start + 7000, start + 65_000)

    line = timeline(settled, Events(), [sitting(0, None), sitting(60, 70)], [])

    assert line.work == [(start, start + 7000), (start + 60_000, start + 70_000)]
    assert line.stops == [(start + 7000, start + 60_000)]


INSTANTS = st.integers(0, 10**9) | st.integers(0, 20)
SPANS = st.lists(st.tuples(INSTANTS, st.none() | INSTANTS), max_size=5)


def drawn(*sources: str) -> list[ET.Element]:
    return [ET.fromstring(source) for source in sources if source]  # noqa: S314 - our own


@given(
    settled=st.lists(INSTANTS, max_size=30),
    badly=st.lists(INSTANTS, max_size=5),
    failed=st.lists(INSTANTS, max_size=10),
    sittings=SPANS,
    pauses=SPANS,
    planned=st.integers(0, 50),
)
def test_any_course_of_a_run_can_be_drawn_within_its_frame(
    settled: list[int],
    badly: list[int],
    failed: list[int],
    sittings: list[tuple[int, int | None]],
    pauses: list[tuple[int, int | None]],
    planned: int,
) -> None:
    made, failures = events(*settled), events(*failed, kind="429")
    for at in badly:
        made.add(at, "badly")

    def instant(ms: int | None) -> str | None:
        return None if ms is None else iso(NEW_YEAR + timedelta(milliseconds=ms))

    at_work = [Sitting(str(instant(a)), instant(b), "me", "1", {}, "") for a, b in sittings]
    away = [(str(instant(a)), instant(b), "503") for a, b in pauses]
    plot = progress(timeline(made, failures, at_work, away), planned)

    assert plot.told
    for picture in drawn(plot.wide, plot.narrow):
        width = float(picture.attrib["viewBox"].split()[2])
        places = [
            float(element.attrib[name])
            for element in picture.iter()
            for name in ("x", "x1", "x2")
            if name in element.attrib
        ]
        assert all(0 <= place <= width for place in places)
        assert "nan" not in ET.tostring(picture, encoding="unicode")


@given(st.lists(st.floats(0, 1e5), max_size=40))
def test_any_response_times_can_be_drawn(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations.add(each)

    plot = answers(durations)

    assert plot.told
    assert "nan" not in plot.wide
    drawn(plot.wide, plot.narrow)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.floats(40, 200))
def test_named_times_stand_apart_and_are_never_too_many(
    start: int, length: int, spacing: float
) -> None:
    ticks = TimeAxis([(start, start + length)], 0, 700).ticks(spacing)

    places = [tick.place for tick in ticks]
    assert all(after - before >= spacing - 0.01 for before, after in itertools.pairwise(places))
    assert len({(tick.label, tick.below) for tick in ticks}) >= min(len(ticks), 2)


@given(st.integers(1, 10**9))
def test_the_axis_of_numbers_reaches_as_far_as_needed_in_a_few_steps(most: int) -> None:
    ticks = counting_ticks(most)

    assert ticks[0] == 0
    assert ticks[-2] < most <= ticks[-1]
    assert len(ticks) <= 6


@given(st.floats(1e-6, 1e4), st.floats(1.05, 1e6))
def test_the_axis_of_durations_has_round_numbers_in_between(low: float, factor: float) -> None:
    ticks = duration_ticks(low, low * factor)

    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(ticks)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "less than 1 ms"),
        (0.048, "48 ms"),
        (0.9996, "1 s"),
        (2.14, "2.14 s"),
        (59.99, "1 min"),
        (61, "1 min 1 s"),
        (3599.9, "1 h"),
        (50_400, "14 h"),
        (360_060, "100 h 1 min"),
    ],
)
def test_lengths_of_time_are_told_in_two_units(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


# How it is written


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def used(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        with contextlib.closing(Journal.create(folder)) as made:
            updated(
                made,
                [
                    Operation(token(n, comment=f"o{n}"), {Field.COMMENT: f"n{n}"}, (n,))
                    for n in range(2, 2 + count)
                ],
            )
            write_page(made.folder, facts_of(made))  # what is made once for all pages is made
            tracemalloc.start()
            write_page(made.folder, facts_of(made))
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return most

    assert used(8 * KEPT) < 1.3 * used(2 * KEPT)


def test_a_page_that_cannot_be_written_leaves_the_former_one(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of_statuses(journal, Status.UPDATED).source

    @contextlib.contextmanager
    def full_disk(path: Path) -> Iterator[Path]:
        with replacing(path):
            raise OSError(28, "No space left on device")
        yield path

    monkeypatch.setattr("batch.report.page.replacing", full_disk)

    with pytest.raises(OSError, match="No space"):
        write_page(journal.folder, facts_of(journal))

    assert (journal.folder / "report.html").read_text(encoding="utf-8") == before
    assert list(journal.folder.glob(".report*")) == []
