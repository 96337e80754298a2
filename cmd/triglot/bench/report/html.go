package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// row is a line of a table.
type row struct{ Name, Value string }

// drawing is a chart as it is drawn.
type drawing struct {
	Title string
	SVG   template.HTML
}

// HTML is a page that needs nothing from elsewhere, made at a time.
func (r *Result) HTML(made time.Time) ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{
		"Title": r.title(), "Made": made.UTC().Format("2006-01-02 15:04 UTC"),
		"Figures": r.figures(), "Charts": r.charts(), "Servers": r.serverRows(), "Flags": r.flagRows(),
		"Notes": r.Notes, "Errors": r.errorRows(),
	})
	return b.Bytes(), err
}

// figures are what matters most.
func (r *Result) figures() []row {
	rows := []row{
		{"throughput", fmt.Sprintf("%.0f/s", r.OpsPerSecond)},
		{"p50", duration(r.Latency.P50)},
		{"p99", duration(r.Latency.P99)},
		{"max", duration(r.Latency.Max)},
		{r.noun(), fmt.Sprint(r.Ops)},
		{"errors", fmt.Sprint(r.Errors)},
		{"time", fmt.Sprintf("%.2f s", r.Seconds)},
	}
	if len(r.Servers) > 0 {
		rows = append(rows, row{"server CPU each", fmt.Sprintf("%.1f us", r.Server)}, row{"of it later", fmt.Sprintf("+%.1f us", r.Later)})
	}
	return append(rows, row{"client CPU each", fmt.Sprintf("%.1f us", r.Client)})
}

func (r *Result) serverRows() [][]string {
	var rows [][]string
	for i := range r.Servers {
		s := &r.Servers[i]
		rows = append(rows, []string{
			fmt.Sprint(s.PID), fmt.Sprintf("%.2f s", s.User), fmt.Sprintf("%.2f s", s.System), fmt.Sprintf("%.2f s", s.Later),
			bytesText(s.ResidentBytes), bytesText(s.PeakResident), bytesText(s.WrittenBytes), bytesText(s.ReadBytes),
			fmt.Sprint(s.Voluntary), fmt.Sprint(s.Involuntary),
		})
	}
	return rows
}

func (r *Result) flagRows() []row {
	var rows []row
	for _, name := range slices.Sorted(maps.Keys(r.Flags)) {
		rows = append(rows, row{"--" + name, r.Flags[name]})
	}
	return rows
}

func (r *Result) errorRows() []row {
	var rows []row
	for _, text := range slices.Sorted(maps.Keys(r.ErrorTexts)) {
		rows = append(rows, row{fmt.Sprint(r.ErrorTexts[text]), text})
	}
	return rows
}

// charts are those over time, and the latencies by percentile.
func (r *Result) charts() []drawing {
	perSecond := func(title string, text func(float64) string, value func(*Point) float64) chart {
		c := chart{Title: title, text: text}
		for i := range r.Timeline {
			c.labels = append(c.labels, fmt.Sprintf("%d s", r.Timeline[i].Second))
			c.values = append(c.values, value(&r.Timeline[i]))
		}
		return c
	}
	count := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	charts := []chart{
		r.percentiles(),
		perSecond("Throughput: "+r.noun()+" a second", count, func(p *Point) float64 { return float64(p.Ops) / p.length() }),
		perSecond("Latency: p99 of each second", axisDuration, func(p *Point) float64 { return p.P99 }),
	}
	if len(r.Servers) > 0 {
		charts = append(charts,
			perSecond("Servers: cores in use", func(v float64) string { return fmt.Sprintf("%.2g", v) },
				func(p *Point) float64 { return p.ServerCPU / p.length() }),
			perSecond("Servers: resident memory, MiB", count, func(p *Point) float64 { return float64(p.ResidentBytes) / (1 << 20) }))
	}
	var drawings []drawing
	for i := range charts {
		if c := &charts[i]; len(c.values) > 0 {
			drawings = append(drawings, drawing{c.Title, template.HTML(c.svg())}) //nolint:gosec // svg escapes its texts
		}
	}
	return drawings
}

// length is never 0.
func (p *Point) length() float64 {
	if p.Length <= 0 {
		return 1
	}
	return p.Length
}

// axisDuration has no more digits than a line across needs.
func axisDuration(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.3g us", us)
	case us < 1e6:
		return fmt.Sprintf("%.3g ms", us/1e3)
	default:
		return fmt.Sprintf("%.3g s", us/1e6)
	}
}

func (r *Result) percentiles() chart {
	c := chart{Title: "Latency by percentile", bars: true, text: axisDuration}
	if r.latencies == nil || r.latencies.Count() == 0 {
		return c
	}
	for _, p := range []float64{50, 75, 90, 95, 99, 99.9, 99.99} {
		c.labels = append(c.labels, fmt.Sprintf("p%v", p))
		c.values = append(c.values, micros(r.latencies.Quantile(p/100)))
	}
	c.labels, c.values = append(c.labels, "max"), append(c.values, r.Latency.Max)
	return c
}
