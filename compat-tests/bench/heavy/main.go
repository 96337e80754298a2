package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

// config is the command line.
type config struct {
	out, filled string
	only        []string
	stores      []storeKind
	// stall
	revisions, stallKeys int
	rate                 float64
	stallServers         []storeKind
	runs                 int
	// load is how long each phase of a steady load lasts.
	load time.Duration
	cold bool
	// triglot is the path of its binary, empty for one of this tree.
	triglot string
	// reuseFills takes what another build of Triglot has filled.
	reuseFills bool

	builds map[server.Target]build
}

var parts = []string{"memory", "stall", "report"}

func main() {
	c, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		debug.SetGCPercent(400) // the client's garbage must not take the server's cores
		err = runAlone(c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "heavy:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string, usage io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("heavy", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&c.out, "out", "../.build/bench/heavy", "where results and the report go")
	flags.StringVar(&c.filled, "filled", "../.build/bench/heavy/filled", "where filled stores are kept")
	only := flags.String("only", "", "memory, stall, report, or several of them; all if empty")
	keys := flags.String("keys", "1000000,10000000", "sizes of the stores, in keys or znodes")
	etcdMost := flags.Int("etcd-most", 10_000_000, "the largest store that etcd is measured with: it takes its time, and several times the disk")
	faces := flags.String("faces", "triglot,etcd,znodes", "stores to measure: Triglot's or etcd's keys, Triglot's znodes; the stall of the first two")
	flags.IntVar(&c.revisions, "revisions", 5_000_000, "revisions to compact")
	flags.IntVar(&c.stallKeys, "stall-keys", 1_000_000, "keys that the revisions are of")
	flags.Float64Var(&c.rate, "rate", 0, "puts a second of the steady load; 0 is a quarter of what the slower server does")
	flags.DurationVar(&c.load, "load", 30*time.Second, "how long the steady load lasts, in each phase that does not end by itself")
	flags.IntVar(&c.runs, "runs", leastRuns, fmt.Sprintf("stall runs of each server, in turn; bars are judged with at least %d", leastRuns))
	flags.StringVar(&c.triglot, "triglot", os.Getenv("TRIGLOT_BIN"), "path of the triglot binary (built from this tree if empty)")
	flags.BoolVar(&c.reuseFills, "reuse-fills", false, "take what another build of Triglot has filled; the report says so")
	flags.BoolVar(&c.cold, "cold", true, "measure starts with nothing of the files in memory as well")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	c.only = parts
	if *only != "" {
		c.only = strings.Split(*only, ",")
	}
	for _, p := range c.only {
		if !slices.Contains(parts, p) {
			return nil, fmt.Errorf("-only: %q is none of %v", p, parts)
		}
	}
	if flags.NArg() > 0 || c.revisions < 1 || c.stallKeys < 1 || c.runs < 1 || !(c.rate >= 0 && c.rate < math.Inf(1)) || c.load <= 0 {
		return nil, errors.New("-revisions, -stall-keys, -runs and -load must be positive, -rate finite and not negative, and nothing follows the flags")
	}
	if c.stallKeys > c.revisions {
		return nil, fmt.Errorf("-stall-keys %d is above -revisions %d: each key is a change", c.stallKeys, c.revisions)
	}
	var err error
	if c.out, err = filepath.Abs(c.out); err != nil {
		return nil, err
	}
	if c.filled, err = filepath.Abs(c.filled); err != nil {
		return nil, err
	}
	if c.triglot != "" {
		if c.triglot, err = filepath.Abs(c.triglot); err != nil {
			return nil, err
		}
	}
	return c, c.choose(*faces, *keys, *etcdMost)
}

// choose says which stores are measured.
func (c *config) choose(faces, keys string, etcdMost int) error {
	for _, text := range strings.Split(keys, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-keys: %q is not a positive number", text)
		}
		for _, name := range strings.Split(faces, ",") {
			f, known := faceByName[name]
			if !known {
				return fmt.Errorf("-faces: %q is not triglot, etcd or znodes", name)
			}
			if name != "etcd" || n <= etcdMost {
				c.stores = append(c.stores, storeKind{face: f, keys: n})
			}
		}
	}
	for _, name := range strings.Split(faces, ",") {
		if f := faceByName[name]; !f.znodes {
			c.stallServers = append(c.stallServers, storeKind{face: f, keys: c.stallKeys, revisions: c.revisions})
		}
	}
	return nil
}

// runAlone runs when no other measurement does: two at once measure each other. The lock is
// that of make bench. While it is waited for, a signal simply ends this process.
func runAlone(c *config) (err error) {
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	unlock, err := server.LockFile(filepath.Join(filepath.Dir(c.out), "lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, c)
}

func run(ctx context.Context, c *config) error {
	for _, dir := range []string{c.out, c.filled} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := c.findBuilds(ctx); err != nil {
		return err
	}
	if slices.Contains(c.only, "memory") {
		if err := measureMemories(ctx, c); err != nil {
			return err
		}
	}
	if slices.Contains(c.only, "stall") {
		if err := measureStalls(ctx, c); err != nil {
			return err
		}
	}
	if slices.Contains(c.only, "report") {
		return writeReport(c)
	}
	return nil
}

func logf(format string, args ...any) { log.Printf(format, args...) }
