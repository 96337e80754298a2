package measure

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: Linux shows 100 Hz on
// every architecture that Go supports.
const clockTick = 10 * time.Millisecond

// Usage is what a process has consumed since it started, and its memory now.
type Usage struct {
	User, System time.Duration
	// Voluntary and Involuntary count context switches of the threads that live.
	Voluntary, Involuntary int64
	// WrittenBytes and ReadBytes are those of the block layer.
	WrittenBytes, ReadBytes     int64
	ResidentBytes, PeakResident int64
}

// CPU is the time of all kinds.
func (u *Usage) CPU() time.Duration { return u.User + u.System }

// UsageOf reads the usage of a process of this machine. Only Linux has it.
func UsageOf(pid int) (Usage, error) { return usageIn(filepath.Join("/proc", strconv.Itoa(pid))) }

// usageIn reads the usage of a process from its folder in /proc.
func usageIn(dir string) (Usage, error) {
	var u Usage
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Usage{}, err
	}
	if u.User, u.System, err = parseStat(stat); err != nil {
		return Usage{}, fmt.Errorf("%s/stat: %w", dir, err)
	}
	io, err := os.ReadFile(filepath.Join(dir, "io"))
	if err != nil {
		return Usage{}, err
	}
	u.WrittenBytes, u.ReadBytes = field(io, "write_bytes"), field(io, "read_bytes")
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, err
	}
	u.ResidentBytes, u.PeakResident = field(status, "VmRSS")<<10, field(status, "VmHWM")<<10
	threads, err := filepath.Glob(filepath.Join(dir, "task", "*", "status"))
	if err != nil {
		return Usage{}, err
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended since
		}
		u.Voluntary += field(status, "voluntary_ctxt_switches")
		u.Involuntary += field(status, "nonvoluntary_ctxt_switches")
	}
	return u, nil
}

// parseStat finds utime and stime in a line of /proc/PID/stat. The command name
// may hold spaces and parentheses, so the fields count from the last ")".
func parseStat(stat []byte) (user, system time.Duration, err error) {
	_, rest, found := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) < 13 {
		return 0, 0, fmt.Errorf("cannot parse %q", stat)
	}
	ticks := [2]int64{}
	for i := range ticks { // utime and stime are fields 14 and 15; state is the third
		if ticks[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return time.Duration(ticks[0]) * clockTick, time.Duration(ticks[1]) * clockTick, nil
}

// field returns the number after "name:" at the start of a line, 0 if there is
// none.
func field(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		value, found := strings.CutPrefix(line, name+":")
		if !found {
			continue
		}
		words := strings.Fields(value)
		if len(words) == 0 {
			return 0
		}
		n, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

// UsagesOf reads the usage of several processes.
func UsagesOf(pids []int) ([]Usage, error) {
	all := make([]Usage, len(pids))
	for i, pid := range pids {
		var err error
		if all[i], err = UsageOf(pid); err != nil {
			return nil, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return all, nil
}

// Settle waits until none of the processes has used more than a trace of CPU for a
// quarter of a second, at most limit: what a server has put off, such as a compaction, is
// part of what a load costs. It returns what they have used then.
func Settle(ctx context.Context, pids []int, limit time.Duration) ([]Usage, error) {
	const window = 250 * time.Millisecond
	ticker := time.NewTicker(window)
	defer ticker.Stop()
	last, err := UsagesOf(pids)
	for waited := time.Duration(0); err == nil && waited < limit; waited += window {
		select {
		case <-ctx.Done():
			return last, nil
		case <-ticker.C:
		}
		before := last
		if last, err = UsagesOf(pids); err != nil {
			break
		}
		quiet := true
		for i := range last {
			quiet = quiet && last[i].CPU()-before[i].CPU() <= clockTick
		}
		if quiet {
			break
		}
	}
	return last, err
}
