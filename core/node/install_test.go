package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/token"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/raftlog"
)

// These tests install the state of one member on another without consensus: ahead and
// behind are one member, alone, whose disk was copied; ahead has gone on.

// twins starts a member, has fill write something, and starts another one on what its
// disk was before advance has written more.
func twins(t testing.TB, fill, advance func(*Node)) (ahead, behind *Node) {
	cfg := testConfig(t)
	cfg.Limits.TransferBytesPerSecond = -1
	ahead = startNode(t, cfg)
	require.NoError(t, ahead.Ready(testContext(t)))
	fill(ahead)
	left := crashed(cfg, 100, 1)
	advance(ahead)
	behind = startNode(t, left)
	require.NoError(t, behind.Ready(testContext(t)))
	return ahead, behind
}

// fetchFrom receives the state of another member over a pipe.
func fetchFrom(t testing.TB, from, to *Node) (consensus.Installed, error) {
	there, here := net.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- from.peers.Transfer(testContext(t), to.disk.id.member, there)
		_ = there.Close()
	}()
	s, err := fetchInto(testContext(t), here, to.disk.dir, to.disk.id.cluster)
	if sent := <-done; err == nil {
		require.NoError(t, sent)
	}
	return s, err
}

// fillAll writes some of everything.
func fillAll(t testing.TB, prefix string) func(*Node) {
	return func(n *Node) {
		do := func(cmd core.Command) {
			t.Helper()
			_, err := n.Do(testContext(t), core.Principal{}, cmd)
			require.NoError(t, err)
		}
		id := core.LeaseID(len(prefix))
		do(&core.LeaseGrant{ID: 100 + id, TTL: time.Hour})
		for i := range 30 {
			do(&core.Put{Key: fmt.Appendf(nil, "%s/%02d", prefix, i%20), Value: fmt.Append(nil, i), Lease: 100 + id})
		}
		do(&core.DeleteRange{Interval: core.Interval{Key: []byte(prefix + "/03")}})
		do(&core.RoleAdd{Name: prefix})
		do(&core.UserAdd{Name: prefix, NoPassword: true})
		session := openSession(t, n, 200+id, time.Hour)
		require.NoError(t, createEphemeral(t, n, session, "/lock-"+prefix))
		do(&core.ZnodeWrite{Session: session, Ops: []core.ZnodeOp{{
			Type: core.ZnodeCreate, Path: "/own-" + prefix, Data: []byte("x"),
			ACL: core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: prefix + ":x"}),
		}}})
	}
}

// sameState compares all that two members have at one index, which they are to reach.
func sameState(t testing.TB, want, got *Node) {
	t.Helper()
	var a, b *state.View
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		if a, b = want.published.hold(), got.published.hold(); a.Index() == b.Index() {
			break
		}
		a.Close()
		b.Close()
		require.False(t, time.Now().After(deadline), "the members do not come to one index")
	}
	defer a.Close()
	defer b.Close()
	unhurried := func() error { return nil }
	hash1, err1 := a.Hash(unhurried)
	hash2, err2 := b.Hash(unhurried)
	require.NoError(t, errors.Join(err1, err2))
	require.Equal(t, a.Rev(), b.Rev())
	require.Equal(t, hash1, hash2, "at index %d", a.Index())
	require.Equal(t, a.ZnodeCounts(), b.ZnodeCounts())
}

func names(t testing.TB, n *Node) []string {
	all, err := n.disk.dir.fs.List(n.disk.dir.path)
	require.NoError(t, err)
	var of []string
	for _, name := range all {
		if isStateDir(name) {
			of = append(of, name)
		}
	}
	slices.Sort(of)
	return of
}

// TestInstall: a state that was installed is there for reads, watches, leases, znodes and
// ACLs, and after a restart; views of the old one are read on, and then it goes.
func TestInstall(t *testing.T) {
	ahead, behind := twins(t, fillAll(t, "one"), func(n *Node) {
		fillAll(t, "second")(n)
		put(t, n, "one/00", "changed")
	})
	require.Equal(t, "20", get(t, behind, "one/00")) // and it is in the cache
	old := behind.published.hold()
	drawn := token.NewSecret()
	behind.auth.tokens.Grant("one", drawn.Hash(), 5)
	_, _, good := behind.auth.tokens.Lookup(drawn.Token(5))
	require.True(t, good)

	s, err := fetchFrom(t, ahead, behind)
	require.NoError(t, err)
	index, term := ahead.disk.engine().machine.Applied()
	require.Equal(t, consensus.Installed{Index: index, Term: term, Voters: []core.MemberID{ahead.disk.id.member}, Dir: s.Dir}, s)
	waited := make(chan core.Rev, 1)
	go func() {
		v, err := behind.View(testContext(t), core.Principal{}, core.Consistency{AtLeast: ahead.published.rev()})
		if err != nil {
			waited <- -1
			return
		}
		defer v.Close()
		waited <- v.Rev()
	}()
	var interrupted []error
	stop := behind.sessions.FollowInterruptions(func(err error) { interrupted = append(interrupted, err) })
	require.NoError(t, behind.install(s))
	stop()
	require.Equal(t, []error{errReplaced}, interrupted, "nobody knows what the sessions' clients have missed")
	require.Equal(t, ahead.published.rev(), <-waited)
	sameState(t, ahead, behind)
	_, _, good = behind.auth.tokens.Lookup(drawn.Token(5))
	require.False(t, good, "it may have ended, or its user, in what was not applied here")

	// The old view sees what it saw, from the engine and the cache.
	for range 2 {
		require.Equal(t, "changed", get(t, behind, "one/00"))
		res, err := old.Range(t.Context(), &core.Range{Interval: core.Interval{Key: []byte("one/00")}})
		require.NoError(t, err)
		require.Equal(t, "20", string(res.KVs[0].Value))
	}
	require.NoError(t, behind.disk.closeRetired())
	require.Equal(t, []string{"state", "state-1"}, names(t, behind))
	old.Close()
	require.NoError(t, behind.disk.closeRetired())
	require.Equal(t, []string{"state-1"}, names(t, behind))

	// What is older is no state to install.
	require.ErrorContains(t, behind.install(s), "the state here is at entry")
	stopNode(t, behind)
	behind = startNode(t, behind.cfg)
	require.NoError(t, behind.Ready(testContext(t)))
	require.Equal(t, "changed", get(t, behind, "one/00"))
	require.Equal(t, []string{"state-1"}, names(t, behind))
	stopNode(t, behind)
	stopNode(t, ahead)
	require.NotContains(t, names(t, ahead), outgoingName)
}

// TestInstallRefusesAnotherIndex: consensus goes on behind the index and term that it was
// told; a state as of another would miss an entry, or apply one twice.
func TestInstallRefusesAnotherIndex(t *testing.T) {
	for _, change := range []func(s *consensus.Installed){
		func(s *consensus.Installed) { s.Index++ },
		func(s *consensus.Installed) { s.Term++ },
	} {
		ahead, behind := twins(t, fillAll(t, "one"), fillAll(t, "second"))
		s, err := fetchFrom(t, ahead, behind)
		require.NoError(t, err)
		change(&s)
		require.ErrorContains(t, behind.install(s), "it is as of entry")
		stopNode(t, behind)
		stopNode(t, ahead)
	}
}

// TestInstallUnderWatches: watches see each event once, in order, whatever they were
// told when the state was replaced; one whose history is gone is told so.
func TestInstallUnderWatches(t *testing.T) {
	ahead, behind := twins(t, func(n *Node) { putMany(t, n, 0, 10) }, func(n *Node) {
		putMany(t, n, 10, 200)
		_, err := n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: 5})
		require.NoError(t, err)
	})
	f, err := behind.Watch(t.Context())
	require.NoError(t, err)
	all := core.Interval{Key: []byte("k"), End: []byte("l")}
	f.Add(1, core.WatchSpec{Interval: all, Start: 8}) // has been told some
	f.Add(2, core.WatchSpec{Interval: all})           // is synced
	f.Add(3, core.WatchSpec{Interval: all, Start: 2}) // wants what is compacted, if it has not read it
	f.Add(4, core.WatchSpec{Interval: all, Start: 100})
	slow, err := behind.Watch(t.Context())
	require.NoError(t, err)
	slow.Add(1, core.WatchSpec{Interval: all, Start: 2}) // has read nothing yet
	seen := map[core.WatchID][]core.Rev{}
	read := func(until func() bool) {
		for !until() {
			d, err := f.Next(testContext(t))
			require.NoError(t, err)
			for _, c := range d.Changes {
				seen[d.Watch] = append(seen[d.Watch], c.KV.ModRev)
			}
		}
	}
	last := func(id core.WatchID) core.Rev {
		if revs := seen[id]; len(revs) > 0 {
			return revs[len(revs)-1]
		}
		return 0
	}
	read(func() bool { return last(1) >= 11 && last(3) >= 11 })

	s, err := fetchFrom(t, ahead, behind)
	require.NoError(t, err)
	require.NoError(t, behind.install(s))
	rev := ahead.published.rev()
	read(func() bool { return last(1) == rev && last(2) == rev && last(3) == rev && last(4) == rev })
	for id, from := range map[core.WatchID]core.Rev{1: 8, 2: 12, 3: 2, 4: 100} {
		var want []core.Rev
		for r := from; r <= rev; r++ {
			want = append(want, r)
		}
		require.Equal(t, want, seen[id], "watch %d", id)
	}
	d, err := slow.Next(testContext(t))
	require.NoError(t, err)
	require.Equal(t, core.DeliverCreated, d.Kind)
	d, err = slow.Next(testContext(t))
	require.NoError(t, err)
	require.Equal(t, core.Delivery{Kind: core.DeliverCompacted, Watch: 1, CompactRev: 5}, d)
	stopNode(t, ahead)
	stopNode(t, behind)
}

// TestInstallBesideReaders: everything that uses the engine goes on while it is
// replaced, again and again (etcd #18055: two snapshots in a row).
func TestInstallBesideReaders(t *testing.T) {
	ahead, behind := twins(t, func(n *Node) { putMany(t, n, 0, 10) }, func(*Node) {})
	ctx, stop := context.WithCancel(testContext(t))
	var users sync.WaitGroup
	use := func(f func() error) {
		users.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil && ctx.Err() == nil {
					t.Errorf("beside an install: %v", err)
					return
				}
			}
		})
	}
	var newest core.Rev
	use(func() error {
		v, err := behind.View(ctx, core.Principal{}, core.Consistency{})
		if err != nil {
			return err
		}
		defer v.Close()
		if v.Rev() < newest {
			return fmt.Errorf("the view goes back from %d to %d", newest, v.Rev())
		}
		newest = v.Rev()
		_, err = v.Range(ctx, &core.Range{Interval: core.Interval{Key: []byte("k"), End: []byte("l")}})
		return err
	})
	use(func() error { return behind.upkeep.shortenLog(ctx) })
	use(func() error { return behind.upkeep.collect(ctx) })
	use(func() error { behind.upkeep.tidyStates(); return nil })
	use(func() error { behind.scrape(); return nil })
	for i := range 5 {
		putMany(t, ahead, 10, 20+i)
		_, err := ahead.Do(testContext(t), core.Principal{}, &core.Compact{Rev: ahead.published.rev() - 3})
		require.NoError(t, err)
		require.NoError(t, ahead.peers.states.outgoing.tidy(time.Now().Add(time.Hour))) // or the last one is sent again
		s, err := fetchFrom(t, ahead, behind)
		require.NoError(t, err)
		require.NoError(t, behind.install(s))
	}
	stop()
	users.Wait()
	require.NoError(t, behind.WaitCompacted(testContext(t), behind.Status().CompactRev))
	require.NoError(t, behind.disk.closeRetired())
	require.Equal(t, []string{"state-5"}, names(t, behind))
	stopNode(t, ahead)
	stopNode(t, behind)
}

// TestInstallCutShort: whenever the power fails while a state is received and installed,
// the member has the old one or the new one, whole, and a log that goes with it.
func TestInstallCutShort(t *testing.T) {
	ahead, behind := twins(t, fillAll(t, "one"), fillAll(t, "second"))
	cfg := behind.cfg
	cfg.Logger = slog.New(slog.DiscardHandler) // each start has something to say
	oldRev, newRev := behind.published.rev(), ahead.published.rev()
	stopNode(t, behind)
	// All of what was not synced, or nothing: the engine takes it that its directory's
	// entries become durable in the order in which they were made.
	for _, percent := range []int{0, 100} {
		mem := storage.CrashClone(cfg.FS.(*storage.MemFS), 100, 1)
		var mu sync.Mutex // the engine writes on goroutines of its own
		watching := false
		var copies []*storage.MemFS
		run := cfg
		run.FS = storage.WithFaults(mem, func(f storage.Fault) error {
			mu.Lock()
			defer mu.Unlock()
			if watching && f.Write {
				copies = append(copies, storage.CrashClone(mem, percent, uint64(len(copies))))
			}
			return nil
		})
		n := startNode(t, run)
		require.NoError(t, n.Ready(testContext(t)))
		mu.Lock()
		watching = true
		mu.Unlock()
		s, err := fetchFrom(t, ahead, n)
		require.NoError(t, err)
		require.NoError(t, n.install(s))
		require.NoError(t, n.disk.closeRetired())
		mu.Lock()
		watching = false
		mu.Unlock()
		stopNode(t, n)
		require.Greater(t, len(copies), 20)
		revs := map[core.Rev]int{}
		for i, left := range copies {
			again := cfg
			again.FS = left
			n := startNode(t, again)
			require.NoError(t, n.Ready(testContext(t)))
			rev := n.published.rev()
			revs[rev]++
			if i%8 == 0 {
				hash(t, n)
			}
			stopNode(t, n)
		}
		require.Len(t, revs, 2, "%v", revs)
		require.Positive(t, revs[oldRev])
		require.Positive(t, revs[newRev])
	}
	stopNode(t, ahead)
}

func hash(t testing.TB, n *Node) uint32 {
	sum, _, err := n.Hash(testContext(t), core.Principal{Member: true})
	require.NoError(t, err)
	return sum
}

// TestOpenInstalledStateWithALogOfItsOwn: a crash between the installation of a state
// and the reset of the log leaves entries in it that were never committed, and that the
// state contradicts.
func TestOpenInstalledStateWithALogOfItsOwn(t *testing.T) {
	ahead, behind := twins(t, func(n *Node) { putMany(t, n, 0, 10) }, func(n *Node) { putMany(t, n, 10, 20) })
	s, err := fetchFrom(t, ahead, behind)
	require.NoError(t, err)
	require.NoError(t, behind.install(s))
	stopNode(t, behind)
	stopNode(t, ahead)
	appendLog := func(commit uint64) Config {
		cfg := crashed(behind.cfg, 100, 1)
		log, err := raftlog.Open("data/"+logName, raftlog.Options{FS: cfg.FS})
		require.NoError(t, err)
		last, err := log.LastIndex()
		require.NoError(t, err)
		var entries []*raftpb.Entry
		for i := last + 1; i <= s.Index+5; i++ {
			entries = append(entries, &raftpb.Entry{Term: new(s.Term + 7), Index: new(i)})
		}
		hs := log.HardState()
		hs.Term = new(s.Term + 7)
		if commit > 0 {
			hs.Commit = new(commit)
		}
		require.NoError(t, log.Append(hs, entries, true))
		require.NoError(t, log.Close())
		return cfg
	}
	cfg := appendLog(0)
	n := startNode(t, cfg)
	require.NoError(t, n.Ready(testContext(t)))
	checkMany(t, n, 20)
	stopNode(t, n)

	_, err = Start(appendLog(s.Index + 2))
	require.ErrorContains(t, err, "they do not belong together")
}

// TestFetchRefusesAnotherCluster: and what is no state, and keeps none of it.
func TestFetchRefusesAnotherCluster(t *testing.T) {
	ahead := startNode(t, testConfig(t))
	dir, err := openDataDir(storage.NewMemFS(), "data")
	require.NoError(t, err)
	there, here := net.Pipe()
	go func() { _ = ahead.peers.Transfer(testContext(t), 2, there) }()
	_, err = fetchInto(testContext(t), here, dir, 0x77)
	require.ErrorContains(t, err, fmt.Sprintf("it is of cluster %x, this is cluster 77", ahead.disk.id.cluster))
	left, err := dir.fs.List("data")
	require.NoError(t, err)
	require.Equal(t, []string{lockName}, left)
	require.NoError(t, dir.Close())
	stopNode(t, ahead)
}

// TestFetchNeedsRoom: a state that does not fit on the disk is not received.
func TestFetchNeedsRoom(t *testing.T) {
	ahead := startNode(t, testConfig(t))
	fs := storage.NewMemFS()
	fs.TestingSetDiskUsage(storage.DiskUsage{AvailBytes: roomLeft, TotalBytes: 1 << 40})
	dir, err := openDataDir(fs, "data")
	require.NoError(t, err)
	there, here := net.Pipe()
	go func() { _ = ahead.peers.Transfer(testContext(t), 2, there) }()
	_, err = fetchInto(testContext(t), here, dir, ahead.disk.id.cluster)
	require.ErrorContains(t, err, "make room, then it goes on by itself")
	require.NoError(t, dir.Close())
	stopNode(t, ahead)
}

// TestReceivedStateIsNotSentAgain: a state that was received, and not installed before
// the member was started again, is there; and so is what had come of one.
func TestReceivedStateIsNotSentAgain(t *testing.T) {
	ahead, behind := twins(t, fillAll(t, "one"), fillAll(t, "second"))
	s, err := fetchFrom(t, ahead, behind)
	require.NoError(t, err)
	cfg := behind.cfg
	require.Contains(t, names(t, behind), receivedPrefix+fmt.Sprint(s.Index))
	stopNode(t, behind)
	behind = startNode(t, cfg)
	require.Equal(t, []string{incomingName, stateName}, names(t, behind))
	require.NoError(t, behind.Ready(testContext(t)))
	s, err = fetchFrom(t, ahead, behind)
	require.NoError(t, err)
	require.NoError(t, behind.install(s))
	sameState(t, ahead, behind)

	// What nobody goes on with is removed after a while.
	f := &behind.peers.states.fetcher
	_, err = fetchFrom(t, ahead, behind)
	require.NoError(t, err)
	require.NoError(t, f.tidy(time.Now()))
	require.Contains(t, names(t, behind), receivedPrefix+fmt.Sprint(s.Index))
	require.NoError(t, f.tidy(time.Now().Add(fetchLasts)))
	require.NoError(t, behind.disk.closeRetired())
	require.Equal(t, []string{"state-1"}, names(t, behind))
	stopNode(t, behind)
	stopNode(t, ahead)
}
