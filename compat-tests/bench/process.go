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

// cpuOf is the CPU time that a process has used since it started.
func cpuOf(pid int) (time.Duration, error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	cpu, err := parseStat(stat)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return cpu, nil
}

// parseStat adds utime and stime in a line of /proc/PID/stat. The command name
// may hold spaces and parentheses, so the fields count from the last ")".
func parseStat(stat []byte) (time.Duration, error) {
	_, rest, found := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) < 13 {
		return 0, fmt.Errorf("cannot parse %q", stat)
	}
	ticks := int64(0)
	for _, text := range fields[11:13] { // utime and stime are fields 14 and 15; state is the third
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// machineBusy is the CPU time that all processes of the machine together have used, with what
// the hypervisor has taken away. Interrupts are left out: those of a quiet machine are the
// load's own.
func machineBusy() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(stat)
}

func parseBusy(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("cannot parse /proc/stat: %q", line)
	}
	busy := time.Duration(0)
	for _, i := range []int{1, 2, 3, 8} { // cpu user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		busy += time.Duration(n) * clockTick
	}
	return busy, nil
}

// onlooker tells how much of the machine others take.
type onlooker struct {
	pids  []int // of the server that is measured, and of this process
	began time.Time
	busy  time.Duration
	known time.Duration
}

// look begins to watch the machine beside the server of the given ids and this process. Other
// servers of the session are others: what they have put off is not to fall into its turn.
func look(pids []int) (*onlooker, error) {
	o := &onlooker{pids: append([]int{os.Getpid()}, pids...), began: time.Now()}
	var err error
	o.busy, o.known, err = o.read()
	return o, err
}

func (o *onlooker) read() (busy, known time.Duration, err error) {
	for _, pid := range o.pids {
		cpu, err := cpuOf(pid)
		if err != nil {
			return 0, 0, err
		}
		known += cpu
	}
	busy, err = machineBusy()
	return busy, known, err
}

// foreign is the share of one core that others have taken since; client is what the client's
// process took, which has ended.
func (o *onlooker) foreign(client time.Duration) (float64, error) {
	busy, known, err := o.read()
	if err != nil {
		return 0, err
	}
	others := busy - o.busy - (known - o.known) - client
	return max(0, others.Seconds()/time.Since(o.began).Seconds()), nil
}
