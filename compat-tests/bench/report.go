package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// spread is the median of some figures with the least and the greatest. Of
// seven rounds these two enclose the true median with a probability of 98 %.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		middle = (middle + sorted[len(sorted)/2-1]) / 2
	}
	return spread{Median: middle, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

func (s spread) format(digits int) string {
	return fmt.Sprintf("%.*f [%.*f-%.*f]", digits, s.Median, digits, s.Min, digits, s.Max)
}

// comparison is a server against the first one, in the same cell: spreads of
// the figures of each round divided by those of the first server in that round.
type comparison struct {
	cell
	Server  string `json:"server"`
	Against string `json:"against"`
	// CPU counts the load's time alone.
	CPU          spread `json:"cpu_ratio"`
	OpsPerSecond spread `json:"ops_per_second_ratio"`
	P99          spread `json:"p99_ratio"`
	// PooledCPU is the ratio of all the CPU that the cell took in all rounds, the
	// work put off included. Rare, heavy work, such as a compaction that falls into
	// one round of many, counts here and not in a median.
	PooledCPU float64 `json:"pooled_cpu_ratio"`
}

// floor is what a server costs above a null server in the same round: what lies
// below the transport.
type floor struct {
	cell
	Server    string `json:"server"`
	Above     string `json:"above"`
	CPUMicros spread `json:"cpu_us_per_op_above_null"`
}

// report is the outcome of a run.
type report struct {
	Started     time.Time         `json:"started"`
	CPUs        int               `json:"cpus"`
	GoVersion   string            `json:"client_go_version"`
	Settings    map[string]string `json:"settings"`
	Samples     []sample          `json:"samples"`
	Comparisons []comparison      `json:"comparisons"`
	Floors      []floor           `json:"floors,omitempty"`
}

func newReport(settings map[string]string) *report {
	return &report{
		Started: time.Now(), CPUs: runtime.NumCPU(), GoVersion: runtime.Version(), Settings: settings,
	}
}

// pick returns the samples of one server in one cell, by round.
func (r *report) pick(server string, c cell) []sample {
	var picked []sample
	for _, s := range r.Samples {
		if s.Server == server && s.cell == c {
			picked = append(picked, s)
		}
	}
	slices.SortFunc(picked, func(a, b sample) int { return cmp.Compare(a.Round, b.Round) })
	return picked
}

// paired applies f to the samples of two servers round by round.
func (r *report) paired(a, b string, c cell, f func(a, b sample) float64) spread {
	var values []float64
	second := r.pick(b, c)
	for i, s := range r.pick(a, c) {
		if i < len(second) && second[i].Round == s.Round {
			values = append(values, f(s, second[i]))
		}
	}
	return spreadOf(values)
}

// meanCPU is a server's CPU per operation over all rounds of a cell, what it put
// off included.
func (r *report) meanCPU(server string, c cell) float64 {
	samples, total := r.pick(server, c), 0.0
	for _, s := range samples {
		total += s.CPUMicros + s.LaterMicros
	}
	return total / float64(len(samples))
}

// compare fills in the comparisons with the first server and, if there is a
// null server, the floors.
func (r *report) compare(servers []string, cells []cell) {
	base := servers[0]
	for _, c := range cells {
		for _, server := range servers {
			if server != base {
				r.Comparisons = append(r.Comparisons, comparison{
					cell: c, Server: server, Against: base,
					CPU: r.paired(server, base, c, func(a, b sample) float64 {
						return a.CPUMicros / b.CPUMicros
					}),
					PooledCPU: r.meanCPU(server, c) / r.meanCPU(base, c),
					OpsPerSecond: r.paired(server, base, c, func(a, b sample) float64 {
						return a.OpsPerSecond / b.OpsPerSecond
					}),
					P99: r.paired(server, base, c, func(a, b sample) float64 {
						return a.P99Micros / b.P99Micros
					}),
				})
			}
			for _, null := range servers {
				if isNull(null) && !isNull(server) {
					r.Floors = append(r.Floors, floor{
						cell: c, Server: server, Above: null,
						CPUMicros: r.paired(server, null, c, func(a, b sample) float64 {
							return a.CPUMicros - b.CPUMicros
						}),
					})
				}
			}
		}
	}
}

// print writes the medians of every cell and then the comparisons.
func (r *report) print(w io.Writer, servers []string, cells []cell) error {
	table := &strings.Builder{}
	fmt.Fprintln(table, "cell\tserver\tops/s\tCPU us/op\t(system)\tlater\tmean\tclient\tp50 ms\tp99 ms\tops/sync\tsync us\tswitches/op\twrites/op\tB/op\tRSS MiB\tforeign\tsteal\t")
	for _, c := range cells {
		for _, server := range servers {
			samples := r.pick(server, c)
			median := func(f func(sample) float64) float64 {
				values := make([]float64, len(samples))
				for i, s := range samples {
					values[i] = f(s)
				}
				return spreadOf(values).Median
			}
			fmt.Fprintf(table, "%s\t%s\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%.2f\t%.1f\t%.0f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f%%\t%.0f%%\t\n",
				c, server,
				median(func(s sample) float64 { return s.OpsPerSecond }),
				median(func(s sample) float64 { return s.CPUMicros }),
				median(func(s sample) float64 { return s.SystemMicros }),
				median(func(s sample) float64 { return s.LaterMicros }),
				r.meanCPU(server, c),
				median(func(s sample) float64 { return s.ClientMicros }),
				median(func(s sample) float64 { return s.P50Micros / 1000 }),
				median(func(s sample) float64 { return s.P99Micros / 1000 }),
				median(func(s sample) float64 {
					if s.SyncsPerOp == 0 {
						return 0
					}
					return 1 / s.SyncsPerOp
				}),
				median(func(s sample) float64 { return s.SyncMicros }),
				median(func(s sample) float64 { return s.SwitchesPerOp }),
				median(func(s sample) float64 { return s.WritesPerOp }),
				median(func(s sample) float64 { return s.BytesPerOp }),
				median(func(s sample) float64 { return s.ResidentMiB }),
				median(func(s sample) float64 { return 100 * s.ForeignShare }),
				median(func(s sample) float64 { return 100 * s.StealShare }),
			)
		}
	}
	if len(r.Comparisons) > 0 {
		fmt.Fprintln(table)
		fmt.Fprintln(table, "cell\tratio\tCPU/op\tpooled\tops/s\tp99\t")
	}
	for _, c := range r.Comparisons {
		fmt.Fprintf(table, "%s\t%s : %s\t%s\t%.2f\t%s\t%s\t\n", c.cell, c.Server, c.Against,
			c.CPU.format(2), c.PooledCPU, c.OpsPerSecond.format(2), c.P99.format(2))
	}
	if len(r.Floors) > 0 {
		fmt.Fprintln(table)
		fmt.Fprintln(table, "cell\tserver\tabove\tCPU us/op\t")
		for _, f := range r.Floors {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t\n", f.cell, f.Server, f.Above, f.CPUMicros.format(1))
		}
	}
	return align(w, table.String())
}

// align writes a text whose columns end in tabs as a table.
func align(w io.Writer, text string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(table, text); err != nil {
		return err
	}
	return table.Flush()
}

func (r *report) write(path string) error {
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(encoded, '\n'), 0o644)
}
