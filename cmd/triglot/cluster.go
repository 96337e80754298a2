package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/triglot/triglot/cmd/triglot/config"
)

// devCluster is a cluster on this host: each member a process of its own, with every face.
// Its goroutine starts and ends the processes; each has one more that waits for its end.
type devCluster struct {
	p       *process
	dir     string
	count   int
	port    int // --port
	members []*devMember
	// ended delivers a member whose process has ended.
	ended chan *devMember
}

// devMember is one member.
type devMember struct {
	name, client, peer, zk string // addresses, host:port
	log                    string
	cmd                    *exec.Cmd
	// running is false once ended has delivered it.
	running bool
}

// The ports of the first member are everybody's defaults; those of the others are 10 000
// higher each for etcd's, as in etcd's own Procfile, and one higher for ZooKeeper's.
const (
	devHost    = "127.0.0.1"
	clientPort = 2379
	peerPort   = 2380
	zkPort     = 2181
	portStep   = 10_000
	maxDev     = 6 // for the ports

	// devStart is how long the members may take to elect a leader.
	devStart = 30 * time.Second
	// devStop is how long a member may take to stop.
	devStop = 5 * time.Second
)

func (p *process) clusterCommand() *cobra.Command {
	c := &devCluster{p: p}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Run a cluster of several members on this host, to try it out",
		Long: `Run a cluster of several members on this host, each with all that clients are served.
Ctrl-C stops all of them; started again, they go on with what they had.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return c.run() },
	}
	cmd.Flags().StringVar(&c.dir, "data-dir", "cluster", "directory with one for each member, and their logs")
	cmd.Flags().IntVar(&c.count, "members", 3, "number of members, at most 6; the same for as long as the directory is kept")
	cmd.Flags().IntVar(&c.port, "port", 0, "first of three ports in a row for each member; 0 is the protocols' own ports and others next to them")
	return cmd
}

func (c *devCluster) run() error {
	if c.count < 1 || c.count > maxDev {
		return &config.UsageError{Err: fmt.Errorf("--members %d is not between 1 and %d", c.count, maxDev)}
	}
	if c.port < 0 || c.port+3*c.count > 1<<16 {
		return &config.UsageError{Err: fmt.Errorf("--port %d leaves no room for the ports of %d members", c.port, c.count)}
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c.ended = make(chan *devMember, c.count)
	c.describe()
	for _, m := range c.members {
		if err := c.start(m); err != nil {
			return errors.Join(err, c.stop())
		}
	}
	if err := c.await(ctx); err != nil {
		return errors.Join(err, c.stop())
	}
	say(c.p.stdout, c.welcome())
	for {
		select {
		case <-ctx.Done():
			return c.stop()
		case m := <-c.ended:
			m.running = false
			say(c.p.stdout, fmt.Sprintf("%s has ended (%v), the others go on; its log is %s\n", m.name, m.cmd.ProcessState, m.log))
			if !slices.ContainsFunc(c.members, func(m *devMember) bool { return m.running }) {
				return errors.New("no member is left")
			}
		}
	}
}

// describe says who the members are: always the same.
func (c *devCluster) describe() {
	address := func(port int) string { return fmt.Sprintf("%s:%d", devHost, port) }
	for i := range c.count {
		client, peer, zk := clientPort+i*portStep, peerPort+i*portStep, zkPort+i
		if c.port > 0 {
			client = c.port + 3*i
			peer, zk = client+1, client+2
		}
		name := fmt.Sprintf("m%d", i+1)
		c.members = append(c.members, &devMember{
			name: name, client: address(client), peer: address(peer), zk: address(zk), log: filepath.Join(c.dir, name+".log"),
		})
	}
}

// start runs a member. Its log is begun anew.
func (c *devCluster) start(m *devMember) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var founders []string
	for _, other := range c.members {
		founders = append(founders, other.name+"=http://"+other.peer)
	}
	log, err := os.Create(m.log)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the child has its own
	m.cmd = exec.Command(self, "serve",
		"--name="+m.name, "--data-dir="+filepath.Join(c.dir, m.name),
		"--listen-client-urls=http://"+m.client, "--advertise-client-urls=http://"+m.client, "--zk-listen="+m.zk,
		"--listen-peer-urls=http://"+m.peer, "--initial-advertise-peer-urls=http://"+m.peer,
		"--initial-cluster="+strings.Join(founders, ","), "--initial-cluster-token=triglot-dev", "--zk-4lw-whitelist=*",
	)
	m.cmd.Args[0] = c.p.args[0]
	m.cmd.Stdout, m.cmd.Stderr = io.Discard, log
	m.cmd.Env = slices.DeleteFunc(slices.Clone(c.p.environ), func(v string) bool {
		return strings.HasPrefix(v, "TRIGLOT_LISTEN") || strings.HasPrefix(v, "ETCD_")
	})
	m.cmd.SysProcAttr = ownGroup() // Ctrl-C is for this process, which stops them
	if err := m.cmd.Start(); err != nil {
		return err
	}
	m.running = true
	go func() { // until the process ends, for which stop waits
		_ = m.cmd.Wait() // its status is in ProcessState
		c.ended <- m
	}()
	return nil
}

// await returns when all members serve.
func (c *devCluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devStart)
	defer cancel()
	waiting := make(chan error, len(c.members))
	var probes sync.WaitGroup
	defer probes.Wait()
	for _, m := range c.members {
		probes.Go(func() { waiting <- awaitHealth(ctx, m) })
	}
	for range c.members {
		select {
		case err := <-waiting:
			if err != nil {
				cancel()
				return err
			}
		case m := <-c.ended:
			m.running = false
			cancel()
			return fmt.Errorf("%s does not start: %s (its log is %s)", m.name, m.lastWords(), m.log)
		}
	}
	return nil
}

// awaitHealth polls a member's health check until it is a good one.
func awaitHealth(ctx context.Context, m *devMember) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.client+"/health", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve in time: look at %s", m.name, m.log)
		}
	}
}

// stop ends the members and waits for them.
func (c *devCluster) stop() error {
	running := 0
	for _, m := range c.members {
		if m.running {
			running++
			_ = m.cmd.Process.Signal(syscall.SIGTERM) // or it has ended
		}
	}
	timeout := time.After(devStop)
	for running > 0 {
		select {
		case m := <-c.ended:
			m.running = false
			running--
		case <-timeout:
			for _, m := range c.members {
				if m.running {
					_ = m.cmd.Process.Kill() // or it has ended
				}
			}
			timeout = nil
		}
	}
	return nil
}

// lastWords is the last line of a member's log.
func (m *devMember) lastWords() string {
	text, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// welcome says where what is served, with lines to paste.
func (c *devCluster) welcome() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Triglot %s, %d members, data and logs in %s\n\n", version, c.count, c.dir)
	var clients, zks []string
	fmt.Fprintf(&b, "  %-4s %-7s %-24s %-16s %s\n", "", "pid", "etcd, HTTP", "ZooKeeper", "peers")
	for _, m := range c.members {
		clients, zks = append(clients, m.client), append(zks, m.zk)
		fmt.Fprintf(&b, "  %-4s %-7d %-24s %-16s %s\n", m.name, m.cmd.Process.Pid, "http://"+m.client, m.zk, m.peer)
	}
	last := c.members[len(c.members)-1]
	fmt.Fprintf(&b, `
  etcdctl --endpoints=%s put /zk/hello world
  zkCli.sh -server %s get /hello
  curl http://%s/v3/kv/range -d '{"key":"L3prL2hlbGxv"}'
  %s status --endpoints=%s

Ctrl-C stops all members; to lose one: kill -9 %d
`, strings.Join(clients, ","), strings.Join(zks, ","), last.client, c.p.args[0], c.members[0].client, c.members[0].cmd.Process.Pid)
	return b.String()
}
