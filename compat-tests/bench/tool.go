package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

const (
	// loadTimeout bounds a run of the tool: filling etcd with a million keys takes a minute on a
	// quiet machine.
	loadTimeout = 10 * time.Minute
	// killDelay is how long a tool that was interrupted may take to end.
	killDelay = 5 * time.Second
)

// loadResult is what "triglot bench --json" says of a run.
type loadResult struct {
	Ops       int     `json:"ops"`
	Errors    int     `json:"errors"`
	Seconds   float64 `json:"seconds"`
	Delivered int     `json:"delivered"`
	Latency   struct {
		P50 float64 `json:"p50_us"`
		P99 float64 `json:"p99_us"`
	} `json:"latency"`
	ClientCPU float64       `json:"client_cpu_us_per_op"`
	Servers   []serverUsage `json:"servers"`
	Notes     []string      `json:"notes"`
}

// serverUsage is what a server's process consumed during a run.
type serverUsage struct {
	User        float64 `json:"cpu_user_seconds"`
	System      float64 `json:"cpu_system_seconds"`
	Later       float64 `json:"later_seconds"`
	RSS         int64   `json:"rss_bytes"`
	Written     int64   `json:"write_bytes"`
	Voluntary   int64   `json:"voluntary_switches"`
	Involuntary int64   `json:"involuntary_switches"`
}

// sample is the run in figures per operation, or per event if it delivers events.
func (r loadResult) sample() (sample, error) {
	ops := r.Ops
	if r.Delivered > 0 {
		ops = r.Delivered
	}
	if r.Errors > 0 || ops == 0 || r.Seconds <= 0 {
		return sample{}, fmt.Errorf("%d operations in %.3f s with %d errors", ops, r.Seconds, r.Errors)
	}
	var cpu, later float64
	var rss, written, switches int64
	for _, u := range r.Servers {
		cpu += u.User + u.System
		later += u.Later
		rss += u.RSS
		written += u.Written
		switches += u.Voluntary + u.Involuntary
	}
	n := float64(ops)
	return sample{
		Ops: ops, Seconds: r.Seconds, Rate: n / r.Seconds, P50: r.Latency.P50, P99: r.Latency.P99,
		CPU: cpu * 1e6 / n, Later: later * 1e6 / n, Client: r.ClientCPU * float64(r.Ops) / n,
		Switches: float64(switches) / n, Written: float64(written) / n, RSS: float64(rss) / (1 << 20), Notes: r.Notes,
	}, nil
}

// tool runs the load generator.
type tool struct {
	binary string
	// prefix are arguments before the tool's own: "bench" of triglot.
	prefix []string
}

// run runs the tool and returns what it says, and the CPU time that it took itself.
func (t tool) run(ctx context.Context, args []string) (loadResult, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.binary, append(t.prefix[:len(t.prefix):len(t.prefix)], args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = killDelay
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	what := func() string { return strings.Join(args, " ") }
	if ctx.Err() != nil {
		return loadResult{}, 0, fmt.Errorf("bench %s: %w", what(), context.Cause(ctx))
	}
	if err != nil {
		return loadResult{}, 0, fmt.Errorf("bench %s: %w: %s", what(), err, server.Tail(stderr.String()+stdout.String(), 10))
	}
	var result loadResult
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		return loadResult{}, 0, fmt.Errorf("bench %s: %w: %s", what(), err, server.Tail(stdout.String(), 10))
	}
	return result, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
