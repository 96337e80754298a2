package main

import (
	"fmt"
	"slices"
)

// sample is one run of a cell's load on one server. Figures "per op" are the server's unless
// they say otherwise; of a load that delivers events, an event is the operation.
type sample struct {
	Ops     int     `json:"ops"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"ops_per_second"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	// CPU is user and system time per operation while the load ran, summed over the members;
	// Later what was used from then until the server was quiet. What is compared is their sum.
	CPU    float64 `json:"cpu_us_per_op"`
	Later  float64 `json:"later_us_per_op"`
	Client float64 `json:"client_us_per_op"`

	Switches float64 `json:"switches_per_op"`
	Written  float64 `json:"written_bytes_per_op"`
	RSS      float64 `json:"rss_mib"`
	// PerSync is operations per sync of the log and SyncMicros how long one took on average,
	// as the first member says; zero of a null server. ZooKeeper does not say the latter.
	PerSync    float64 `json:"ops_per_sync"`
	SyncMicros float64 `json:"sync_us,omitempty"`
	// Foreign is the CPU time of neither the servers nor the client, with what the hypervisor
	// took, as a share of one core: 1 is one core.
	Foreign float64 `json:"foreign_share"`
	// Notes say what the tool did otherwise than it was asked to.
	Notes []string `json:"notes,omitempty"`
}

// spent is all the CPU time that the load caused, per operation: what a server puts off it has
// to do all the same.
func (s sample) spent() float64 { return s.CPU + s.Later }

// pair is a round: each server of the cell once. Tries is how often it was measured until the
// machine was quiet enough; Busy says that it never was, and that this is the quietest try.
type pair struct {
	Samples map[string]sample `json:"samples"`
	Tries   int               `json:"tries"`
	Busy    bool              `json:"busy,omitempty"`
}

// foreign is the most foreign load of the pair's runs.
func (p pair) foreign() float64 {
	most := 0.0
	for _, s := range p.Samples {
		most = max(most, s.Foreign)
	}
	return most
}

// spread is the median of some figures with the least and the greatest. Of seven independent
// ones these two would enclose the true median with a probability of 98 %; pairs share the lives of
// their servers, so it is less.
type spread struct{ Median, Min, Max float64 }

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

// figure is what is compared, or judged.
type figure string

// The figures. All but belowTransport are those of Triglot divided by those of the peer.
const (
	cpuRatio  figure = "server CPU per operation, of the peer's"
	rateRatio figure = "throughput, of the peer's"
	p50Ratio  figure = "median latency, of the peer's"
	p99Ratio  figure = "p99 latency, of the peer's"
	// belowTransport is Triglot's CPU above the null server's, in microseconds. It is below zero
	// where Triglot's own coding of messages spares more than its store takes.
	belowTransport figure = "CPU below the transport, us per operation"
)

// of is the figure of a record, by pairs; false if that lacks what it takes.
func (f figure) of(r *record) (spread, bool) {
	peer := r.Peer
	if f == belowTransport {
		peer = r.Cell.Null
	}
	if peer == "" {
		return spread{}, false
	}
	return r.paired(roleTriglot, peer, f.compare)
}

func (f figure) compare(ours, theirs sample) float64 {
	switch f {
	case cpuRatio:
		return ratio(ours.spent(), theirs.spent())
	case rateRatio:
		return ratio(ours.Rate, theirs.Rate)
	case p50Ratio:
		return ratio(ours.P50, theirs.P50)
	case p99Ratio:
		return ratio(ours.P99, theirs.P99)
	case belowTransport:
		return ours.spent() - theirs.spent()
	}
	panic("no figure " + string(f))
}

// ratio bounds what a counter that stands still makes of a very short run.
func ratio(a, b float64) float64 {
	const most = 1000
	if b == 0 {
		if a == 0 {
			return 1
		}
		return most
	}
	return min(most, a/b)
}

// paired applies f to what two servers did in each pair.
func (r *record) paired(a, b string, f func(a, b sample) float64) (spread, bool) {
	var values []float64
	for _, p := range r.Pairs {
		first, one := p.Samples[a]
		second, two := p.Samples[b]
		if one && two {
			values = append(values, f(first, second))
		}
	}
	return spreadOf(values), len(values) > 0
}

// median is the median of a figure of one server.
func (r *record) median(role string, f func(sample) float64) float64 {
	return spreadOf(r.values(role, f)).Median
}

func (r *record) mean(role string, f func(sample) float64) float64 {
	sum, values := 0.0, r.values(role, f)
	for _, value := range values {
		sum += value
	}
	return sum / float64(max(1, len(values)))
}

// values are a figure of one server in all pairs.
func (r *record) values(role string, f func(sample) float64) []float64 {
	var values []float64
	for _, p := range r.Pairs {
		if s, measured := p.Samples[role]; measured {
			values = append(values, f(s))
		}
	}
	return values
}

// pooledCPU is the ratio of all the CPU that two servers took in all pairs, the work put off
// included. Rare, heavy work, such as a compaction that falls into one pair of many, counts
// here and not in a median.
func (r *record) pooledCPU(a, b string) float64 {
	perOp := func(role string) float64 {
		cpu, ops := 0.0, 0
		for _, p := range r.Pairs {
			s := p.Samples[role]
			cpu += s.spent() * float64(s.Ops)
			ops += s.Ops
		}
		return cpu / float64(max(1, ops))
	}
	return ratio(perOp(a), perOp(b))
}
