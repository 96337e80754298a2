package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table is the result for a terminal.
func (r *Result) Table() string {
	var b strings.Builder
	line := func(head, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", head, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s\n", r.title())
	line(r.noun(), "%d in %.2f s, %d errors", r.Ops, r.Seconds, r.Errors)
	line("throughput", "%.0f a second", r.OpsPerSecond)
	l := &r.Latency
	line("latency", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s, mean %s",
		duration(l.P50), duration(l.P90), duration(l.P99), duration(l.P999), duration(l.Max), duration(l.Mean))
	line("client CPU", "%.1f us each", r.Client)
	if len(r.Servers) > 0 {
		line("server CPU", "%.1f us each, and %.1f later", r.Server, r.Later)
	}
	for i := range r.Servers {
		s := &r.Servers[i]
		line(fmt.Sprintf("process %d", s.PID), "user %.2f s, system %.2f s, later %.2f s; memory %s, at most %s",
			s.User, s.System, s.Later, bytesText(s.ResidentBytes), bytesText(s.PeakResident))
		line("", "written %s, read %s; context switches %d voluntary, %d not",
			bytesText(s.WrittenBytes), bytesText(s.ReadBytes), s.Voluntary, s.Involuntary)
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	for _, text := range slices.Sorted(maps.Keys(r.ErrorTexts)) {
		line("error", "%d times: %s", r.ErrorTexts[text], text)
	}
	return b.String()
}

// title says what was measured.
func (r *Result) title() string {
	return fmt.Sprintf("%s (%s), %s on %s, %s, values of %s", r.Load, r.Protocol, plural(r.Clients, "client"),
		plural(r.Connections, "connection"), plural(r.Keys, "key"), plural(r.ValueBytes, "byte"))
}

func (r *Result) noun() string {
	if r.Delivered > 0 {
		return "deliveries"
	}
	return "operations"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// duration is so many microseconds in three digits.
func duration(us float64) string {
	switch {
	case us < 1000:
		return digits(us) + " us"
	case us < 1e6:
		return digits(us/1e3) + " ms"
	default:
		return digits(us/1e6) + " s"
	}
}

// digits are three that count.
func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

func bytesText(n int64) string {
	switch v := float64(n); {
	case v < 1<<20:
		return digits(v/(1<<10)) + " KiB"
	case v < 1<<30:
		return digits(v/(1<<20)) + " MiB"
	default:
		return digits(v/(1<<30)) + " GiB"
	}
}
