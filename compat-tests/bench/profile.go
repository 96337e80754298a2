package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// sampleHertz is odd so that it does not fall in step with anything periodic.
const sampleHertz = 997

// profile runs a cell on a server under "perf record" and writes base.perf.data
// and three texts: base.parts.txt (by package), base.flat.txt (self time by
// function) and base.tree.txt (time including callees, with the callers below).
//
// perf samples the process from outside, so the server needs no switch and pays
// nothing when it is not sampled; Go's frame pointers give the stacks.
func profile(ctx context.Context, t *target, c cell, base string) error {
	samples := base + ".perf.data"
	record := exec.CommandContext(ctx, "perf", "record", "--quiet", "--freq", strconv.Itoa(sampleHertz),
		"--call-graph", "fp", "--pid", strconv.Itoa(t.pid), "--output", samples)
	var output bytes.Buffer
	record.Stdout, record.Stderr = &output, &output
	if err := record.Start(); err != nil {
		return fmt.Errorf("perf record: %w", err)
	}
	measured, loadErr := measure(ctx, t, c, -1)
	stopErr := record.Process.Signal(os.Interrupt) // perf writes its file and dies of the signal
	if err := record.Wait(); err != nil && !interrupted(err) {
		stopErr = errors.Join(stopErr, fmt.Errorf("perf record: %w: %s", err, output.Bytes()))
	}
	if err := errors.Join(loadErr, stopErr); err != nil {
		return err
	}
	if err := writeParts(ctx, samples, base+".parts.txt", measured); err != nil {
		return err
	}
	flat := []string{"--no-children", "--call-graph", "none", "--percent-limit", "0.3", "--sort", "symbol"}
	tree := []string{"--children", "--call-graph", "caller,0.5", "--percent-limit", "1", "--sort", "symbol"}
	return errors.Join(
		perfReport(ctx, samples, base+".flat.txt", flat),
		perfReport(ctx, samples, base+".tree.txt", tree),
	)
}

func interrupted(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGINT
}

func perfReport(ctx context.Context, samples, path string, args []string) error {
	report := exec.CommandContext(ctx, "perf", append([]string{"report", "--stdio", "--input", samples}, args...)...)
	out, err := report.Output()
	if err != nil {
		return fmt.Errorf("perf report: %w", err)
	}
	return os.WriteFile(path, out, 0o644)
}

// writeParts writes the samples by package.
func writeParts(ctx context.Context, samples, path string, measured sample) (err error) {
	script := exec.CommandContext(ctx, "perf", "script", "--no-inline", "--input", samples, "--fields", "ip,sym")
	out, err := script.StdoutPipe()
	if err != nil {
		return err
	}
	if err := script.Start(); err != nil {
		return fmt.Errorf("perf script: %w", err)
	}
	p, readErr := readParts(out)
	if err := errors.Join(readErr, script.Wait()); err != nil {
		return fmt.Errorf("perf script: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = fmt.Fprintf(file, "%s on %s: %.0f ops/s, %.1f us of CPU per operation, %d samples\n\n",
		measured.cell, measured.Server, measured.OpsPerSecond, measured.CPUMicros+measured.LaterMicros, p.total)
	if err != nil {
		return err
	}
	return p.print(file, measured.CPUMicros+measured.LaterMicros)
}
