package crash

import (
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// Effect is what a write does to one key.
type Effect struct {
	Key string
	// Value is what digest makes of the value.
	Value   string
	Deleted bool
}

// digest is what the ledger keeps of a value: all of a short one, the token,
// length and checksum of a long one.
func digest(value []byte) string {
	const short = 512
	if len(value) <= short {
		return string(value)
	}
	return fmt.Sprintf("%s #%d %08x", token(string(value[:short])), len(value), crc32.ChecksumIEEE(value))
}

// String shortens the value: its token comes first.
func (e Effect) String() string {
	if e.Deleted {
		return "delete " + e.Key
	}
	return "put " + e.Key + "=" + token(e.Value)
}

// Revision is what a server says that one of its revisions did. The order of
// the effects does not count.
type Revision struct {
	Rev     int64
	Effects []Effect
}

// Row is a key as a server shows it.
type Row struct {
	// Value is what digest makes of the value.
	Value  string
	ModRev int64
}

func (r Row) String() string { return fmt.Sprintf("%s@%d", token(r.Value), r.ModRev) }

// token is what tells a value from all others: its part before the padding.
func token(value string) string {
	head, _, _ := strings.Cut(value, " ")
	return head
}

// Outcome is what a client knows of its write.
type Outcome uint8

const (
	// Pending means that no answer has come yet.
	Pending Outcome = iota
	// Acknowledged means that the server has said that the write was done.
	Acknowledged
	// Unknown means that the connection broke; the write may have been done.
	Unknown
	// Absent means that the write is known not to have been done, and must never be.
	Absent
)

// Write is an entry of the ledger. Its effects are exact, so a write that would
// change nothing (a delete of a missing key) is not one.
type Write struct {
	Effects []Effect
	Outcome Outcome
	// Rev is the revision of the write as the answer said, or, if that did not come
	// or did not say it, that of the history in which the write was found.
	Rev int64
	// AtMost is for an answer that does not tell the write's own revision but one
	// that had been reached by then, as etcd's to a LeaseRevoke. Else it is 0.
	AtMost int64
}

// Ledger is what the clients know that a server must hold. It is not safe for
// concurrent use: the clients keep books of their own and hand them in when the
// server is dead.
//
// Rules for the clients: no effect, other than a deletion, occurs in two writes;
// only one client writes a key, one write at a time.
type Ledger struct {
	writes []*Write
	// unplaced are the writes of the present audit whose revision nobody knows.
	unplaced []*Write
	byRev    map[int64]*Write
	// rows is the state after all writes that are settled.
	rows map[string]Row
	// first is the revision of the first write, settled the last revision whose
	// owner is known.
	first, settled int64
}

// NewLedger starts a ledger of a store that is at revision rev and holds none of
// the keys that will be written.
func NewLedger(rev int64) *Ledger {
	return &Ledger{byRev: map[int64]*Write{}, rows: map[string]Row{}, first: rev + 1, settled: rev}
}

// First is the revision of the first write.
func (l *Ledger) First() int64 { return l.first }

// Settled is the last revision whose owner is known; the history of the next
// Audit begins after it.
func (l *Ledger) Settled() int64 { return l.settled }

// Writes counts the writes by outcome.
func (l *Ledger) Writes() map[Outcome]int {
	counts := map[Outcome]int{}
	for _, w := range l.writes {
		counts[w.Outcome]++
	}
	return counts
}

// Audit enters the writes of one life of the server and compares the whole with
// what the server shows in its next life: seen, the revisions that a watcher was
// told of before the crash; history, every revision after Settled up to current;
// rows, all rows at the revision current.
//
// Writes of unknown outcome that the history does not show are Absent from then
// on. Every broken promise is one element of the result.
func (l *Ledger) Audit(writes []*Write, seen, history []Revision, rows map[string]Row, current int64) []error {
	var broken []error
	report := func(format string, args ...any) { broken = append(broken, fmt.Errorf(format, args...)) }

	l.enter(writes, report)
	recorded := l.matchHistory(history, current, report)
	for _, told := range seen {
		if told.Rev <= l.settled {
			report("a watcher was told of revision %d, which it had been told of in an earlier life", told.Rev)
		} else if !sameEffects(told.Effects, recorded[told.Rev].Effects) {
			report("revision %d: a watcher was told %v before the crash, after it the history says %v",
				told.Rev, told.Effects, recorded[told.Rev].Effects)
		}
	}
	for _, w := range writes {
		switch w.Outcome {
		case Acknowledged:
			if w.AtMost != 0 && w.Rev > w.AtMost {
				report("%v is acknowledged at revision %d, the history has it at %d", w.Effects, w.AtMost, w.Rev)
			}
			if _, found := recorded[w.Rev]; !found {
				report("revision %d is acknowledged for %v, and not in the history (which ends at %d)",
					w.Rev, w.Effects, current)
			}
		case Unknown:
			if w.Rev == 0 {
				w.Outcome = Absent
			}
		case Pending, Absent:
		}
	}
	l.settled = max(l.settled, current)
	l.compareRows(rows, report)
	return broken
}

// enter books the writes and finds revisions acknowledged twice.
func (l *Ledger) enter(writes []*Write, report func(string, ...any)) {
	l.unplaced = nil
	for _, w := range writes {
		l.writes = append(l.writes, w)
		switch w.Outcome {
		case Acknowledged:
			if w.AtMost != 0 {
				l.unplaced = append(l.unplaced, w)
				continue
			}
			if w.Rev <= l.settled {
				report("revision %d is acknowledged for %v, but %d had been reached before", w.Rev, w.Effects, l.settled)
			}
			if other := l.byRev[w.Rev]; other != nil {
				report("revision %d is acknowledged for %v and for %v", w.Rev, other.Effects, w.Effects)
				continue
			}
			l.byRev[w.Rev] = w
		case Pending:
			report("%v was handed in without an outcome", w.Effects)
		case Unknown:
			l.unplaced = append(l.unplaced, w)
		case Absent:
		}
	}
}

// matchHistory gives every revision of the history its owner, and books it.
func (l *Ledger) matchHistory(history []Revision, current int64, report func(string, ...any)) map[int64]Revision {
	recorded := make(map[int64]Revision, len(history))
	next := l.settled + 1
	for _, revision := range history {
		if revision.Rev != next {
			report("the history goes from revision %d to %d", next-1, revision.Rev)
		}
		next = revision.Rev + 1
		recorded[revision.Rev] = revision
		owner := l.byRev[revision.Rev]
		switch {
		case owner == nil:
			owner = l.findUnplaced(revision)
			if owner == nil {
				report("revision %d did %v, which nobody has asked for", revision.Rev, revision.Effects)
				continue
			}
			owner.Rev = revision.Rev
			l.byRev[revision.Rev] = owner
		case !sameEffects(owner.Effects, revision.Effects):
			report("revision %d was acknowledged for %v, the history says it did %v",
				revision.Rev, owner.Effects, revision.Effects)
		}
		l.book(owner)
	}
	if next != current+1 {
		report("the history ends at revision %d, the store is at %d", next-1, current)
	}
	return recorded
}

// findUnplaced returns the write of the life before that did what the revision
// did. One that has a revision already does not come back, nor does one of an
// earlier life.
func (l *Ledger) findUnplaced(revision Revision) *Write {
	for _, w := range l.unplaced {
		if w.Rev == 0 && sameEffects(w.Effects, revision.Effects) {
			return w
		}
	}
	return nil
}

// book applies a write to the rows that are expected.
func (l *Ledger) book(w *Write) {
	for _, e := range w.Effects {
		if e.Deleted {
			delete(l.rows, e.Key)
		} else {
			l.rows[e.Key] = Row{Value: e.Value, ModRev: w.Rev}
		}
	}
}

// Row returns the row that a key must have.
func (l *Ledger) Row(key string) (Row, bool) {
	row, found := l.rows[key]
	return row, found
}

// Rows returns a copy of all rows that must exist.
func (l *Ledger) Rows() map[string]Row { return maps.Clone(l.rows) }

// Replay compares the history from a revision on with the writes in it: what one
// audit has seen must not change afterwards.
func (l *Ledger) Replay(from int64, history []Revision) []error {
	var broken []error
	next := from
	for _, revision := range history {
		w := l.byRev[revision.Rev]
		if w == nil {
			w = &Write{}
		}
		if revision.Rev != next || !sameEffects(w.Effects, revision.Effects) {
			broken = append(broken, fmt.Errorf("revision %d: the history now says %v, in its time it said %v",
				revision.Rev, revision.Effects, w.Effects))
		}
		next = revision.Rev + 1
	}
	if next != l.settled+1 {
		broken = append(broken, fmt.Errorf("the history now ends at revision %d, in its time at %d", next-1, l.settled))
	}
	return broken
}

// compareRows compares the state that the history amounts to with that which the
// server shows.
func (l *Ledger) compareRows(rows map[string]Row, report func(string, ...any)) {
	for _, key := range slices.Sorted(maps.Keys(l.rows)) {
		row, found := rows[key]
		if !found {
			report("key %s is missing; it must be %v", key, l.rows[key])
		} else if row != l.rows[key] {
			report("key %s is %v; it must be %v", key, row, l.rows[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if _, found := l.rows[key]; !found {
			report("key %s is %v; it must not exist", key, rows[key])
		}
	}
}

// sameEffects compares two sets of effects; a key occurs once in each.
func sameEffects(a, b []Effect) bool {
	if len(a) != len(b) {
		return false
	}
	for _, e := range a {
		if !slices.Contains(b, e) {
			return false
		}
	}
	return true
}
