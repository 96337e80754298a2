package report

import (
	"math"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

// Result is what a load has measured. Its JSON is read by the harness of
// compat-tests/bench: names stay.
type Result struct {
	Load        string `json:"load"`
	Protocol    string `json:"protocol"`
	Clients     int    `json:"clients"`
	Connections int    `json:"connections"`
	Keys        int    `json:"keys"`
	ValueBytes  int    `json:"value_bytes"`

	Work
	CPU

	Servers  []Server          `json:"servers"`
	Timeline []Point           `json:"timeline"`
	Flags    map[string]string `json:"flags"`
	// Notes say what differs from what was asked for.
	Notes []string `json:"notes,omitempty"`
}

// Work is what was done, and how fast.
type Work struct {
	// Ops are operations that were done; of watches, events that were delivered.
	Ops          int64            `json:"ops"`
	Errors       int64            `json:"errors"`
	ErrorTexts   map[string]int64 `json:"error_texts,omitempty"`
	Seconds      float64          `json:"seconds"`
	OpsPerSecond float64          `json:"ops_per_second"`
	Latency      Latency          `json:"latency"`
	// Delivered are events, of watches only.
	Delivered int64 `json:"delivered"`

	latencies *measure.Histogram
}

// Latency is in microseconds.
type Latency struct {
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
	Mean float64 `json:"mean_us"`
}

// CPU is in microseconds of processor time for each operation.
type CPU struct {
	Client float64 `json:"client_cpu_us_per_op"`
	Server float64 `json:"server_cpu_us_per_op"`
	// Later is what the servers used from the end of the load until they were quiet.
	Later float64 `json:"server_cpu_later_us_per_op"`
}

// Server is what one process has used.
type Server struct {
	PID           int     `json:"pid"`
	User          float64 `json:"cpu_user_seconds"`
	System        float64 `json:"cpu_system_seconds"`
	Later         float64 `json:"later_seconds"`
	ResidentBytes int64   `json:"rss_bytes"`
	PeakResident  int64   `json:"peak_rss_bytes"`
	WrittenBytes  int64   `json:"write_bytes"`
	ReadBytes     int64   `json:"read_bytes"`
	Voluntary     int64   `json:"voluntary_switches"`
	Involuntary   int64   `json:"involuntary_switches"`
}

// Point is one second of a load; the last one may be shorter.
type Point struct {
	Second        int     `json:"second"`
	Ops           int64   `json:"ops"`
	P99           float64 `json:"p99_us"`
	ServerCPU     float64 `json:"server_cpu_seconds"`
	ResidentBytes int64   `json:"rss_bytes"`

	// Length is how long it was, in seconds.
	Length float64 `json:"-"`
}

// micros has a tenth of a nanosecond at most: what follows is noise.
func micros(d time.Duration) float64 { return round(float64(d) / 1000) }

func round(v float64) float64 { return math.Round(v*1000) / 1000 }

// Measured sets the work from what was counted.
func (w *Work) Measured(record *measure.Recorder, took time.Duration, delivers bool) {
	h := record.Latencies()
	w.Ops, w.Errors, w.ErrorTexts = record.Done(), record.Failed(), record.Errors()
	w.Seconds = round(took.Seconds())
	if took > 0 {
		w.OpsPerSecond = round(float64(w.Ops) / took.Seconds())
	}
	w.Latency = Latency{
		P50: micros(h.Quantile(0.5)), P90: micros(h.Quantile(0.9)), P99: micros(h.Quantile(0.99)),
		P999: micros(h.Quantile(0.999)), Max: micros(h.Max()), Mean: micros(h.Mean()),
	}
	if delivers {
		w.Delivered = w.Ops
	}
	w.latencies = h
}

// Used sets what the processes have used: before the load, at its end, and once they were
// quiet.
func (r *Result) Used(pids []int, before, after, quiet []measure.Usage, client time.Duration) {
	perOp := func(d time.Duration) float64 {
		return round(float64(d) / 1000 / float64(max(r.Ops, 1)))
	}
	r.Client = perOp(client)
	var during, later time.Duration
	r.Servers = make([]Server, len(pids))
	for i, pid := range pids {
		b, a, q := &before[i], &after[i], &quiet[i]
		during += a.CPU() - b.CPU()
		later += q.CPU() - a.CPU()
		r.Servers[i] = Server{
			PID: pid, User: round((a.User - b.User).Seconds()), System: round((a.System - b.System).Seconds()),
			Later: round((q.CPU() - a.CPU()).Seconds()), ResidentBytes: q.ResidentBytes, PeakResident: q.PeakResident,
			WrittenBytes: q.WrittenBytes - b.WrittenBytes, ReadBytes: q.ReadBytes - b.ReadBytes,
			Voluntary: max(0, a.Voluntary-b.Voluntary), Involuntary: max(0, a.Involuntary-b.Involuntary),
		}
	}
	r.Server, r.Later = perOp(during), perOp(later)
}
