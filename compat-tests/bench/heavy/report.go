package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/triglot/triglot/compat-tests/bench/heavy/heavybars"
	"github.com/triglot/triglot/compat-tests/server"
)

// leastRuns is how many stall runs a bar takes: the p99 of one is as often twice another's.
const leastRuns = 3

// found is a bar and what was measured, for other programs.
type found struct {
	Bar     string            `json:"bar"`
	Limit   float64           `json:"limit"`
	Verdict string            `json:"verdict"`
	Value   *heavybars.Spread `json:"value,omitempty"`
}

// report is what is kept of the present builds: what another has left is not measured.
type report struct {
	memories []*memory
	stalls   []*stallRuns
}

// stallRuns are the runs of one server.
type stallRuns struct{ runs []*stall }

// writeReport writes heavy.md and found.json about what has been measured.
func writeReport(c *config) error {
	r, err := c.report()
	if err != nil {
		return err
	}
	measured := r.measured()
	text := fmt.Sprintf("%v beside %v.\n\n", c.builds[server.Triglot], c.builds[server.Etcd]) +
		memoryTable(r.memories) + stallTable(r.stalls) + r.borrowed() + heavybars.Table(measured)
	if err := writeWhole(filepath.Join(c.out, "heavy.md"), []byte(text)); err != nil {
		return err
	}
	fmt.Print(text)
	var all []found
	for _, b := range heavybars.All() {
		one := found{Bar: b.Name, Limit: b.Limit}
		var s heavybars.Spread
		if s, one.Verdict = b.Judge(measured); one.Verdict != heavybars.Unmeasured {
			one.Value = &s
		}
		all = append(all, one)
	}
	return writeJSON(filepath.Join(c.out, "found.json"), all)
}

// reported are the stores that the report is about: those of the bars, and what else was
// asked for. So a run of a part of it does not make the others vanish.
func (c *config) reported() (stores, stalls []storeKind) {
	stores, stalls = slices.Clone(c.stores), slices.Clone(c.stallServers)
	for _, name := range faceOrder {
		for _, keys := range heavybars.Keys {
			stores = append(stores, storeKind{face: faceByName[name], keys: keys})
		}
		if f := faceByName[name]; !f.znodes {
			stalls = append(stalls, storeKind{face: f, keys: heavybars.Keys[0], revisions: heavybars.Revisions})
		}
	}
	return ordered(stores), ordered(stalls)
}

var faceOrder = []string{"triglot", "znodes", "etcd"}

// ordered sorts stores for the report, and leaves each once.
func ordered(stores []storeKind) []storeKind {
	place := func(s storeKind) int { return slices.Index(faceOrder, s.name) }
	slices.SortFunc(stores, func(a, b storeKind) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.keys, b.keys), cmp.Compare(a.revisions, b.revisions))
	})
	return slices.CompactFunc(stores, func(a, b storeKind) bool { return a.String() == b.String() })
}

// report reads what is kept.
func (c *config) report() (*report, error) {
	r := &report{}
	stores, stalls := c.reported()
	for _, s := range stores {
		m, err := kept(c.out, memoryName(s), func(m *memory) bool { return c.currentMemory(s, m) })
		if err != nil {
			return nil, err
		}
		if m != nil {
			r.memories = append(r.memories, m)
		}
	}
	for _, s := range stalls {
		puts, err := c.keptRate(s)
		if err != nil {
			return nil, err
		}
		of := &stallRuns{}
		for run := 1; run <= max(c.runs, leastRuns); run++ {
			one, err := kept(c.out, stallName(s, run), func(one *stall) bool { return c.currentStall(s, puts, one) })
			if err != nil {
				return nil, err
			}
			if one != nil {
				of.runs = append(of.runs, one)
			}
		}
		if len(of.runs) > 0 {
			r.stalls = append(r.stalls, of)
		}
	}
	return r, nil
}

// measured are the figures of the bars by their names, and of other stores.
func (r *report) measured() map[string]heavybars.Spread {
	figures := map[string]heavybars.Spread{}
	at := map[string]*memory{}
	for _, m := range r.memories {
		at[m.Store] = m
	}
	for _, m := range r.memories {
		figures[heavybars.Resident(m.Store)] = heavybars.SpreadOf(mib(m.most()))
		for what, took := range m.Starts {
			figures[heavybars.Start(m.Store, what)] = heavybars.SpreadOf(took)
		}
		if tenth := at[heavybars.Store(m.Face, m.Keys/10, 0)]; tenth != nil {
			figures[heavybars.Growth(m.Store)] = heavybars.SpreadOf(float64(m.LoadedRSS) / float64(tenth.LoadedRSS))
		}
		if etcd := at[heavybars.Store("etcd", m.Keys, 0)]; etcd != nil {
			figures[heavybars.Disk(m.Store)] = heavybars.SpreadOf(float64(m.Filled.DiskBytes) / float64(etcd.Filled.DiskBytes))
		}
	}
	for _, of := range r.stalls {
		of.figures(figures)
	}
	return figures
}

// figures adds those of the stalls, if there are enough runs. Of memory the most of all counts,
// of latencies the median.
func (of *stallRuns) figures(into map[string]heavybars.Spread) {
	if len(of.runs) < leastRuns {
		return
	}
	store := of.runs[0].Store
	most := of.each(func(s *stall) (float64, bool) { return mib(s.most()), true })
	into[heavybars.Resident(store)] = heavybars.SpreadOf(slices.Max(most))
	for _, name := range []string{compaction, downloading} {
		if ratios := of.each(func(s *stall) (float64, bool) { return s.toQuiet(name) }); len(ratios) >= leastRuns {
			into[heavybars.Stall(store, name)] = heavybars.SpreadOf(ratios...)
		}
	}
}

// each is a figure of all runs that have it.
func (of *stallRuns) each(figure func(s *stall) (float64, bool)) (values []float64) {
	for _, s := range of.runs {
		if v, measured := figure(s); measured {
			values = append(values, v)
		}
	}
	return values
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// borrowed says what was filled by another build.
func (r *report) borrowed() string {
	var lines []string
	say := func(store string, measured, filled origin) {
		line := fmt.Sprintf("- %s was filled by another build, %s: what its filling took, and what is on the disk, is that one's.\n", store, filled.Build)
		if measured.Build != filled.Build && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for _, m := range r.memories {
		say(m.Store, m.origin, m.Filled.origin)
	}
	for _, of := range r.stalls {
		for _, s := range of.runs {
			say(s.Store, s.origin, s.Filled.origin)
		}
	}
	if len(lines) > 0 {
		lines = append(lines, "\n")
	}
	return strings.Join(lines, "")
}

func memoryTable(all []*memory) string {
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("### Memory, disk, starts\n\n" +
		"Keys of 16 bytes with 256 random bytes, or znodes with as much data, written once in a scattered order: two stores of their own, not one that holds both.\n" +
		"Memory is resident memory: the most while it was filled, after the start, the most under puts of random keys at half of what the server takes, and quiet again.\n" +
		"A start is from the process to its first linearizable answer.\n\n" +
		"| store | keys | on disk | filling | idle | under puts | after | puts/s | p99 | start after a stop | kill -9 | stop, cold | kill -9, cold |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, m := range all {
		fmt.Fprintf(&b, "| %s | %d | %.0f MiB | %.0f MiB | %.0f MiB | %.0f MiB | %.0f MiB | %.0f | %.1f ms |", m.Face, m.Keys,
			mib(m.Filled.DiskBytes), mib(m.Filled.PeakRSS), mib(m.IdleRSS), mib(m.LoadedRSS), mib(m.AfterRSS), m.Rate, m.Puts.P99/1000)
		for _, what := range heavybars.Starts {
			if took, ok := m.Starts[what]; ok {
				fmt.Fprintf(&b, " %.2f s |", took)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.String()
}

func stallTable(all []*stallRuns) string {
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("### Puts beside compaction and a snapshot\n\n" +
		"An open load of puts of random keys, the same for all, at a quarter of what the slowest takes; latency from the intended start. The servers were measured in turn:\n" +
		"of several runs the median is shown, the least and the greatest in brackets; of the longest put and of memory, filling not included, the greatest. Quiet is the median of a run's quiet phases.\n\n" +
		"| server | revisions | runs | puts/s | phase | takes, s | p50, ms | p99, ms | p99.9, ms | longest, ms | p99 to quiet | memory, MiB | processors |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, of := range all {
		for _, name := range phaseNames {
			b.WriteString(of.row(name))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// row is a phase's line of the table.
func (of *stallRuns) row(name string) string {
	spread := func(digits int, figure func(p *phase) float64) string {
		values := of.each(func(s *stall) (float64, bool) {
			p := s.of(name)
			if p == nil {
				return 0, false
			}
			return figure(p), true
		})
		if len(values) == 0 {
			return ""
		}
		return heavybars.SpreadOf(values...).Format(digits)
	}
	ratio := ""
	if name == compaction || name == downloading {
		if ratios := of.each(func(s *stall) (float64, bool) { return s.toQuiet(name) }); len(ratios) > 0 {
			ratio = heavybars.SpreadOf(ratios...).Format(2)
		}
	}
	var longest, memory float64
	for _, s := range of.runs {
		if p := s.of(name); p != nil {
			longest, memory = max(longest, p.Max/1000), max(memory, mib(p.PeakRSS))
		}
	}
	first := of.runs[0]
	return fmt.Sprintf("| %s | %d | %d | %.0f | %s | %s | %s | %s | %s | %.2f | %s | %.0f | %s |\n",
		first.Face, first.Revisions, len(of.runs), first.Rate, name,
		spread(1, func(p *phase) float64 { return p.Seconds }), spread(2, func(p *phase) float64 { return p.P50 / 1000 }),
		spread(2, func(p *phase) float64 { return p.P99 / 1000 }), spread(2, func(p *phase) float64 { return p.P999 / 1000 }),
		longest, ratio, memory, spread(2, func(p *phase) float64 { return p.CPU }))
}
