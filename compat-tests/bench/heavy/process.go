package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// residentBytes is what a process has in memory now.
func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}

// cpuTime is what a process has used since it started.
func cpuTime(pid int) (time.Duration, error) {
	const tick = 10 * time.Millisecond // Linux shows 100 Hz on every architecture that Go supports
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the name may hold spaces
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot parse %q", stat)
	}
	var total int64
	for _, text := range fields[11:13] { // utime and stime are fields 14 and 15; state is the third
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return time.Duration(total) * tick, nil
}

// settle waits until a process has used no more than a trace of the processor for a
// second, or a part of the load if that is short; or the limit is over.
func (c *config) settle(ctx context.Context, pid int, limit time.Duration) error {
	window := min(time.Second, c.load/3)
	trace := window * 3 / 100
	last, err := cpuTime(pid)
	for waited := time.Duration(0); err == nil && waited < limit; waited += window {
		if err := sleep(ctx, window); err != nil {
			return err
		}
		var now time.Duration
		if now, err = cpuTime(pid); now-last <= trace {
			return err
		}
		last = now
	}
	return err
}

// syncFiles has what was written to the files of a directory reach the disk.
func syncFiles(dir string) error {
	return eachFile(dir, (*os.File).Sync)
}

// eachFile does something to each file of a directory and those below.
func eachFile(dir string, do func(f *os.File) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(do(f), f.Close())
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// rssWatch samples the memory of a process. Its goroutine runs until end.
type rssWatch struct {
	stop chan struct{}
	done sync.WaitGroup
	peak int64 // the goroutine's until it has ended
}

func watchRSS(pid int) *rssWatch {
	w := &rssWatch{stop: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if now, err := residentBytes(pid); err == nil {
				w.peak = max(w.peak, now)
			}
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	})
	return w
}

// end is the most that was seen.
func (w *rssWatch) end() int64 {
	close(w.stop)
	w.done.Wait()
	return w.peak
}
