package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// face is a protocol: who speaks it, what is asked in it, and how.
type face struct {
	// servers and kinds are what is measured if nothing else is asked for.
	servers, kinds string
	// start starts a server of a kind; see startAll.
	start func(ctx context.Context, kind, binary, parent string) (*target, func() error, error)
	dial  func(ctx context.Context, endpoint string, conns int, d *data) (client, error)
}

var faces = map[string]face{
	"etcd": {"etcd,triglot,null,null-tuned", "put,get", startEtcd, newEtcdClient},
	"zk":   {"zookeeper,triglot,null", "set,create,get", startZK, newZKClient},
	// Half the machine is the client's then.
	"zk-stock": {"zookeeper,triglot,null", "set,create,get", startZK, newStockClient},
}

// config is the command line.
type config struct {
	face           face
	servers, kinds []string
	clients        []int
	binaries       map[string]string
	rounds, ops    int
	conns          int
	keys, bytes    int
	dir            string
	jsonPath       string
	profileDir     string
	timeout        time.Duration
}

func main() {
	if len(os.Args) == 2 && isNull(os.Args[1]) {
		fail(serveNull(os.Args[1]))
		return
	}
	c, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	fail(err)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	debug.SetGCPercent(400) // the client's garbage must not take the server's cores
	fail(run(ctx, c))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string, usage io.Writer) (*config, error) {
	c := &config{binaries: map[string]string{}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	name := flags.String("face", "etcd", "the protocol and the client: etcd, zk, or zk-stock (ZooKeeper's with go-zookeeper)")
	servers := flags.String("servers", "", "servers to measure (etcd or zookeeper, triglot, null, null-tuned, or KIND=PATH); the first is what the others are compared with; all if empty")
	etcd := flags.String("etcd", "", "path of the etcd binary (built from tools/go.mod if empty)")
	triglot := flags.String("triglot", "", "path of the triglot binary (built from this tree if empty)")
	kinds := flags.String("kinds", "", "operations: put, get (linearizable), sget (serializable); of zk: set, create, get; the face's own if empty")
	clients := flags.String("clients", "1,100,1000", "numbers of closed-loop clients")
	flags.IntVar(&c.rounds, "pairs", 7, "rounds; each measures every cell once on every server")
	flags.IntVar(&c.ops, "ops", 60_000, "operations of a cell of 100 or more clients; fewer clients do fewer")
	flags.IntVar(&c.conns, "conns", 10, "connections")
	flags.IntVar(&c.keys, "keys", 10_000, "keys")
	flags.IntVar(&c.bytes, "bytes", 256, "bytes of a value")
	flags.StringVar(&c.dir, "dir", "", "where the data directories are made; the system's temporary directory if empty")
	flags.StringVar(&c.jsonPath, "json", "", "write the report to this file too")
	flags.StringVar(&c.profileDir, "profile", "", "record CPU profiles of the servers with perf into this directory")
	flags.DurationVar(&c.timeout, "timeout", 30*time.Minute, "give up after this time")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var found bool
	if c.face, found = faces[*name]; !found {
		return nil, fmt.Errorf("-face: %q is not etcd, zk or zk-stock", *name)
	}
	c.servers = strings.Split(cmp.Or(*servers, c.face.servers), ",")
	c.kinds = strings.Split(cmp.Or(*kinds, c.face.kinds), ",")
	for _, text := range strings.Split(*clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-clients: %q is not a positive number", text)
		}
		c.clients = append(c.clients, n)
	}
	if min(c.rounds, c.ops, c.conns, c.keys, c.bytes) < 1 || flags.NArg() > 0 {
		return nil, errors.New("-pairs, -ops, -conns, -keys and -bytes must be positive, and nothing follows the flags")
	}
	c.binaries["etcd"], c.binaries["triglot"] = *etcd, *triglot
	return c, nil
}

// cells are the points to measure: the kinds one after the other.
func (c *config) cells() []cell {
	var cells []cell
	for _, kind := range c.kinds {
		for _, clients := range c.clients {
			cells = append(cells, cell{Op: operation(kind), Clients: clients, Ops: opsOf(c.ops, clients)})
		}
	}
	return cells
}

// opsOf scales the operations of a cell to what few clients can do in a similar
// time.
func opsOf(ops, clients int) int {
	return min(ops, max(ops/20, ops*clients/100, 1))
}

// run starts the servers, measures and reports. It ends every server it started.
func run(ctx context.Context, c *config) (err error) {
	if c.profileDir != "" {
		if err := os.MkdirAll(c.profileDir, 0o755); err != nil {
			return err
		}
	}
	servers, stop, err := startAll(ctx, c)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = s.name
	}
	cells := c.cells()
	if err := warmUp(ctx, servers, cells); err != nil {
		return err
	}
	r := newReport(map[string]string{
		"servers": strings.Join(names, ","), "pairs": strconv.Itoa(c.rounds), "conns": strconv.Itoa(c.conns),
		"keys": strconv.Itoa(c.keys), "bytes": strconv.Itoa(c.bytes),
	})
	for round := range c.rounds {
		for _, point := range cells {
			for _, s := range order(servers, round) {
				measured, err := measure(ctx, s, point, round)
				if err != nil {
					return err
				}
				r.Samples = append(r.Samples, measured)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d done\n", round+1, c.rounds)
	}
	r.compare(names, cells)
	if err := r.print(os.Stdout, names, cells); err != nil {
		return err
	}
	if c.jsonPath != "" {
		if err := r.write(c.jsonPath); err != nil {
			return err
		}
	}
	if c.profileDir != "" {
		return profileAll(ctx, servers, cells, c.profileDir)
	}
	return nil
}

// warmUp fills every server and runs every cell once, unmeasured.
func warmUp(ctx context.Context, servers []*target, cells []cell) error {
	for _, s := range servers {
		if err := s.loader.fill(ctx); err != nil {
			return fmt.Errorf("%s: fill: %w", s.name, err)
		}
		for _, point := range cells {
			if _, err := measure(ctx, s, point, -1); err != nil {
				return err
			}
		}
	}
	return nil
}

// profileAll loads every server once more, with the most clients of each kind,
// under perf.
func profileAll(ctx context.Context, servers []*target, cells []cell, dir string) error {
	last := map[operation]cell{}
	for _, point := range cells {
		if point.Clients >= last[point.Op].Clients {
			last[point.Op] = point
		}
	}
	for _, s := range servers {
		for _, point := range last {
			base := filepath.Join(dir, s.name+"-"+string(point.Op))
			if err := profile(ctx, s, point, base); err != nil {
				return err
			}
		}
	}
	return nil
}
