package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// sampleHertz is odd so that it does not fall in step with anything periodic.
const sampleHertz = 997

// profileAll loads the servers of each cell once more under perf, and writes the reports into
// a directory, named for the cell and the server.
func profileAll(ctx context.Context, r *runner, cells []cell, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range cells {
		roles := r.roles(c)
		s, err := r.open(ctx, c, roles)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		for _, role := range roles {
			base := filepath.Join(dir, strings.ReplaceAll(c.Name, "/", "-")+"."+role)
			if err = profile(ctx, s.(*realSession), c, role, base); err != nil {
				break
			}
			fmt.Fprintf(r.log, "%s: %s: profiled into %s.*\n", c, role, base)
		}
		if err := errors.Join(err, s.close()); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}

// profile runs a cell on a server under "perf record" and writes base.perf.data
// and three texts: base.parts.txt (by package), base.flat.txt (self time by
// function) and base.tree.txt (time including callees, with the callers below).
//
// perf samples the process from outside, so the server needs no switch and pays
// nothing when it is not sampled; Go's frame pointers give the stacks.
func profile(ctx context.Context, s *realSession, c cell, role, base string) error {
	samples := base + ".perf.data"
	record := exec.CommandContext(ctx, "perf", "record", "--quiet", "--freq", strconv.Itoa(sampleHertz),
		"--call-graph", "fp", "--pid", s.targets[role].pidList(), "--output", samples)
	var output bytes.Buffer
	record.Stdout, record.Stderr = &output, &output
	if err := record.Start(); err != nil {
		return fmt.Errorf("perf record: %w", err)
	}
	result, loadErr := s.run(ctx, s.targets[role], phase{ops: c.Ops, seed: 1, grace: graceLimit})
	stopErr := record.Process.Signal(os.Interrupt) // perf writes its file and dies of the signal
	if err := record.Wait(); err != nil && !interrupted(err) {
		stopErr = errors.Join(stopErr, fmt.Errorf("perf record: %w: %s", err, output.Bytes()))
	}
	if err := errors.Join(loadErr, stopErr); err != nil {
		return err
	}
	measured, err := result.sample()
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s on %s", c, role)
	if err := writeParts(ctx, samples, base+".parts.txt", title, measured); err != nil {
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
func writeParts(ctx context.Context, samples, path, title string, measured sample) (err error) {
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
	_, err = fmt.Fprintf(file, "%s: %.0f ops/s, %.1f us of CPU per operation, %d samples\n\n",
		title, measured.Rate, measured.spent(), p.total)
	if err != nil {
		return err
	}
	return p.print(file, measured.spent())
}
