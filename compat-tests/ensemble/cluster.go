package ensemble

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

// Kind says which server the members run.
type Kind string

// The kinds.
const (
	Etcd      Kind = "etcd"
	ZooKeeper Kind = "zookeeper"
	Triglot   Kind = "triglot"
)

// KindFromEnv is the one that TARGET names, Triglot by default.
func KindFromEnv() (Kind, error) {
	switch k := Kind(os.Getenv("TARGET")); k {
	case "":
		return Triglot, nil
	case Etcd, ZooKeeper, Triglot:
		return k, nil
	default:
		return "", fmt.Errorf("TARGET=%s: want %s, %s or %s", k, Triglot, Etcd, ZooKeeper)
	}
}

// Etcd says whether the members speak etcd's protocol.
func (k Kind) Etcd() bool { return k != ZooKeeper }

// ZooKeeper says whether the members speak ZooKeeper's.
func (k Kind) ZooKeeper() bool { return k != Etcd }

// Options say how to start a cluster. The zero value is three members of Triglot with
// default flags in a temporary directory.
type Options struct {
	Kind Kind
	// Size is the number of members; zero is 3.
	Size int
	// Programs are the binaries of the first members of Etcd or Triglot. An empty one, and
	// those of the others, is the kind's own.
	Programs []string
	// Dir holds a directory for each member. Empty means a temporary one, which Close
	// removes.
	Dir string
	// Kept says that a cluster may have run in Dir before, with Kept: it goes on there with
	// its data, on the same ports, which are part of what members know of each other.
	Kept bool
	// Ready bounds the start of a member among others, and of all of them together; zero is
	// a minute.
	Ready time.Duration
	// Args are further flags of each etcd or Triglot.
	Args []string
	// EtcdMode starts each Triglot as "triglot etcd": etcd's defaults, and no other face.
	EtcdMode bool
	// DiskBytes gives each member's data a file system of its own of that size, in memory;
	// zero is none. It takes root, on Linux: see MayMount.
	DiskBytes int64
	// PeerTLS has the members of Etcd and Triglot speak to each other by mutual TLS.
	PeerTLS bool
	// Tick is ZooKeeper's tickTime; zero is 2 s, its default.
	Tick time.Duration
	// Config are further lines of each zoo.cfg of a ZooKeeper.
	Config []string
	// JVM are further arguments of java.
	JVM []string
}

// Cluster is a running cluster. It is for one goroutine; Network and Pids are safe for
// concurrent use.
type Cluster struct {
	Options
	Network   *Network
	Members   []*Member
	pki       *server.PKI // nil without PeerTLS
	temporary bool
	pids      pidTable
}

// Start starts all members and returns once every one serves. The caller ends it with
// Close, which it may call on error, too: the cluster is never nil.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Kind == "" {
		o.Kind = Triglot
	}
	if o.Size == 0 {
		o.Size = 3
	}
	if o.Ready == 0 {
		o.Ready = time.Minute
	}
	if o.Tick == 0 {
		o.Tick = 2 * time.Second
	}
	const attempts = 3 // a port can be lost to another process
	for attempt := 1; ; attempt++ {
		c, err := startOnce(ctx, o)
		if err == nil || attempt == attempts || o.Kept || !c.portTaken() && !errors.Is(err, syscall.EADDRINUSE) {
			return c, err
		}
		if err := errors.Join(c.Close(), os.RemoveAll(o.Dir)); err != nil {
			return c, err
		}
	}
}

func startOnce(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{Options: o}
	c.Network = NewNetwork(c.pids.list)
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "cluster-"+string(o.Kind)+"-")
		if err != nil {
			return c, err
		}
		c.Dir, c.temporary = dir, true
	}
	if err := c.makePKI(); err != nil {
		return c, err
	}
	for range o.Size {
		if _, err := c.add(); err != nil {
			return c, err
		}
	}
	for _, m := range c.Members {
		if err := m.launch(); err != nil {
			return c, err
		}
	}
	return c, c.AwaitAll(ctx)
}

func (c *Cluster) makePKI() (err error) {
	if !c.PeerTLS || c.Kind == ZooKeeper {
		return nil
	}
	dir := filepath.Join(c.Dir, "pki")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if c.pki, err = server.NewPKI(dir); err != nil {
		return err
	}
	return c.pki.Peer()
}

func (c *Cluster) portTaken() bool {
	for _, m := range c.Members {
		if server.PortTaken(m.Log()) {
			return true
		}
	}
	return false
}

// add prepares a member: its ports, its directory, its proxies.
func (c *Cluster) add() (*Member, error) {
	m := &Member{cluster: c, Index: len(c.Members), state: "new"}
	m.Name = fmt.Sprintf("m%d", m.Index+1)
	if m.Index < len(c.Programs) {
		m.Program = c.Programs[m.Index]
	}
	m.dir = filepath.Join(c.Dir, m.Name)
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return nil, err
	}
	if err := m.choosePorts(); err != nil {
		return nil, err
	}
	if c.DiskBytes > 0 {
		if err := mountDisk(m.DataDir(), c.DiskBytes); err != nil {
			return nil, err
		}
	}
	c.Members = append(c.Members, m)
	c.pids.grow(len(c.Members))
	if c.Kind != ZooKeeper {
		return m, c.Network.Listen(m.Index, local(m.proxyPort), local(m.peerPort), nil)
	}
	// The peers see the proxies as the same ports of another address: see hosts.
	return m, errors.Join(
		c.Network.Listen(m.Index, elsewhere(m.peerPort), local(m.peerPort), nil),
		c.Network.Listen(m.Index, elsewhere(m.electionPort), local(m.electionPort), anonymous))
}

func local(port int) string     { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
func elsewhere(port int) string { return net.JoinHostPort("127.0.0.2", strconv.Itoa(port)) }

// AwaitAll waits until every running member serves.
func (c *Cluster) AwaitAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Ready)
	defer cancel()
	for _, m := range c.Members {
		if m.run == nil {
			continue
		}
		if err := m.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Running are the members that run.
func (c *Cluster) Running() []*Member {
	var list []*Member
	for _, m := range c.Members {
		if m.run != nil {
			list = append(list, m)
		}
	}
	return list
}

// Leader asks the running members who leads, nil if none knows within the time.
func (c *Cluster) Leader(ctx context.Context) *Member {
	ctx, cancel := context.WithTimeout(ctx, c.Ready)
	defer cancel()
	for ctx.Err() == nil {
		for _, m := range c.Running() {
			if leads, err := m.leads(ctx); err == nil && leads {
				return m
			}
		}
		pause(ctx, pollInterval)
	}
	return nil
}

// EtcdEndpoints are the members' addresses for etcd's clients.
func (c *Cluster) EtcdEndpoints() []string {
	var list []string
	for _, m := range c.Members {
		list = append(list, m.EtcdEndpoint())
	}
	return list
}

// ZKEndpoints are the members' addresses for ZooKeeper's clients.
func (c *Cluster) ZKEndpoints() []string {
	var list []string
	for _, m := range c.Members {
		list = append(list, m.ZKEndpoint())
	}
	return list
}

// Isolate cuts a member off from all others: what it says, what it hears, or both.
func (c *Cluster) Isolate(m *Member, says, hears bool) {
	for _, other := range c.Members {
		if other == m {
			continue
		}
		if says {
			c.Network.Cut(m.Index, other.Index)
		}
		if hears {
			c.Network.Cut(other.Index, m.Index)
		}
	}
}

// Join adds a member to the running cluster of Etcd or Triglot, with add, which is to
// tell the cluster of the URL; it starts the member, with further flags of its own, and
// does not wait until it serves.
func (c *Cluster) Join(add func(name, url string) error, args ...string) (*Member, error) {
	m, err := c.add()
	if err != nil {
		return nil, err
	}
	m.Args = args
	if err := add(m.Name, m.peerURL()); err != nil {
		return nil, err
	}
	m.state = "existing"
	return m, m.launch()
}

// Close kills what still runs and removes a temporary directory.
func (c *Cluster) Close() error {
	var errs []error
	for _, m := range c.Members {
		errs = append(errs, m.Kill())
		if c.DiskBytes > 0 {
			errs = append(errs, unmountDisk(m.DataDir()))
		}
	}
	errs = append(errs, c.Network.Close())
	if c.temporary {
		errs = append(errs, os.RemoveAll(c.Dir))
	}
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Member is one of a cluster. It is for the cluster's goroutine.
type Member struct {
	Index int
	Name  string
	// Program is the binary that the next start runs, and Args are further flags of this
	// member alone, of Etcd or Triglot. An empty Program is the kind's own.
	Program string
	Args    []string
	// Ahead is how far the monotonic clock of the next start is ahead of the machine's, as if
	// its host had been up for longer: see MayShiftClocks. Zero is not at all.
	Ahead time.Duration

	cluster *Cluster
	dir     string
	// state is --initial-cluster-state.
	state                                               string
	etcdPort, zkPort, peerPort, electionPort, proxyPort int

	run *server.Run // nil once ended
}

func (m *Member) peerURL() string { return m.cluster.peerScheme() + local(m.proxyPort) }

func (c *Cluster) peerScheme() string {
	if c.pki != nil {
		return "https://"
	}
	return "http://"
}

// EtcdEndpoint is the address for etcd's clients.
func (m *Member) EtcdEndpoint() string { return local(m.etcdPort) }

// ZKEndpoint is the address for ZooKeeper's clients.
func (m *Member) ZKEndpoint() string { return local(m.zkPort) }

// LogPath is the file with the output of all runs.
func (m *Member) LogPath() string { return filepath.Join(m.dir, "log") }

// DataDir is where its data is.
func (m *Member) DataDir() string { return filepath.Join(m.dir, "data") }

// Log is its output so far.
func (m *Member) Log() string {
	text, err := os.ReadFile(m.LogPath())
	if err != nil {
		return "" // it has not been started
	}
	return string(text)
}

// PID is the process id of a member that runs.
func (m *Member) PID() int { return m.run.PID() }

// Up says whether it runs, paused or not.
func (m *Member) Up() bool { return m.run != nil }

// launch starts the process and does not wait.
func (m *Member) launch() error {
	if m.run != nil {
		return fmt.Errorf("%s is still running", m.Name)
	}
	program, err := m.program()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.LogPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if m.Ahead != 0 {
		program = append(shifted(m.Ahead), program...)
	}
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.dir, log, log
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ETCD_") && !strings.HasPrefix(v, "TRIGLOT_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	run, err := server.NewRun(cmd)
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	m.run = run
	m.cluster.pids.set(m.Index, run.PID())
	return nil
}

// Launch runs it again with the same data, and does not wait until it serves.
func (m *Member) Launch() error { return m.launch() }

// Restart is Launch, and waits until it serves.
func (m *Member) Restart(ctx context.Context) error {
	if err := m.launch(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, m.cluster.Ready)
	defer cancel()
	return m.Await(ctx)
}

// Await waits until it serves among the others: it knows a leader, and answers. It asks
// again while it waits for an answer: a member that starts leaves some without one, and
// the next is to come when it serves, not when a question's time is over.
func (m *Member) Await(ctx context.Context) error {
	const most = int(askTimeout / pollInterval) // under way at a time
	var (
		wg      sync.WaitGroup
		under   int
		last    error
		answers = make(chan error, most)
	)
	defer wg.Wait()
	asking, stop := context.WithCancel(ctx)
	defer stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if under < most {
			under++
			wg.Go(func() { answers <- m.ready(asking) })
		}
		select {
		case err := <-answers:
			if err == nil {
				return nil
			}
			last = err
			under--
		case <-m.run.Done():
			return fmt.Errorf("%s has ended: %w; end of its log:\n%s", m.Name, m.run.Err(), server.Tail(m.Log(), 40))
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w; end of its log:\n%s", m.Name, last, server.Tail(m.Log(), 40))
		case <-tick.C:
			continue
		}
		<-tick.C
	}
}

// Kill ends it with SIGKILL, paused or not. It is no error if it does not run.
func (m *Member) Kill() error { return m.end((*server.Run).Kill) }

// Terminate ends it with SIGTERM.
func (m *Member) Terminate() error { return m.end((*server.Run).Terminate) }

func (m *Member) end(how func(*server.Run) error) error {
	if m.run == nil {
		return nil
	}
	run := m.run
	m.run = nil
	err := how(run)
	m.cluster.pids.set(m.Index, 0)
	return err
}

// Pause stops the process, Resume lets it go on.
func (m *Member) Pause() error { return syscall.Kill(m.run.PID(), syscall.SIGSTOP) }

// Resume is the end of Pause.
func (m *Member) Resume() error { return syscall.Kill(m.run.PID(), syscall.SIGCONT) }

// Ended says how it ended by itself, nil if it did not.
func (m *Member) Ended() error {
	if m.run == nil {
		return nil
	}
	select {
	case <-m.run.Done():
		return m.run.Err()
	default:
		return nil
	}
}

// Wipe removes its data; it must not run.
func (m *Member) Wipe() error { return os.RemoveAll(m.DataDir()) }
