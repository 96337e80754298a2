package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// config is the flags.
type config struct {
	faces  []face
	only   string
	faults string
	rounds int
	pause  time.Duration
	mib    int
	keys   int
	phase  time.Duration
	dir    string
	filled string
	logs   string
	out    string
	extra  string
	kept   *kept
}

// face is a server and the protocol of its clients.
type face struct {
	kind ensemble.Kind
	zk   bool
}

func (f face) String() string {
	switch {
	case f.kind == ensemble.Triglot && f.zk:
		return "Triglot, ZooKeeper's clients"
	case f.kind == ensemble.Triglot:
		return "Triglot, etcd's clients"
	case f.zk:
		return "ZooKeeper 3.9"
	default:
		return "etcd 3.7"
	}
}

// server is the name of a server whoever its clients are.
func (f face) server() string {
	if f.kind == ensemble.Triglot {
		return "Triglot"
	}
	return f.String()
}

var faces = map[string]face{
	"etcd": {ensemble.Etcd, false}, "zookeeper": {ensemble.ZooKeeper, true},
	"triglot": {ensemble.Triglot, false}, "triglot-zk": {ensemble.Triglot, true},
}

func parse() (*config, error) {
	c := &config{}
	names := flag.String("servers", "etcd,triglot,zookeeper,triglot-zk", "what to measure: etcd, zookeeper, triglot (etcd's clients), triglot-zk")
	flag.StringVar(&c.only, "only", "gaps,catchup,start", "which figures: these, and observers; fill only fills what -filled keeps")
	flag.StringVar(&c.faults, "faults", "", "words of the names of the faults to measure; empty is all")
	flag.IntVar(&c.rounds, "rounds", 3, "how often each is measured: the servers take turns, round by round")
	flag.DurationVar(&c.pause, "pause", 30*time.Second, "how long a process is stopped")
	flag.IntVar(&c.mib, "mib", 64, "what a new member has to catch up with, in MiB")
	flag.IntVar(&c.keys, "keys", 100_000, "keys of a cluster that starts")
	flag.DurationVar(&c.phase, "phase", 10*time.Second, "how long each of the observers' figures is measured")
	flag.StringVar(&c.dir, "dir", "", "where the data goes; empty is the temporary directory")
	flag.StringVar(&c.filled, "filled", "", "where the clusters of -only start are kept, filled, for a later run; empty fills each for its round")
	flag.StringVar(&c.logs, "logs", "", "where the servers' logs are kept; empty is nowhere")
	flag.StringVar(&c.out, "out", "", "file of the table; empty is the standard output")
	flag.StringVar(&c.extra, "args", "", "further flags of etcd and Triglot")
	keep := flag.String("keep", "", "file of what is measured: a run that was cut short goes on from there; empty is none")
	flag.Parse()
	for name := range strings.SplitSeq(*names, ",") {
		f, known := faces[name]
		if !known {
			return nil, fmt.Errorf("-servers: %q is unknown", name)
		}
		c.faces = append(c.faces, f)
	}
	var err error
	c.kept, err = openKept(*keep)
	return c, err
}

func main() {
	log.SetFlags(log.Ltime)
	c, err := parse()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, c)
		stop()
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, c *config) (err error) {
	defer func() { err = errors.Join(err, c.kept.close()) }()
	var out io.Writer = os.Stdout
	if c.out != "" {
		file, errFile := os.Create(c.out)
		if errFile != nil {
			return errFile
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	about, err := c.about(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, about+"\n")
	errs := []error{err}
	if strings.Contains(c.only, "fill") {
		errs = append(errs, c.fillAll(ctx, starts(c)))
	}
	for _, p := range []part{gaps(c), catchUps(c), starts(c)} {
		if !strings.Contains(c.only, p.name) {
			continue
		}
		errs = append(errs, c.measure(ctx, p), c.tableOf(p).write(out))
	}
	if strings.Contains(c.only, "observers") {
		t, err := observers(ctx, c)
		errs = append(errs, err, t.write(out))
	}
	return errors.Join(errs...)
}

// table is a table in Markdown: a row for each thing measured, a column for each server.
type table struct {
	title   string
	columns []string
	rows    []string
	cells   map[[2]string]string
}

func newTable(title string) *table { return &table{title: title, cells: map[[2]string]string{}} }

func (t *table) set(row, column, text string) {
	if t.cells[[2]string{row, column}] == "" {
		t.rows, t.columns = appendNew(t.rows, row), appendNew(t.columns, column)
	}
	t.cells[[2]string{row, column}] = text
}

func appendNew(list []string, text string) []string {
	for _, have := range list {
		if have == text {
			return list
		}
	}
	return append(list, text)
}

func (t *table) write(out io.Writer) error {
	text := fmt.Sprintf("%s\n\n| |%s |\n|---|%s\n", t.title, joined(t.columns), strings.Repeat("---|", len(t.columns)))
	for _, row := range t.rows {
		var cells []string
		for _, column := range t.columns {
			cells = append(cells, t.cells[[2]string{row, column}])
		}
		text += fmt.Sprintf("| %s |%s |\n", row, joined(cells))
	}
	_, err := io.WriteString(out, text+"\n")
	return err
}

func joined(cells []string) string { return " " + strings.Join(cells, " | ") }
