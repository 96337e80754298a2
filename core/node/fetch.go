package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/consensus"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/transfer"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/checkpoint"
)

// fetchInto receives a state from the member at the other end of conn, which
// peer.Transport.Open or peer.Dialer.Open has opened, into a data directory, and goes on
// where an earlier call was cut off. It closes conn. When it returns, the state is whole,
// verified and durable, in the directory that the result names: dataDir.adopt makes it
// the member's. It is refused if it is not of cluster. From is left to the caller.
//
// It is for one goroutine at a time. If it fails, what was received is kept for the next,
// unless that is what it failed for.
func fetchInto(ctx context.Context, conn net.Conn, dir *dataDir, cluster uint64) (consensus.Installed, error) {
	defer conn.Close() //nolint:errcheck // what counts has been said
	path := dir.join(incomingName)
	r := transfer.NewReceiver(dir.fs, path, func(bytes int64) error { return haveRoom(dir.fs, dir.path, bytes) })
	if err := transfer.Receive(ctx, conn, r); err != nil {
		return consensus.Installed{}, fmt.Errorf("receive a state: %w", err)
	}
	head, err := headIn(dir.fs, path) //nolint:contextcheck // the engine logs as it does everywhere
	if err == nil && head.Cluster != cluster {
		err = fmt.Errorf("it is of cluster %x, this is cluster %x", head.Cluster, cluster)
	}
	if err == nil && head.Index != r.Index() {
		err = fmt.Errorf("it is as of entry %d, and was said to be as of entry %d", head.Index, r.Index())
	}
	if err != nil {
		// Each file is what the sender has. To send them again would change nothing.
		return consensus.Installed{}, errors.Join(fmt.Errorf("the state that was received is of no use: %w", err), dir.removeDir(path))
	}
	if path, err = dir.setReceived(head.Index); err != nil {
		return consensus.Installed{}, err
	}
	s := consensus.Installed{Index: head.Index, Term: head.Term, Dir: path}
	for _, m := range head.Members {
		if m.Learner {
			s.Learners = append(s.Learners, m.ID)
		} else {
			s.Voters = append(s.Voters, m.ID)
		}
	}
	return s, nil
}

// headIn opens the state in a directory, which also proves that it can be opened, and
// reads its head.
func headIn(fs storage.FS, dir string) (state.Head, error) {
	damage := make(chan error, 1) // which must not end the process
	db, err := storage.Open(dir, storage.Options{FS: fs, ReadOnly: true, CacheBytes: 1 << 20, OnFatal: func(err error) { damage <- err }})
	if err != nil {
		return state.Head{}, err
	}
	head, err := state.HeadOf(db)
	select {
	case found := <-damage:
		return state.Head{}, errors.Join(found, err) // it must not be closed then
	default:
		return head, errors.Join(err, db.Close())
	}
}

// roomLeft is what a received state must leave of the disk, for the log and the state
// that go on: a flush of the engine, and then some.
const roomLeft = 256 << 20

// haveRoom fails if so many bytes are too much for the disk.
func haveRoom(fs storage.FS, path string, bytes int64) error {
	usage, err := fs.GetDiskUsage(path)
	if errors.Is(err, storage.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	if need := uint64(bytes) + roomLeft; bytes > 0 && usage.AvailBytes < need {
		return fmt.Errorf("the disk of %s has %d MiB left, and the state of another member needs %d MiB more: make room, then it goes on by itself",
			path, usage.AvailBytes>>20, need>>20)
	}
	return nil
}

const (
	// fetchRetry is the pause after a fetch that failed, before the leader is told: it
	// asks for another at once.
	fetchRetry = time.Second
	// fetchLasts is how long what was received of a state is kept when nobody goes on
	// with it: the log may have been long enough after all. What waits to be installed is
	// given up long before.
	fetchLasts = 2 * consensus.FetchedLasts
)

// fetcher fetches states for this member, one at a time.
type fetcher struct {
	n *Node
	// ctx ends with the member.
	ctx context.Context //nolint:containedctx // of the goroutine that fetchState starts
	// fetch fetches a state, and tell is told of it; a test has its own.
	fetch func(ctx context.Context, from core.MemberID) (consensus.Installed, error)
	tell  func(consensus.Installed, error)

	mu      sync.Mutex
	running bool
	// from is who asked last, zero if nobody has.
	from core.MemberID
	// left is when something may have been left behind, zero if there is nothing.
	left time.Time
	// asked wakes a fetch that rests; its capacity is 1.
	asked chan struct{}
}

func (f *fetcher) init(ctx context.Context, n *Node) {
	f.n, f.ctx, f.fetch, f.left, f.asked = n, ctx, n.fetchFrom, time.Now(), make(chan struct{}, 1)
	f.tell = func(s consensus.Installed, err error) {
		n.driver.Fetched(s, err)
		// When this is answered, consensus knows, and has asked for what it had asked for before.
		_, _ = n.driver.Progress(ctx)
	}
}

// fetchState is asked by consensus for a state, since the leader's log no longer
// holds what this member lacks. It does not block.
//
// One that is under way from another member goes on: what that has applied is
// committed, whoever leads.
func (n *Node) fetchState(from core.MemberID) {
	f := &n.peers.states.fetcher
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from != from {
		f.from = from
		signal(f.asked)
	}
	if f.running {
		return
	}
	f.running = true
	n.wait.Go(f.run)
}

// run fetches a state from whoever asked last. If that fails, and another has asked
// meanwhile, it goes on there at once: the first one may be gone, and this member be
// needed for a majority.
func (f *fetcher) run() {
	for {
		f.mu.Lock()
		from := f.from
		f.mu.Unlock()
		s, err := f.fetch(f.ctx, from)
		s.From = from // for a fetch that failed, too: that member is told
		if err == nil {
			// Nobody begins another fetch before consensus knows of this one: that might put
			// another state where this one is while it is being installed.
			f.tell(s, nil)
			f.end(from, true)
			return
		}
		if f.ctx.Err() == nil {
			f.n.cfg.Logger.Warn("fetching the state from another member failed; it is tried again",
				"from", fmt.Sprintf("%x", uint64(from)), "error", err)
			f.rest(from)
		}
		if f.end(from, f.ctx.Err() != nil) {
			f.tell(s, err) // who asks again is served
			return
		}
	}
}

// end ends a fetch from a member, unless another one has asked and it need not end.
func (f *fetcher) end(from core.MemberID, must bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from != from && !must {
		return false
	}
	f.running, f.left, f.from = false, time.Now(), 0
	return true
}

// rest waits after a fetch that failed, unless another member than from asks.
func (f *fetcher) rest(from core.MemberID) {
	over := time.NewTimer(fetchRetry)
	defer over.Stop()
	for {
		f.mu.Lock()
		another := f.from != from
		f.mu.Unlock()
		if another {
			return
		}
		select {
		case <-f.asked:
		case <-over.C:
			return
		case <-f.ctx.Done():
			return
		}
	}
}

// fetchFrom fetches the state of a member.
func (n *Node) fetchFrom(ctx context.Context, from core.MemberID) (consensus.Installed, error) {
	begun := time.Now()
	n.cfg.Logger.Info("the log of the leader does not go back to where this member is: fetching its state", "from", fmt.Sprintf("%x", uint64(from)))
	conn, err := n.peers.open(ctx, from)
	if err != nil {
		return consensus.Installed{}, err
	}
	end := n.metrics.states.received.begin(from)
	s, err := fetchInto(ctx, conn, n.disk.dir, n.disk.id.cluster)
	end(err)
	if errors.Is(err, checkpoint.ErrSync) {
		n.fail(err) // the disk cannot be trusted
	}
	if err != nil {
		return consensus.Installed{}, err
	}
	n.cfg.Logger.Info("fetched the state of another member", "from", fmt.Sprintf("%x", uint64(from)), "index", s.Index,
		"took", time.Since(begun).Round(time.Millisecond))
	return s, nil
}

// open opens a connection for the Transfer of a member.
func (p *peers) open(ctx context.Context, to core.MemberID) (net.Conn, error) {
	t := p.transport.Load()
	if t == nil {
		return nil, core.Errorf(core.Timeout, "member %x cannot be reached: this member is alone", uint64(to))
	}
	return t.Open(ctx, to)
}

// tidy removes what was received of states that nobody goes on with.
func (f *fetcher) tidy(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running || f.left.IsZero() || now.Sub(f.left) < fetchLasts {
		return nil
	}
	f.left = time.Time{}
	dir := f.n.disk.dir
	names, err := dir.fs.List(dir.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.removeDir(dir.join(incomingName)), dir.removeReceived(names))
}
