//go:build linux

package cluster

import (
	"flag"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

var rounds = flag.Int("rounds", 2, "of a rolling restart: the last one is of kill -9")

// longestGap bounds the time without a successful write of anyone in a rolling restart. A
// leader that is told to end hands over, one that is killed is followed within
// two election timeouts (of 1 s); the rest is for a machine that has other things to do.
const longestGap = 10 * time.Second

// TestRollingRestart restarts the members one after the other, several times and at last
// with kill -9, under load of both protocols with the libraries' defaults: nothing that was
// acknowledged is lost or done twice, the history is linearizable, ephemerals of live
// clients stay, no event of an etcd watch is lost or doubled, and of ZooKeeper's watches
// none that is promised (see recursive and oneShot). No client has to be made anew.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	random, c := begin(t, ensemble.Options{Tick: tick})
	f := &faults{cluster: c, random: random, rest: 300 * time.Millisecond}
	for range *rounds - 1 {
		f.plan = append(f.plan, restarts(c.Members, "SIGTERM", (*ensemble.Member).Terminate)...)
	}
	f.plan = append(f.plan, restarts(c.Members, "kill -9", (*ensemble.Member).Kill)...)
	rolls(t, "rolling", c, f)
}

// rolls has a rolling load while members are restarted.
func rolls(t *testing.T, name string, c *ensemble.Cluster, f *faults) {
	t.Helper()
	if !c.Kind.Etcd() || !c.Kind.ZooKeeper() {
		t.Skip("the load is of both protocols: of Triglot alone")
	}
	part := newChapter(name, c, f)
	defer part.close()
	judged(t, part, f, 0, part.openRolling(contextOf(t, time.Minute)))
	together, worst := gaps(part.rec.Operations())
	t.Logf("longest time without a successful write: %s of all clients, %s of one", together.Round(time.Millisecond), worst.Round(time.Millisecond))
	require.Less(t, together, longestGap)
	moves := 0
	for _, s := range part.spectators {
		if r, is := s.(*recursive); is {
			moves += len(r.stays) - 1
		}
	}
	require.NotZero(t, moves, "a client of ZooKeeper's has moved")
}

// TestRecursiveJudges: what a persistent watch must not do is found.
func TestRecursiveJudges(t *testing.T) {
	stream := []Event{
		{Key: "/zk/h/a", Rev: 2}, {Key: "/other", Rev: 3}, {Key: "/zk/h/a", Rev: 4, Version: 1}, {Key: "/zk/h/a", Rev: 5, Deleted: true}, {Key: "/zk/h/b", Rev: 7},
	}
	a2, a4, a5, b7 := notice{2, nodeCreated, "/h/a"}, notice{4, nodeChanged, "/h/a"}, notice{5, nodeDeleted, "/h/a"}, notice{7, nodeCreated, "/h/b"}
	for _, test := range []struct {
		name  string
		stays []*stay
		want  string
	}{
		{"all of it", []*stay{{set: 1, notices: []notice{a2, a4, a5, b7}, marks: []mark{{1, 0}, {4, 2}, {9, 4}}}}, ""},
		{"away for a while", []*stay{{set: 1, notices: []notice{a2}}, {set: 6, notices: []notice{b7}, marks: []mark{{7, 1}}}}, ""},
		{"before the answer that it is set", []*stay{{set: 5, notices: []notice{a5, b7}, marks: []mark{{9, 2}}}}, ""},
		{"never set", nil, "was never set"},
		{"lost within a stay", []*stay{{set: 1, notices: []notice{a2, a5}}}, "is told as number 1"},
		{"lost at the beginning", []*stay{{set: 1, notices: []notice{a4}}}, "is told as number 0"},
		{"doubled", []*stay{{set: 1, notices: []notice{a2, a2}}}, "is told as number 1"},
		{"doubled by the next", []*stay{{set: 1, notices: []notice{a2, a4}}, {set: 4, notices: []notice{a4}}}, "is told again"},
		{"late", []*stay{{set: 1, notices: []notice{a2, a4}, marks: []mark{{4, 1}}}}, "2 events are due, and 1 have come"},
		{"of another kind", []*stay{{set: 1, notices: []notice{{2, nodeChanged, "/h/a"}}}}, "is told as number 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			broken := (&recursive{path: "/h", stays: test.stays}).judge(stream)
			if test.want == "" {
				require.Empty(t, broken)
				return
			}
			require.Len(t, broken, 1)
			require.Contains(t, broken[0], test.want)
		})
	}
}
