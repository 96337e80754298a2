package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/triglot/triglot/compat-tests/bench/heavy/heavybars"
)

// page is docs/benchmarks.md.
type page struct {
	cells   []cell
	bars    []bar
	records map[string]*record
	// notes are the hand-written sections on cells, by name.
	notes map[string]string
	// heavy is what bench/heavy reported, empty if it has not run.
	heavy string

	text strings.Builder
}

// heavyNotes is the section of the notes about the report on big stores.
const heavyNotes = "heavy"

// readNotes splits a file of notes into the sections that begin with "## CELL".
func readNotes(text string) map[string]string {
	notes := map[string]string{}
	var name string
	for line := range strings.Lines(text) {
		if header, found := strings.CutPrefix(line, "## "); found {
			name = strings.TrimSpace(header)
			continue
		}
		if name != "" {
			notes[name] += line
		}
	}
	return notes
}

// strangers are the sections of the notes that are about no cell.
func strangers(notes map[string]string, cells []cell) []string {
	var list []string
	for name := range notes {
		if name != heavyNotes && !slices.ContainsFunc(cells, func(c cell) bool { return c.Name == name }) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// write returns the page.
func (p *page) write() string {
	p.line("# Benchmarks")
	p.line("")
	p.line("Written by `make bench`; do not edit. Why a bar is missed is in `compat-tests/bench/notes.md`, and how all this is measured in `compat-tests/bench/README.md`.")
	p.line("")
	if len(p.records) == 0 {
		p.line("Not measured yet.")
	} else {
		p.measured()
	}
	p.large()
	return p.text.String()
}

// measured is all that comes from the records.
func (p *page) measured() {
	p.head()
	verdicts := judgeAll(p.bars, p.records)
	p.verdicts(verdicts)
	p.missed(verdicts)
	for _, part := range []struct{ title, prefix string }{
		{"etcd's protocol, beside etcd", "etcd/"},
		{"ZooKeeper's protocol, beside ZooKeeper", "zookeeper/"},
		{"etcd's JSON gateway, beside etcd", "http/"},
		{"Three members on one machine", "three/"},
	} {
		p.part(part.title, part.prefix)
	}
	p.floors()
}

// large is the report on big stores, as it is, with the notes on it. Without one its bars are
// there all the same: not measured.
func (p *page) large() {
	p.line("")
	p.line("## Millions of keys")
	p.line("")
	if p.heavy == "" {
		p.line("Not measured yet, by `make bench-heavy`.")
		p.line("")
		p.line("%s", strings.TrimSpace(heavybars.Table(nil)))
		return
	}
	p.line("By `make bench-heavy`, on the same machine.")
	p.line("")
	p.line("%s", strings.TrimSpace(p.heavy))
	if text := strings.TrimSpace(p.notes[heavyNotes]); text != "" {
		p.line("")
		p.line("%s", text)
	}
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format+"\n", args...)
}

// head says what was measured, on what, and how to read it.
func (p *page) head() {
	var first, last *record
	fewest, most := 0, 0
	for _, r := range p.records {
		if first == nil || r.Ended.Before(first.Ended) {
			first = r
		}
		if last == nil || r.Ended.After(last.Ended) {
			last = r
		}
		if n := len(r.Pairs); fewest == 0 || n < fewest {
			fewest = n
		}
		most = max(most, len(r.Pairs))
	}
	pairs := fmt.Sprintf("%d", fewest)
	if most > fewest {
		pairs = fmt.Sprintf("%d to %d", fewest, most)
	}
	p.line("%s, in %s interleaved pairs a cell. %s.", last.Machine.peers(), pairs, last.Machine)
	p.line("Measured from %s to %s; servers and clients on one machine, over loopback, by `triglot bench`; values of %d bytes; every write synced before its answer.",
		first.Ended.UTC().Format(time.DateTime), last.Ended.UTC().Format(time.DateTime), valueBytes)
	p.line("")
	p.line("Ratios are Triglot's figure divided by the peer's in the same pair: the median, and the least and the greatest in brackets. Of CPU and latency less is better, of throughput more. " +
		"**Bold** is what Triglot loses. CPU is user and system time of the server's processes, per operation or, of watches, per delivered event. " +
		"It is what was used while the load ran and, put off, from then until the server was quiet: ratios, and the bars of CPU, are of both. " +
		"The table shows the first as the median and the second, which falls into few of the pairs, on average. CPU time is counted in ticks of 10 ms: \"<1 tick\" is a run that took less.")
	p.line("")
}

func (p *page) verdicts(verdicts []verdict) {
	p.line("## The bars")
	p.line("")
	p.line("Those of issue 7. Where it names no number of clients, it is 1000.")
	p.line("")
	p.line("| work | cell | what | bar | measured | |")
	p.line("|---|---|---|---|---|---|")
	for _, v := range verdicts {
		p.line("| %s | %s | %s | %s | %s | %s |", v.Source, strings.Join(v.Cells, ", "), v.Figure, v.limit(), v.measured(), v.mark())
	}
	p.line("")
}

func (b bar) limit() string {
	text := "at most "
	if b.Least {
		text = "at least "
	}
	text += fmt.Sprintf("%g", b.Limit)
	if b.In > 0 {
		text += fmt.Sprintf(", in %d", b.In)
	}
	return text
}

func (b bar) digits() int {
	if b.Figure == belowTransport {
		return 1
	}
	return 2
}

func (v verdict) measured() string {
	var list []string
	for _, name := range v.Cells {
		if s, found := v.Measured[name]; found {
			list = append(list, s.format(v.digits()))
		}
	}
	return strings.Join(list, ", ")
}

func (v verdict) mark() string {
	if v.State == missed {
		return "**" + string(missed) + "**"
	}
	return string(v.State)
}

// missed is what the notes say of the cells whose bars are missed.
func (p *page) missed(verdicts []verdict) {
	var names []string
	for _, v := range verdicts {
		if v.State != missed {
			continue
		}
		for _, name := range v.Cells {
			s, measured := v.Measured[name]
			if measured && !v.within(s.Median) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return
	}
	p.line("## Why a bar is missed")
	p.line("")
	for _, name := range names {
		p.line("### %s", name)
		p.line("")
		text := strings.TrimSpace(p.notes[name])
		if text == "" {
			text = "Nobody has looked into it yet."
		}
		p.line("%s", text)
		p.line("")
	}
}

// part is a table of cells.
func (p *page) part(title, prefix string) {
	p.line("## %s", title)
	p.line("")
	p.line("| cell | CPU, of the peer's | of all pairs together | ops/s, of the peer's | p50, of the peer's | p99, of the peer's | CPU us/op + put off | ops/s | p99 ms | writes/sync | RSS MiB | foreign |")
	p.line("|---|---|---|---|---|---|---|---|---|---|---|---|")
	var notes []string
	for _, c := range p.cells {
		if !strings.HasPrefix(c.Name, prefix) {
			continue
		}
		r := p.records[c.Name]
		if r == nil {
			p.line("| %s | not measured | | | | | | | | | | |", c.Name)
			continue
		}
		p.line("%s", r.row())
		notes = append(notes, r.notes()...)
	}
	p.line("")
	for _, note := range notes {
		p.line("- %s", note)
	}
	if len(notes) > 0 {
		p.line("")
	}
}

// notes are what the tool did otherwise than it was asked to, each once.
func (r *record) notes() []string {
	var notes []string
	for _, one := range r.Pairs {
		for _, role := range slices.Sorted(maps.Keys(one.Samples)) {
			for _, note := range one.Samples[role].Notes {
				if text := fmt.Sprintf("%s on %s: %s", r.Cell, role, note); !slices.Contains(notes, text) {
					notes = append(notes, text)
				}
			}
		}
	}
	return notes
}

// row is a record's line of a table; of two figures the first is Triglot's.
func (r *record) row() string {
	shown := func(f figure) string {
		s, measured := f.of(r)
		if !measured {
			return ""
		}
		if loses := s.Median > 1; loses != (f == rateRatio) && s.Median != 1 {
			return "**" + s.format(2) + "**"
		}
		return s.format(2)
	}
	both := func(format string, f func(sample) float64) string {
		return fmt.Sprintf(format+" / "+format, r.median(roleTriglot, f), r.median(r.Peer, f))
	}
	perSync := ""
	if r.Cell.writes() {
		perSync = both("%.1f", func(s sample) float64 { return s.PerSync })
	}
	return fmt.Sprintf("| %s (%s) | %s | %.2f | %s | %s | %s | %s / %s | %s | %s | %s | %s | %s |", r.Cell.Name, r.Cell.describe(),
		shown(cpuRatio), r.pooledCPU(roleTriglot, r.Peer), shown(rateRatio), shown(p50Ratio), shown(p99Ratio),
		r.cpu(roleTriglot), r.cpu(r.Peer), both("%.0f", func(s sample) float64 { return s.Rate }),
		both("%.2f", func(s sample) float64 { return s.P99 / 1000 }), perSync, both("%.0f", func(s sample) float64 { return s.RSS }), r.foreign())
}

// cpu is what a server took while the load ran, and what it put off.
func (r *record) cpu(role string) string {
	text := fmt.Sprintf("%.1f", r.median(role, func(s sample) float64 { return s.CPU }))
	if r.median(role, func(s sample) float64 { return s.CPU }) == 0 {
		text = "<1 tick"
	}
	return text + fmt.Sprintf(" + %.1f", r.mean(role, func(s sample) float64 { return s.Later }))
}

// foreign is how busy others kept the machine, and in how many pairs too busy.
func (r *record) foreign() string {
	var shares []float64
	busy := 0
	for _, pair := range r.Pairs {
		shares = append(shares, pair.foreign())
		if pair.Busy {
			busy++
		}
	}
	text := fmt.Sprintf("%.0f %%", 100*spreadOf(shares).Median)
	if busy > 0 {
		text += fmt.Sprintf(" (%d of %d pairs too busy)", busy, len(r.Pairs))
	}
	return text
}

// floors is the table of the null servers.
func (p *page) floors() {
	p.line("## Below the transport")
	p.line("")
	p.line("A null server speaks the protocol before a map, keeps nothing on disk, and has for etcd's protocol grpc-go with the options that Triglot sets. " +
		"Like Triglot it is compiled by its profile and collects garbage rarely, but it has grpc-go's own codec, which Triglot has not: " +
		"what Triglot takes above it is the store's, less what its own coding of messages spares; where that is more, the figure is below zero.")
	p.line("")
	p.line("| cell | Triglot above the null server, us of CPU per operation | Triglot us/op, with what was put off | null server us/op | null server's CPU, of the peer's |")
	p.line("|---|---|---|---|---|")
	for _, c := range p.cells {
		r := p.records[c.Name]
		if c.Null == "" || r == nil {
			continue
		}
		above, _ := belowTransport.of(r)
		floor, _ := r.paired(c.Null, r.Peer, cpuRatio.compare)
		p.line("| %s | %s | %.1f | %.1f | %s |", c.Name, above.format(1), r.median(roleTriglot, sample.spent), r.median(c.Null, sample.spent), floor.format(2))
	}
}
