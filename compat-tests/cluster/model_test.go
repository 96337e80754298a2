package cluster

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// good is a history that is right: clients of both protocols on one key, one after the
// other, and a put that was never answered and was done.
func good() ([]Operation, []Event) {
	const key = "/zk/h/a"
	step := int64(0)
	op := func(r Request, a Answer) Operation {
		r.Key = key
		step += 10
		return Operation{Client: int(step) % 3, Request: r, Answer: a, Called: step, Ended: step + 5}
	}
	operations := []Operation{
		op(Request{Call: Get}, Answer{Outcome: Missing}),
		op(Request{Call: Create, Value: "v1"}, Answer{Done, Row{Rev: unknownNumber, Version: 0}}),
		op(Request{Call: Put, Value: "v2"}, Answer{Done, Row{Rev: 3, Version: unknownNumber}}),
		op(Request{Call: Get}, Answer{Done, Row{"v2", 3, 1}}),
		op(Request{Call: Set, Value: "v3", Version: 0}, Answer{Outcome: Refused}),
		op(Request{Call: Set, Value: "v4", Version: 1}, Answer{Done, Row{Rev: 4, Version: 2}}),
		op(Request{Call: Put, Value: "v5"}, Answer{Outcome: Unknown}),
		op(Request{Call: Swap, Value: "v6", Expected: "v5"}, Answer{Done, Row{Rev: 6, Version: unknownNumber}}),
		op(Request{Call: Remove}, Answer{Done, Row{Rev: 7, Version: unknownNumber}}),
		op(Request{Call: Put, Value: "v7"}, Answer{Outcome: Unknown}), // never done
		op(Request{Call: Get}, Answer{Outcome: Missing}),
	}
	for i, o := range operations {
		if o.Answer.Outcome == Unknown {
			operations[i].Ended = math.MaxInt64
		}
	}
	return operations, []Event{
		{Key: key, Value: "v1", Rev: 2, Version: 0}, {Key: key, Value: "v2", Rev: 3, Version: 1},
		{Key: key, Value: "v4", Rev: 4, Version: 2}, {Key: key, Value: "v5", Rev: 5, Version: 3},
		{Key: key, Value: "v6", Rev: 6, Version: 4}, {Key: key, Rev: 7, Deleted: true},
	}
}

// judge is all that is said of a history and its stream.
func judge(t *testing.T, operations []Operation, stream []Event) []string {
	t.Helper()
	resolved, broken := Resolve(operations, "/zk/h/", stream)
	if text := Linearizable(resolved, filepath.Join(t.TempDir(), "drawing.html")); text != "" {
		broken = append(broken, text)
	}
	return broken
}

func TestAGoodHistory(t *testing.T) {
	operations, stream := good()
	require.Empty(t, judge(t, operations, stream))
	require.Empty(t, Linearizable(operations, filepath.Join(t.TempDir(), "x")), "without the stream")
	require.Empty(t, CompareStreams(stream, stream))
}

func TestDoctoredHistories(t *testing.T) {
	for name, c := range map[string]struct {
		doctor func(operations []Operation, stream []Event) ([]Operation, []Event)
		want   string
	}{
		"a lost write": {func(o []Operation, s []Event) ([]Operation, []Event) {
			return o, append(s[:1:1], s[2:]...)
		}, "v2"},
		"a lost delete": {func(o []Operation, s []Event) ([]Operation, []Event) { return o, s[:5] }, "remove"},
		"a write done twice": {func(o []Operation, s []Event) ([]Operation, []Event) {
			return o, append(s, Event{Key: s[0].Key, Value: "v2", Rev: 8})
		}, "was done before"},
		"a write that nobody asked for": {func(o []Operation, s []Event) ([]Operation, []Event) {
			return o, append(s, Event{Key: s[0].Key, Value: "v9", Rev: 8})
		}, "never asked for"},
		"a refused write that was done": {func(o []Operation, s []Event) ([]Operation, []Event) {
			return o, append(s, Event{Key: s[0].Key, Value: "v3", Rev: 8})
		}, "v3"},
		"another revision than was answered": {func(o []Operation, s []Event) ([]Operation, []Event) {
			o[2].Answer.Row.Rev = 4
			return o, s
		}, "v2"},
		"a stale read": {func(o []Operation, s []Event) ([]Operation, []Event) {
			o[10].Answer = Answer{Done, Row{"v6", 6, 4}}
			return o, s
		}, "not linearizable"},
		"a read of before": {func(o []Operation, s []Event) ([]Operation, []Event) {
			o[3].Answer = Answer{Done, Row{"v1", 2, 0}}
			return o, s
		}, "not linearizable"},
		"a version skipped": {func(o []Operation, s []Event) ([]Operation, []Event) {
			s[2].Version, s[3].Version, s[4].Version = 3, 4, 5
			return o, s
		}, "not linearizable"},
	} {
		t.Run(name, func(t *testing.T) {
			operations, stream := c.doctor(good())
			broken := judge(t, operations, stream)
			require.NotEmpty(t, broken)
			require.Contains(t, broken[0], c.want)
		})
	}
}

// What a ZooKeeper by itself shows has no stream: unknown outcomes stay unknown.
func TestALostWriteIsFoundWithoutAStream(t *testing.T) {
	operations, _ := good()
	operations[3].Answer = Answer{Outcome: Missing} // after an acknowledged put
	require.Contains(t, Linearizable(operations, filepath.Join(t.TempDir(), "x")), "not linearizable")
}

func TestStreamsThatDiffer(t *testing.T) {
	_, want := good()
	for text, got := range map[string][]Event{
		"where":      {want[0], want[2], want[3]},            // a gap
		"goes back":  {want[0], want[1], want[0]},            // back in time
		"too many":   append(want[:6:6], want[5]),            // the last one doubled
		"lacks":      want[:5],                               // the end is missing
		"where 3: ":  {want[0], want[0]},                     // doubled
		"must be":    {want[0], {Key: "/zk/h/b", Rev: 3}},    // another event
		"has 2: /zk": {{Key: "/zk/h/a", Value: "x", Rev: 2}}, // another value
	} {
		require.Contains(t, CompareStreams(want, got), text)
	}
}
