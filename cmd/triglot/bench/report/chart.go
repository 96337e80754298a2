package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is one measure, drawn as a line over time or as bars. It begins at 0, always.
type chart struct {
	Title string
	bars  bool
	// labels name the points, one each; unit says what text makes of a value.
	labels []string
	values []float64
	text   func(float64) string
}

// The drawing's measures, in its own units; the page scales it.
const (
	chartWidth, chartHeight = 640, 240
	marginLeft, marginRight = 76, 14
	marginTop, marginBottom = 16, 30
	plotWidth               = chartWidth - marginLeft - marginRight
	plotHeight              = chartHeight - marginTop - marginBottom
	// gridLines is about how many lines there are across, and axisLabels how many labels
	// below.
	gridLines, axisLabels = 4, 8
)

// step is the distance of lines across: 1, 2 or 5 times a power of ten.
func step(top float64) float64 {
	if top <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(top/gridLines)))
	for _, by := range []float64{1, 2, 5} {
		if by*power*gridLines >= top {
			return by * power
		}
	}
	return 10 * power
}

// svg draws the chart.
func (c *chart) svg() string {
	top := 0.0
	for _, v := range c.values {
		top = max(top, v)
	}
	by := step(top)
	lines := max(1, int(math.Ceil(top/by-1e-9)))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.Title))
	y := func(v float64) float64 { return marginTop + plotHeight*(1-v/(by*float64(lines))) }
	for i := range lines + 1 {
		v := float64(i) * by
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, marginLeft, chartWidth-marginRight, y(v), y(v))
		fmt.Fprintf(&b, `<text class="value" x="%d" y="%.1f">%s</text>`, marginLeft-8, y(v)+4, html.EscapeString(c.text(v)))
	}
	if c.bars {
		c.drawBars(&b, y)
	} else {
		c.drawLine(&b, y)
	}
	b.WriteString(`</svg>`)
	return b.String()
}

// label writes below the plot.
func label(b *strings.Builder, x float64, text string) {
	fmt.Fprintf(b, `<text class="label" x="%.1f" y="%d">%s</text>`, x, chartHeight-10, html.EscapeString(text))
}

func (c *chart) drawBars(b *strings.Builder, y func(float64) float64) {
	slot := float64(plotWidth) / float64(len(c.values))
	for i, v := range c.values {
		x := marginLeft + slot*float64(i)
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: %s</title></rect>`,
			x+slot*0.2, y(v), slot*0.6, y(0)-y(v), html.EscapeString(c.labels[i]), html.EscapeString(c.text(v)))
		fmt.Fprintf(b, `<text class="top" x="%.1f" y="%.1f">%s</text>`, x+slot/2, y(v)-4, html.EscapeString(c.text(v)))
		label(b, x+slot/2, c.labels[i])
	}
}

func (c *chart) drawLine(b *strings.Builder, y func(float64) float64) {
	n := len(c.values)
	x := func(i int) float64 {
		if n == 1 {
			return marginLeft + plotWidth/2
		}
		return marginLeft + plotWidth*float64(i)/float64(n-1)
	}
	var points strings.Builder
	for i, v := range c.values {
		fmt.Fprintf(&points, "%.1f,%.1f ", x(i), y(v))
	}
	line := strings.TrimSpace(points.String())
	fmt.Fprintf(b, `<polygon points="%.1f,%.1f %s %.1f,%.1f"/>`, x(0), y(0), line, x(n-1), y(0))
	fmt.Fprintf(b, `<polyline points="%s"/>`, line)
	every := (n + axisLabels - 1) / axisLabels
	for i, v := range c.values {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3"><title>%s: %s</title></circle>`,
			x(i), y(v), html.EscapeString(c.labels[i]), html.EscapeString(c.text(v)))
		if i%every == 0 {
			label(b, x(i), c.labels[i])
		}
	}
}
