package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// The bars of issue 7.
const (
	barRSS   = 1 << 30
	barStart = 2.0 // seconds
	barDisk  = 0.5
	barFlat  = 1.25 // of memory from one size to ten times that
	barStall = 1.5
)

// found is a bar and what was measured, for other programs.
type found struct {
	Bar   string  `json:"bar"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Met   bool    `json:"met"`
}

func bar(what string, value, limit float64) found {
	return found{Bar: what, Value: value, Limit: limit, Met: value <= limit}
}

// writeReport writes heavy.md and found.json about what has been measured.
func writeReport(dir string) error {
	memories, err := results[memory](dir, "memory-")
	if err != nil {
		return err
	}
	stalls, err := results[stall](dir, "stall-")
	if err != nil {
		return err
	}
	slices.SortFunc(memories, func(a, b *memory) int {
		return cmp.Or(cmp.Compare(faceOrder(a.Face), faceOrder(b.Face)), cmp.Compare(a.Keys, b.Keys))
	})
	slices.SortFunc(stalls, func(a, b *stall) int { return cmp.Compare(faceOrder(a.Face), faceOrder(b.Face)) })
	all := append(memoryBars(memories), stallBars(stalls)...)
	text := memoryTable(memories) + stallTable(stalls) + barTable(all)
	if err := writeWhole(filepath.Join(dir, "heavy.md"), []byte(text)); err != nil {
		return err
	}
	fmt.Print(text)
	return writeJSON(filepath.Join(dir, "found.json"), all)
}

func faceOrder(name string) int { return slices.Index([]string{"triglot", "znodes", "etcd"}, name) }

func memoryBars(all []*memory) (bars []found) {
	at := map[string]*memory{}
	for _, m := range all {
		at[m.Store] = m
	}
	for _, m := range all {
		if m.Face == "etcd" {
			continue
		}
		bars = append(bars, bar(m.Store+": resident memory, MiB", mib(max(m.IdleRSS, m.LoadedRSS)), mib(barRSS)))
		if tenth := at[fmt.Sprintf("%s-%d", m.Face, m.Keys/10)]; tenth != nil {
			bars = append(bars, bar(m.Store+": resident memory to that of a tenth of the keys",
				float64(m.LoadedRSS)/float64(tenth.LoadedRSS), barFlat))
		}
		for _, name := range startNames {
			if took, ok := m.Starts[name]; ok {
				bars = append(bars, bar(m.Store+": start "+name+", s", took, barStart))
			}
		}
		if etcd := at[fmt.Sprintf("etcd-%d", m.Keys)]; etcd != nil && m.Face == "triglot" {
			bars = append(bars, bar(m.Store+": disk to etcd's", float64(m.Filled.DiskBytes)/float64(etcd.Filled.DiskBytes), barDisk))
		}
	}
	return bars
}

func stallBars(all []*stall) (bars []found) {
	for _, s := range all {
		if s.Face == "etcd" {
			continue
		}
		bars = append(bars,
			bar(s.Store+": p99 of puts during compaction to quiet", s.toQuiet(compaction), barStall),
			bar(s.Store+": p99 of puts during a snapshot download to quiet", s.toQuiet(downloading), barStall))
	}
	return bars
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func memoryTable(all []*memory) string {
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("### Memory, disk, starts\n\n" +
		"Keys of 16 bytes with 256 random bytes, or znodes with as much data, written once in a scattered order. Memory is resident memory: after the start, the most under\n" +
		"puts of random keys at half of what the server takes, and quiet again. A start is from the process to its first linearizable answer.\n\n" +
		"| store | keys | on disk | idle | under puts | after | puts/s | p99 | start after a stop | kill -9 | stop, cold | kill -9, cold |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, m := range all {
		fmt.Fprintf(&b, "| %s | %d | %.0f MiB | %.0f MiB | %.0f MiB | %.0f MiB | %.0f | %.1f ms |", m.Face, m.Keys,
			mib(m.Filled.DiskBytes), mib(m.IdleRSS), mib(m.LoadedRSS), mib(m.AfterRSS), m.Rate, m.Puts.P99/1000)
		for _, name := range startNames {
			if took, ok := m.Starts[name]; ok {
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

func stallTable(all []*stall) string {
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("### Puts beside compaction and a snapshot\n\n" +
		"An open load of puts of random keys, the same for all, at a quarter of what the slowest takes; latency from the intended start. Quiet is the median of the quiet phases.\n\n" +
		"| server | revisions | puts/s | phase | takes | p50 | p99 | p99.9 | longest | p99 to quiet | memory | processors |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range all {
		for _, p := range s.Phases {
			ratio := ""
			if !p.quiet() {
				ratio = fmt.Sprintf("%.2f", s.toQuiet(p.Name))
			}
			fmt.Fprintf(&b, "| %s | %d | %.0f | %s | %.1f s | %.2f ms | %.2f ms | %.2f ms | %.2f ms | %s | %.0f MiB | %.2f |\n", s.Face, s.Revisions, s.Rate,
				p.Name, p.Seconds, p.P50/1000, p.P99/1000, p.P999/1000, p.Max/1000, ratio, mib(p.PeakRSS), p.CPU)
		}
	}
	b.WriteString("\n")
	return b.String()
}

func barTable(all []found) string {
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("| bar | measured | limit | |\n|---|---|---|---|\n")
	for _, f := range all {
		met := "met"
		if !f.Met {
			met = "**not met**"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %s |\n", f.Bar, f.Value, f.Limit, met)
	}
	b.WriteString("\n")
	return b.String()
}
