package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
	"github.com/triglot/triglot/compat-tests/zkserver"
)

// config is the command line.
type config struct {
	only    string
	pairs   int
	tries   int
	scale   float64
	again   bool
	list    bool
	short   bool
	page    bool
	out     string
	dir     string
	triglot string
	against string
	client  string
	profile string
	pgo     string
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fail(run(ctx, c))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string, usage io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&c.only, "only", "", "measure the cells whose names match this expression; all if empty")
	flags.IntVar(&c.pairs, "pairs", 7, "pairs of a cell; each measures every server once")
	flags.IntVar(&c.tries, "tries", maxTries, "how often a pair is measured if others keep the machine busy")
	flags.Float64Var(&c.scale, "scale", 1, "how much of each cell's keys and operations: 0.01 shows that it runs at all")
	flags.BoolVar(&c.again, "again", false, "measure what is finished once more")
	flags.BoolVar(&c.list, "list", false, "list the cells, what is kept of them and the forecast, and measure nothing")
	flags.BoolVar(&c.short, "short", false, "the guard against regressions: five cells in under three minutes")
	flags.BoolVar(&c.page, "page", false, "write the page from what is kept, and measure nothing")
	flags.StringVar(&c.out, "out", "", "the page; docs/benchmarks.md if empty, - for none")
	flags.StringVar(&c.dir, "dir", "", "where results and data directories are; .build/bench if empty; choose a real disk")
	flags.StringVar(&c.triglot, "triglot", "", "path of the triglot binary (built from this tree if empty)")
	flags.StringVar(&c.against, "against", "", "measure beside this build of triglot instead of the stock servers, and write no page")
	flags.StringVar(&c.client, "client", "", "path of the triglot binary that makes the load; -triglot's if empty")
	flags.StringVar(&c.profile, "profile", "", "record CPU profiles of the cells' servers with perf into this directory, and measure nothing")
	flags.StringVar(&c.pgo, "pgo", "", "write a CPU profile for the compiler to this file, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if c.pairs < 1 || c.tries < 1 || c.scale <= 0 || c.scale > 1 || flags.NArg() > 0 {
		return nil, errors.New("-pairs and -tries must be positive, -scale above 0 and at most 1, and nothing follows the flags")
	}
	return c, nil
}

// run does what the command line asks for.
func run(ctx context.Context, c *config) (err error) {
	root, err := server.Root()
	if err != nil {
		return err
	}
	c.dir = cmp.Or(c.dir, filepath.Join(root, ".build", "bench"))
	if c.dir, err = filepath.Abs(c.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	chosen, err := c.cells()
	if err != nil {
		return err
	}
	rig, err := c.rig(ctx, root)
	if err != nil {
		return err
	}
	r := c.runner(rig, root)
	switch {
	case c.list:
		return listCells(os.Stdout, r, chosen)
	case c.page:
		return c.writePage(r, root)
	}
	unlock, err := server.LockFile(filepath.Join(c.dir, "lock")) // two at once measure each other
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	switch {
	case c.short:
		return runShort(ctx, r, os.Stdout)
	case c.profile != "":
		return profileAll(ctx, r, chosen, c.profile)
	case c.pgo != "":
		return recordPGO(ctx, rig, c.pgo, os.Stderr)
	}
	return c.measure(ctx, r, rig, chosen, root)
}

func (c *config) cells() ([]cell, error) {
	chosen, err := pick(cells, c.only)
	for i := range chosen {
		chosen[i] = chosen[i].scaled(c.scale)
	}
	return chosen, err
}

// rig finds or builds the binaries.
func (c *config) rig(ctx context.Context, root string) (*rig, error) {
	binaries := map[string]string{roleTriglot: c.triglot, roleAgainst: c.against}
	if c.triglot == "" {
		var err error
		if binaries[roleTriglot], err = buildTriglot(ctx, root, c.dir); err != nil {
			return nil, err
		}
	}
	ids := identity{Peers: map[string]string{roleZooKeeper: zkserver.Version}}
	etcd, err := server.Binary(string(server.Etcd))
	if err != nil {
		return nil, err
	}
	binaries[roleEtcd] = etcd
	for role, path := range binaries {
		if path == "" {
			continue
		}
		if binaries[role], err = filepath.Abs(path); err != nil {
			return nil, err
		}
		if ids.Peers[role], err = hashOf(path); err != nil {
			return nil, err
		}
	}
	ids.Triglot = ids.Peers[roleTriglot]
	client := cmp.Or(c.client, binaries[roleTriglot])
	if c.client != "" {
		if ids.Client, err = hashOf(c.client); err != nil {
			return nil, err
		}
	}
	r := &rig{
		starter: starter{binaries: binaries}, tool: tool{binary: client, prefix: []string{"bench"}},
		larder: larder{dir: filepath.Join(c.dir, "filled")}, ids: ids, dir: c.dir,
	}
	return r, r.larder.prune(ids.Triglot, cmp.Or(ids.Peers[roleAgainst], ids.Triglot))
}

// buildTriglot builds the binary as make does, but with symbols, for profiles, and without
// what changes with every commit: a page or a note that is committed is to make nothing old.
func buildTriglot(ctx context.Context, root, dir string) (string, error) {
	path := filepath.Join(dir, "triglot")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/triglot")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/triglot: %w\n%s", err, out)
	}
	return path, nil
}

func (c *config) runner(rig *rig, root string) *runner {
	r := &runner{
		open: rig.open, store: store{dir: filepath.Join(c.dir, "results")}, ids: rig.ids, pairs: c.pairs, tries: c.tries,
		again: c.again, machine: thisMachine(root), log: os.Stderr, now: time.Now,
	}
	if c.against != "" {
		r.against = roleAgainst
	}
	return r
}

// measure measures the chosen cells and writes the page.
func (c *config) measure(ctx context.Context, r *runner, rig *rig, chosen []cell, root string) error {
	forecast, err := r.forecast(chosen)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.log, "%d cells, about %s on a quiet machine; stopped, it goes on with the next cell\n", len(chosen), forecast.Round(time.Minute))
	records, err := r.run(ctx, chosen)
	printRecords(os.Stdout, chosen, records)
	if c.against == "" && c.scale == 1 {
		err = errors.Join(err, c.writePage(r, root))
	}
	return errors.Join(err, rig.sweep())
}

// writePage writes the page from all that is kept of this build of Triglot.
func (c *config) writePage(r *runner, root string) error {
	path := cmp.Or(c.out, filepath.Join(root, "docs", "benchmarks.md"))
	if path == "-" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(root, "compat-tests", "bench", "notes.md"))
	if err != nil {
		return err
	}
	heavy, err := os.ReadFile(filepath.Join(c.dir, "heavy", "heavy.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p := page{cells: cells, bars: bars, records: map[string]*record{}, notes: readNotes(string(text)), heavy: string(heavy)}
	if unknown := strangers(p.notes, cells); len(unknown) > 0 {
		return fmt.Errorf("notes.md: no cell is called %q", unknown)
	}
	r.pairs = 1 // the page says how many there are
	for _, one := range cells {
		found, err := r.finished(one)
		if err != nil {
			return err
		}
		if found != nil {
			p.records[one.Name] = found
		}
	}
	return os.WriteFile(path, []byte(p.write()), 0o644)
}

// listCells prints the cells, and what is kept of them.
func listCells(w io.Writer, r *runner, chosen []cell) error {
	for _, one := range chosen {
		kept, err := r.finished(one)
		if err != nil {
			return err
		}
		text := "about " + one.forecast(r.pairs, r.roles(one)).String()
		if kept != nil {
			text = "kept from " + kept.Ended.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%-28s %-52s %s\n", one, one.describe(), text)
	}
	forecast, err := r.forecast(chosen)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d cells, about %s to go\n", len(chosen), forecast.Round(time.Minute))
	return nil
}

// printRecords prints what was measured, in short.
func printRecords(w io.Writer, chosen []cell, records map[string]*record) {
	for _, one := range chosen {
		r := records[one.Name]
		if r == nil {
			fmt.Fprintf(w, "%-28s not measured\n", one)
			continue
		}
		shown := func(f figure) string { s, _ := f.of(r); return s.format(2) }
		fmt.Fprintf(w, "%-28s CPU %s  ops/s %s  p99 %s\n", one, shown(cpuRatio), shown(rateRatio), shown(p99Ratio))
	}
}

// sweep removes the data of runs that were killed.
func (r *rig) sweep() error {
	left, err := filepath.Glob(filepath.Join(r.dir, "run-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}
