package report

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

var update = flag.Bool("update", false, "write what is expected anew")

// example is a result with something of everything.
func example() *Result {
	var record measure.Recorder
	for i := range 1000 {
		record.Observe(i, time.Duration(i+1)*10*time.Microsecond, 1)
	}
	record.Fail(errors.New(`refused by <"server">`))
	r := &Result{
		Load: "put", Protocol: "etcd", Clients: 100, Connections: 10, Keys: 10_000, ValueBytes: 256,
		Timeline: []Point{
			{Second: 1, Ops: 600, P99: 9500, ServerCPU: 0.9, ResidentBytes: 90 << 20, Length: 1},
			{Second: 2, Ops: 400, P99: 9900, ServerCPU: 0.4, ResidentBytes: 110 << 20, Length: 0.5},
		},
		Flags: map[string]string{"clients": "100", "key-prefix": "<bench>/"},
		Notes: []string{"the server has no RangeStream"},
	}
	r.Measured(&record, 1500*time.Millisecond, false)
	before := measure.Usage{User: time.Second, Voluntary: 7}
	after := measure.Usage{User: 1900 * time.Millisecond, System: 400 * time.Millisecond, Voluntary: 107, Involuntary: 9}
	quiet := after
	quiet.System += 100 * time.Millisecond
	quiet.ResidentBytes, quiet.PeakResident, quiet.WrittenBytes, quiet.ReadBytes = 100<<20, 120<<20, 3<<30, 512
	r.Used([]int{4711}, []measure.Usage{before}, []measure.Usage{after}, []measure.Usage{quiet}, 20*time.Millisecond)
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test -update writes it anew")
}

func TestPage(t *testing.T) {
	text, err := example().HTML(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	golden(t, "report.html", text)
	require.NotRegexp(t, regexp.MustCompile(`(?i)https?:|src=|@import|url\(`), string(text), "it needs nothing from elsewhere")
	require.NotContains(t, string(text), `<"server">`)
	require.NotContains(t, string(text), "NaN")
}

func TestTable(t *testing.T) { golden(t, "table.txt", []byte(example().Table())) }

// The names are an agreement with compat-tests/bench.
func TestJSON(t *testing.T) {
	text, err := json.MarshalIndent(example(), "", "  ")
	require.NoError(t, err)
	golden(t, "result.json", append(text, '\n'))
}

// A load that did nothing is reported, too.
func TestNothingDone(t *testing.T) {
	r := &Result{Load: "get"}
	r.Measured(&measure.Recorder{}, 0, false)
	r.Used(nil, nil, nil, nil, time.Second)
	text, err := r.HTML(time.Now())
	require.NoError(t, err)
	require.NotContains(t, string(text), "NaN")
	require.NotContains(t, r.Table(), "NaN")
	_, err = json.Marshal(r)
	require.NoError(t, err, "no number is infinite")
}

func TestOnePointAndAll0(t *testing.T) {
	for _, values := range [][]float64{{5}, {0}, {0, 0}} {
		c := chart{Title: "x", values: values, labels: []string{"a", "b"}[:len(values)], text: axisDuration}
		for _, c.bars = range []bool{false, true} {
			svg := c.svg()
			require.NotContains(t, svg, "NaN")
			require.NotContains(t, svg, "Inf")
			require.Equal(t, len(values), strings.Count(svg, "<title>"))
		}
	}
}

func TestStep(t *testing.T) {
	for top, want := range map[float64]float64{0: 1, 1: 0.5, 4: 1, 4.1: 2, 9: 5, 100: 50, 30_000: 10_000} {
		require.InDelta(t, want, step(top), want/1e6, "%v", top)
	}
}

func TestDelivered(t *testing.T) {
	var record measure.Recorder
	record.Observe(0, time.Millisecond, 100)
	r := &Result{}
	r.Measured(&record, time.Second, true)
	r.Used(nil, nil, nil, nil, time.Millisecond)
	require.Equal(t, int64(100), r.Ops)
	require.Equal(t, int64(100), r.Delivered)
	require.InDelta(t, 10, r.Client, 1e-9, "CPU is per delivery")
	require.Contains(t, r.Table(), "deliveries")
}
