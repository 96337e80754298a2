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
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

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
	if c.list || c.page { // beside a bench that runs, these may be asked for
		return c.show(ctx, chosen, root)
	}
	unlock, err := lock(ctx, filepath.Join(c.dir, "lock"), os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	rig, err := c.rig(ctx, root)
	if err != nil {
		return err
	}
	if err := rig.prune(); err != nil {
		return err
	}
	r := c.runner(rig, root)
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

// show shows what is kept, and measures nothing.
func (c *config) show(ctx context.Context, chosen []cell, root string) error {
	rig, err := c.rig(ctx, root)
	if err != nil {
		return err
	}
	r := c.runner(rig, root)
	if c.list {
		return listCells(os.Stdout, r, chosen)
	}
	return c.writePage(r, root)
}

func (c *config) cells() ([]cell, error) {
	chosen, err := pick(cells, c.only)
	for i := range chosen {
		chosen[i] = chosen[i].scaled(c.scale)
	}
	return chosen, err
}

func (c *config) runner(rig *rig, root string) *runner {
	r := &runner{
		open: rig.open, store: store{dir: filepath.Join(c.dir, "results")}, ids: rig.ids, pairs: c.pairs, tries: c.tries,
		again: c.again, machine: c.machine(rig, root), log: os.Stderr, now: time.Now,
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
	if c.pages() {
		err = errors.Join(err, c.writePage(r, root))
	}
	return errors.Join(err, rig.sweep())
}

// writePage writes the page from all that is kept of this build of Triglot.
func (c *config) writePage(r *runner, root string) error {
	path := cmp.Or(c.out, filepath.Join(root, "docs", "benchmarks.md"))
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
	r.pairs = min(c.pairs, pagePairs) // what has more is as good
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
