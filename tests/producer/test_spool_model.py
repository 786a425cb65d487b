"""Random histories of a spool equal a simple model, with crashes, new sites and damaged files."""

import tempfile
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mcloud.market.envelope import Message
from mcloud.market.trade import Trade
from mcloud.producer.cursor import Cursor, Position
from mcloud.producer.spool import Pending, Spool

from .spools import as_left_by_a_crash, entry

ALL_SITES = ("aws", "aws-west", "gcp")

sites = st.sampled_from(ALL_SITES)
groups = st.sets(sites, min_size=1)
arrivals = st.lists(
    st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT"]), st.integers(0, 30), st.integers(1, 6)),
    min_size=1,
    max_size=4,
)


@dataclass
class Line:
    """Messages that a site has not received, oldest first, and taken ones by id in the spool."""

    owed: list[int] = field(default_factory=list)
    taken: dict[int, int] = field(default_factory=dict)


class SpoolMachine(RuleBasedStateMachine):
    """Messages are numbered. The clock advances only if a rule advances it."""

    @initialize(configured=groups)
    def begin(self, configured: set[str]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "0" / "spool"
        self.crashes = 0
        self.now = 0.0
        self.configured = configured
        self.known = set(configured)
        self.messages: list[tuple[str, list[int]]] = []
        self.lines = {site: Line() for site in ALL_SITES}
        self.open()

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.folder.cleanup()

    def open(self) -> None:
        self.spool = Spool.open(self.path, self.configured, clock=lambda: self.now)
        self.cursor = Cursor(self.spool.resume_points())
        self.known |= self.configured
        for line in self.lines.values():
            line.taken.clear()

    @rule(arrivals=arrivals, data=st.data())
    def append(self, arrivals: list[tuple[str, int, int]], data: st.DataObject) -> None:
        groups = st.sets(st.sampled_from(sorted(self.configured)), min_size=1)
        entries = []
        for symbol, ahead, count in arrivals:
            # Ids around the position: repeats, ids that fill holes, and ids that open new ones.
            first = max(0, (self.cursor.position(symbol) or 100) + ahead - 15)
            trades = [
                Trade(symbol, id_, Decimal(1), Decimal(1), 0, False)
                for id_ in range(first, first + count)
            ]
            ids = [trade.id for trade in self.cursor.admit(trades, now=0)]
            if not ids:
                continue
            chosen = data.draw(groups, label="sites")
            number = len(self.messages)
            made = entry(ids[0], ids[-1], symbol=symbol, sites=chosen)
            entries.append(replace(made, count=len(ids), message=Message(str(number))))
            self.messages.append((symbol, ids))
            for site in chosen:
                self.lines[site].owed.append(number)
        self.spool.append(entries, self.cursor.dump())

    @rule(site=sites, limit=st.integers(1, 4))
    def take(self, site: str, limit: int) -> None:
        if site in self.known:
            line = self.lines[site]
            free = [number for number in line.owed if number not in line.taken]
            taken = self.spool.take(site, limit)
            assert [int(each.message.body) for each in taken] == free[:limit]
            line.taken |= {int(each.message.body): each.id for each in taken}

    @rule(site=sites, data=st.data())
    def settle(self, site: str, data: st.DataObject) -> None:
        if chosen := self.some_taken(site, data):
            line = self.lines[site]
            self.spool.settle(site, [line.taken.pop(number) for number in chosen])
            line.owed = [number for number in line.owed if number not in chosen]

    @rule(site=sites, data=st.data())
    def release(self, site: str, data: st.DataObject) -> None:
        if chosen := self.some_taken(site, data):
            self.spool.release(site, [self.lines[site].taken.pop(number) for number in chosen])

    @rule(seconds=st.sampled_from([0.4, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(site=sites, heir=sites)
    def reassign(self, site: str, heir: str) -> None:
        if site != heir and site in self.known and heir in self.configured:
            self.spool.reassign(site, heir)
            line = self.lines[heir]
            line.owed = sorted({*line.owed, *self.lines[site].owed})
            self.lines[site] = Line()

    @rule(configured=groups)
    def reopen(self, configured: set[str]) -> None:
        self.spool.close()
        self.configured = configured
        self.open_sound()

    @rule()
    def crash(self) -> None:
        self.leave_behind()
        self.open_sound()

    @rule()
    def crash_and_lose_the_file(self) -> None:
        self.leave_behind()
        self.path.with_name("spool-wal").unlink(missing_ok=True)
        self.path.write_bytes(b"SQLite format 3\0" + bytes(4080))
        pending = {
            (self.messages[number][0], id_)
            for line in self.lines.values()
            for number in line.owed
            for id_ in self.messages[number][1]
        }
        self.lines = {site: Line() for site in ALL_SITES}
        self.known = set()
        self.open()
        assert self.spool.set_aside is not None
        # All ids below the cursor were written and are not pending, and no symbol is forgotten.
        written = {(symbol, id_) for symbol, ids in self.messages for id_ in ids}
        claimed = {pair for each in self.spool.resume_points() for pair in claims(each)}
        assert claimed <= written - pending
        known = {each.symbol for each in self.spool.resume_points()}
        assert known == {symbol for symbol, _ in self.messages}

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "spool"):
            return
        for site in self.known:
            owed = self.lines[site].owed
            trades = sum(len(self.messages[number][1]) for number in owed)
            size = sum(len(str(number)) for number in owed)
            oldest = self.messages[owed[0]][1][0] if owed else None
            assert self.spool.pending(site) == Pending(len(owed), trades, size, oldest)
        orphans = {site for site in self.known - self.configured if self.lines[site].owed}
        assert set(self.spool.unconfigured()) == orphans

    def open_sound(self) -> None:
        before = sorted(self.cursor.dump())
        self.open()
        assert self.spool.set_aside is None
        assert sorted(self.cursor.dump()) == before

    def leave_behind(self) -> None:
        self.crashes += 1
        copy = as_left_by_a_crash(self.path, Path(self.folder.name) / str(self.crashes))
        self.spool.close()
        self.path = copy

    def some_taken(self, site: str, data: st.DataObject) -> set[int]:
        taken = sorted(self.lines[site].taken)
        return data.draw(st.sets(st.sampled_from(taken)), label="taken") if taken else set()


def claims(position: Position) -> set[tuple[str, int]]:
    missing = {id_ for hole in position.holes for id_ in range(hole.first, hole.last + 1)}
    ids = set(range(position.start, position.next_id)) - missing
    return {(position.symbol, id_) for id_ in ids}


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
