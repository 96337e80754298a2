package crash

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func put(key, value string) Effect { return Effect{Key: key, Value: value} }
func del(key string) Effect        { return Effect{Key: key, Deleted: true} }

func acked(rev int64, effects ...Effect) *Write {
	return &Write{Effects: effects, Outcome: Acknowledged, Rev: rev}
}
func unknown(effects ...Effect) *Write { return &Write{Effects: effects, Outcome: Unknown} }

// audit is one life of a server and what it shows in the next.
type audit struct {
	writes  []*Write
	seen    []Revision
	history []Revision
	rows    map[string]Row
	current int64
}

// sound is a life in which everything was kept, that the cases below break.
func sound() audit {
	return audit{
		writes: []*Write{
			acked(2, put("a", "a1")), acked(3, put("b", "b1"), put("c", "b1")),
			acked(4, del("a")), unknown(put("d", "d1")), unknown(put("e", "e1")),
		},
		seen: []Revision{{2, []Effect{put("a", "a1")}}},
		history: []Revision{
			{2, []Effect{put("a", "a1")}},
			{3, []Effect{put("c", "b1"), put("b", "b1")}},
			{4, []Effect{del("a")}},
			{5, []Effect{put("e", "e1")}},
		},
		rows:    map[string]Row{"b": {"b1", 3}, "c": {"b1", 3}, "e": {"e1", 5}},
		current: 5,
	}
}

func (a audit) run(l *Ledger) []error { return l.Audit(a.writes, a.seen, a.history, a.rows, a.current) }

func TestLedgerAcceptsWhatIsRight(t *testing.T) {
	l := NewLedger(1)
	first := sound()
	require.Empty(t, first.run(l))
	require.Equal(t, int64(5), l.Settled())
	require.Equal(t, map[Outcome]int{Acknowledged: 3, Unknown: 1, Absent: 1}, l.Writes())
	row, found := l.Row("e")
	require.True(t, found)
	require.Equal(t, Row{"e1", 5}, row, "the write of unknown outcome was found in the history")
	_, found = l.Row("a")
	require.False(t, found)

	second := audit{
		writes:  []*Write{acked(6, put("a", "a2"))},
		history: []Revision{{6, []Effect{put("a", "a2")}}},
		rows:    map[string]Row{"a": {"a2", 6}, "b": {"b1", 3}, "c": {"b1", 3}, "e": {"e1", 5}},
		current: 6,
	}
	require.Empty(t, second.run(l))
	whole := slices.Concat(first.history, second.history)
	require.Empty(t, l.Replay(2, whole))
	require.Empty(t, l.Replay(4, whole[2:]))

	third := audit{
		writes:  []*Write{{Effects: []Effect{del("b")}, Outcome: Acknowledged, AtMost: 8}},
		history: []Revision{{7, []Effect{del("b")}}},
		rows:    map[string]Row{"a": {"a2", 6}, "c": {"b1", 3}, "e": {"e1", 5}},
		current: 7,
	}
	require.Empty(t, third.run(l))
	require.Equal(t, int64(7), third.writes[0].Rev)

	nothing := audit{rows: third.rows, current: 7}
	require.Empty(t, nothing.run(l), "a server that was killed while it started")
}

func TestLedgerRejectsWhatIsBroken(t *testing.T) {
	cases := map[string]struct {
		breakIt func(*audit)
		want    string
	}{
		"the last acknowledged write is lost": {func(a *audit) {
			a.history, a.current = a.history[:2], 3
			a.rows = map[string]Row{"a": {"a1", 2}, "b": {"b1", 3}, "c": {"b1", 3}}
		}, "revision 4 is acknowledged for [delete a], and not in the history"},
		"an acknowledged write in the middle is lost": {func(a *audit) {
			a.history = append(a.history[:1:1], a.history[2:]...)
		}, "the history goes from revision 2 to 4"},
		"a revision is reused for a write of unknown outcome": {func(a *audit) {
			a.history[2].Effects = []Effect{put("d", "d1")}
		}, "revision 4 was acknowledged for [delete a], the history says it did [put d=d1]"},
		"a revision is acknowledged twice": {func(a *audit) {
			a.writes = append(a.writes, acked(3, put("f", "f1")))
		}, "revision 3 is acknowledged for"},
		"a revision of an earlier life is used again": {func(a *audit) {
			a.writes = append(a.writes, acked(1, put("f", "f1")))
		}, "revision 1 is acknowledged for [put f=f1], but 1 had been reached before"},
		"a transaction is torn in the history": {func(a *audit) {
			a.history[1].Effects = a.history[1].Effects[:1]
		}, "revision 3 was acknowledged for [put b=b1 put c=b1], the history says it did [put c=b1]"},
		"a transaction is torn in the state": {func(a *audit) {
			delete(a.rows, "c")
		}, "key c is missing; it must be b1@3"},
		"an unknown transaction is torn": {func(a *audit) {
			a.writes[4] = unknown(put("e", "e1"), put("f", "e1"))
		}, "revision 5 did [put e=e1], which nobody has asked for"},
		"a write of unknown outcome happens twice": {func(a *audit) {
			a.history = append(a.history, Revision{6, []Effect{put("e", "e1")}})
			a.current, a.rows["e"] = 6, Row{"e1", 6}
		}, "revision 6 did [put e=e1], which nobody has asked for"},
		"a deleted key is back": {func(a *audit) {
			a.rows["a"] = Row{"a1", 2}
		}, "key a is a1@2; it must not exist"},
		"a row is of an older revision": {func(a *audit) {
			a.rows["b"] = Row{"b1", 2}
		}, "key b is b1@2; it must be b1@3"},
		"a watcher was told what is no longer true": {func(a *audit) {
			a.seen = append(a.seen, Revision{5, []Effect{put("d", "d1")}})
		}, "revision 5: a watcher was told [put d=d1] before the crash, after it the history says [put e=e1]"},
		"a watcher was told what is lost": {func(a *audit) {
			a.seen = append(a.seen, Revision{6, []Effect{put("d", "d1")}})
		}, "revision 6: a watcher was told [put d=d1] before the crash, after it the history says []"},
		"a write whose revision was not told is lost": {func(a *audit) {
			a.writes = append(a.writes, &Write{Effects: []Effect{del("f")}, Outcome: Acknowledged, AtMost: 9})
		}, "revision 0 is acknowledged for [delete f], and not in the history"},
		"a write is done after its acknowledgement": {func(a *audit) {
			a.writes[4].Outcome, a.writes[4].AtMost = Acknowledged, 4
		}, "[put e=e1] is acknowledged at revision 4, the history has it at 5"},
		"the history is shorter than the store": {func(a *audit) {
			a.current = 9
		}, "the history ends at revision 5, the store is at 9"},
		"the revision goes back below what is settled": {func(a *audit) {
			*a = audit{rows: map[string]Row{}, current: 0}
		}, "the history ends at revision 1, the store is at 0"},
		"a client forgot to say how its write ended": {func(a *audit) {
			a.writes[3].Outcome = Pending
		}, "[put d=d1] was handed in without an outcome"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := sound()
			c.breakIt(&a)
			requireBroken(t, a.run(NewLedger(1)), c.want)
		})
	}
}

func TestLedgerRejectsAWriteThatComesBackLater(t *testing.T) {
	l := NewLedger(1)
	first := sound()
	require.Empty(t, first.run(l))
	// d was not there after the first crash; it must not be there after the second.
	second := audit{
		history: []Revision{{6, []Effect{put("d", "d1")}}},
		rows:    map[string]Row{"b": {"b1", 3}, "c": {"b1", 3}, "e": {"e1", 5}, "d": {"d1", 6}},
		current: 6,
	}
	requireBroken(t, second.run(l), "revision 6 did [put d=d1], which nobody has asked for")
}

func TestReplayRejectsAHistoryThatHasChanged(t *testing.T) {
	l := NewLedger(1)
	a := sound()
	require.Empty(t, a.run(l))
	requireBroken(t, l.Replay(2, a.history[:3]), "now ends at revision 4, in its time at 5")
	requireBroken(t, l.Replay(2, a.history[1:]), "revision 3: the history now says")
	a.history[0].Effects = []Effect{put("a", "a0")}
	requireBroken(t, l.Replay(2, a.history), "revision 2: the history now says [put a=a0], in its time it said [put a=a1]")
}

func requireBroken(t *testing.T, broken []error, want string) {
	t.Helper()
	var texts string
	for _, err := range broken {
		texts += err.Error() + "\n"
	}
	require.Contains(t, texts, want)
}

func TestDigestTellsLongValuesApart(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 10_000)
	copy(long, "w1-1 ")
	require.Equal(t, "short", digest([]byte("short")))
	require.Less(t, len(digest(long)), 100)
	require.Equal(t, "w1-1", token(digest(long)))
	require.NotEqual(t, digest(long), digest(long[:9999]), "a value cut short")
	other := bytes.Clone(long)
	other[9_000] = 'y'
	require.NotEqual(t, digest(long), digest(other), "a value with a byte changed")
}
