package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// fault is something that happens to a cluster and ends again. It returns once it has
// ended, which does not say that the cluster has recovered.
type fault struct {
	name string
	do   func(ctx context.Context, f *faults) error
}

// faults breaks a cluster, by choices that a seed repeats. It is for one goroutine.
type faults struct {
	cluster *ensemble.Cluster
	random  *rand.Rand
	// short and long are how long a fault lasts.
	short, long time.Duration
	// rest is the time before, between and after faults.
	rest time.Duration
	// plan are the faults that happen, one after the other and once each; without it there
	// are decks of all, each in an order of its own.
	plan []fault
	deck []fault // what is left of the one at hand
	// whole says that the faults that take long are in the decks, too.
	whole bool
}

// newFaults are decks of faults that a seed shuffles. The seed is of nothing else: it
// repeats the choices whatever the load did.
func newFaults(c *ensemble.Cluster, seed uint64) *faults {
	return &faults{cluster: c, random: rand.New(rand.NewPCG(seed, 7)), short: shortFault, long: longFault, rest: time.Second}
}

// In a minute faults are short. In hours a pause of thirty seconds comes, too: see lasting.
const (
	shortFault, longFault = 500 * time.Millisecond, 5 * time.Second
	longestFault          = 30 * time.Second
)

// all are the faults that there are.
var all = []fault{
	{"kill -9 of a member", func(ctx context.Context, f *faults) error { return f.kill(ctx, f.any()) }},
	{"kill -9 of the leader", func(ctx context.Context, f *faults) error { return f.kill(ctx, f.leader(ctx)) }},
	{"kill -9 of all", killAll},
	{"SIGTERM of the leader", terminate},
	{"a member is paused", func(ctx context.Context, f *faults) error { return f.pauseOne(ctx, f.any(), f.while()) }},
	{"the leader is paused", func(ctx context.Context, f *faults) error { return f.pauseOne(ctx, f.leader(ctx), f.while()) }},
	{"a member is cut off", func(ctx context.Context, f *faults) error { return f.isolate(ctx, f.any(), true, true) }},
	{"the leader is cut off", func(ctx context.Context, f *faults) error { return f.isolate(ctx, f.leader(ctx), true, true) }},
	{"a member does not hear", func(ctx context.Context, f *faults) error { return f.isolate(ctx, f.any(), false, true) }},
	{"the leader does not hear", func(ctx context.Context, f *faults) error { return f.isolate(ctx, f.leader(ctx), false, true) }},
	{"the leader is not heard", func(ctx context.Context, f *faults) error { return f.isolate(ctx, f.leader(ctx), true, false) }},
	{"two members do not see each other", cutPair},
	{"all are cut off from each other", shatter},
	{"the network is slow", slow},
}

// lasting are those for runs of hours.
var lasting = []fault{
	{"a member is paused for 30 s", func(ctx context.Context, f *faults) error { return f.pauseOne(ctx, f.any(), longestFault) }},
	{"the leader is paused for 30 s", func(ctx context.Context, f *faults) error { return f.pauseOne(ctx, f.leader(ctx), longestFault) }},
}

func (f *faults) any() *ensemble.Member {
	return f.cluster.Members[f.random.IntN(len(f.cluster.Members))]
}

// leader is the first member if nobody knows of a leader: no choice that would change
// those that follow.
func (f *faults) leader(ctx context.Context) *ensemble.Member {
	if m := f.cluster.Leader(ctx); m != nil {
		return m
	}
	return f.cluster.Members[0]
}

// while is how long a fault lasts.
func (f *faults) while() time.Duration {
	return f.short + time.Duration(f.random.Int64N(int64(f.long-f.short)+1))
}

func (f *faults) wait(ctx context.Context) { pauseFor(ctx, f.while()) }

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (f *faults) kill(ctx context.Context, m *ensemble.Member) error {
	if err := m.Kill(); err != nil {
		return err
	}
	f.wait(ctx)
	return m.Launch()
}

func terminate(ctx context.Context, f *faults) error {
	m := f.leader(ctx)
	_ = m.Terminate() // etcd dies of the signal, and ZooKeeper says 143
	f.wait(ctx)
	return m.Launch()
}

func killAll(_ context.Context, f *faults) error {
	var errs []error
	for _, m := range f.cluster.Members {
		errs = append(errs, m.Kill())
	}
	for _, i := range f.random.Perm(len(f.cluster.Members)) {
		errs = append(errs, f.cluster.Members[i].Launch())
	}
	return errors.Join(errs...)
}

func (f *faults) pauseOne(ctx context.Context, m *ensemble.Member, lasts time.Duration) error {
	if err := m.Pause(); err != nil {
		return err
	}
	pauseFor(ctx, lasts)
	return m.Resume()
}

func (f *faults) isolate(ctx context.Context, m *ensemble.Member, says, hears bool) error {
	f.cluster.Isolate(m, says, hears)
	f.wait(ctx)
	f.cluster.Network.Heal(f.random.IntN(2) == 0)
	return nil
}

func cutPair(ctx context.Context, f *faults) error {
	order := f.random.Perm(len(f.cluster.Members))
	f.cluster.Network.Cut(order[0], order[1])
	f.cluster.Network.Cut(order[1], order[0])
	f.wait(ctx)
	f.cluster.Network.Heal(f.random.IntN(2) == 0)
	return nil
}

func shatter(ctx context.Context, f *faults) error {
	for _, m := range f.cluster.Members {
		f.cluster.Isolate(m, true, true)
	}
	f.wait(ctx)
	f.cluster.Network.Heal(f.random.IntN(2) == 0)
	return nil
}

func slow(ctx context.Context, f *faults) error {
	f.cluster.Network.Delay(time.Duration(5+f.random.IntN(40)) * time.Millisecond)
	f.wait(ctx)
	f.cluster.Network.Heal(false)
	return nil
}

// next does one fault and returns its name.
func (f *faults) next(ctx context.Context) (string, error) {
	from := &f.plan
	if len(f.plan) == 0 {
		if len(f.deck) == 0 {
			f.shuffle()
		}
		from = &f.deck
	}
	chosen := (*from)[0]
	*from = (*from)[1:]
	if err := chosen.do(ctx, f); err != nil {
		return chosen.name, fmt.Errorf("%s: %w", chosen.name, err)
	}
	return chosen.name, nil
}

// shuffle makes a deck of every fault once.
func (f *faults) shuffle() {
	f.deck = slices.Clone(all)
	if f.whole {
		f.deck = append(f.deck, lasting...)
	}
	f.random.Shuffle(len(f.deck), func(i, j int) { f.deck[i], f.deck[j] = f.deck[j], f.deck[i] })
}
