package main

import (
	"bytes"
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

// usage is what a process has consumed since it started, and its memory now.
type usage struct {
	user, system time.Duration
	// switches counts context switches of the live threads, voluntary or not.
	switches int64
	// writtenBytes counts bytes sent to the block layer, writeCalls the write
	// system calls.
	writtenBytes, writeCalls int64
	residentBytes            int64
}

func (u usage) cpu() time.Duration { return u.user + u.system }

// usageOf reads the usage of a process of the machine.
func usageOf(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, err
	}
	var u usage
	if u.user, u.system, err = parseStat(stat); err != nil {
		return usage{}, fmt.Errorf("%s/stat: %w", dir, err)
	}
	io, err := os.ReadFile(filepath.Join(dir, "io"))
	if err != nil {
		return usage{}, err
	}
	u.writtenBytes = field(io, "write_bytes")
	u.writeCalls = field(io, "syscw")
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, err
	}
	u.residentBytes = field(status, "VmRSS") << 10
	threads, err := filepath.Glob(filepath.Join(dir, "task", "*", "status"))
	if err != nil {
		return usage{}, err
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			continue // the thread has ended since
		}
		u.switches += field(status, "voluntary_ctxt_switches") + field(status, "nonvoluntary_ctxt_switches")
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

// machineBusy is the CPU time that all processes of the machine together have
// used, and what the hypervisor has taken away.
func machineBusy() (busy, steal time.Duration, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("cannot parse /proc/stat: %q", line)
	}
	// cpu user nice system idle iowait irq softirq steal
	for i, text := range fields[1:9] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch i {
		case 3, 4: // idle
		case 7:
			steal = time.Duration(n) * clockTick
		default:
			busy += time.Duration(n) * clockTick
		}
	}
	return busy, steal, nil
}

// settle waits until the process has used no more than a trace of CPU for a
// quarter of a second, at most limit: work that a server puts off, such as
// compaction, must not fall into another server's turn.
func settle(pid int, limit time.Duration) (usage, error) {
	const window = 250 * time.Millisecond
	ticker := time.NewTicker(window)
	defer ticker.Stop()
	last, err := usageOf(pid)
	if err != nil {
		return usage{}, err
	}
	for waited := time.Duration(0); waited < limit; waited += window {
		<-ticker.C
		now, err := usageOf(pid)
		if err != nil {
			return usage{}, err
		}
		if now.cpu()-last.cpu() <= clockTick {
			return now, nil
		}
		last = now
	}
	return last, nil
}
