package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// cell is one point of the measurement: ops operations of a kind by so many
// clients.
type cell struct {
	Op      operation `json:"op"`
	Clients int       `json:"clients"`
	Ops     int       `json:"ops"`
}

func (c cell) String() string { return fmt.Sprintf("%s, %d clients", c.Op, c.Clients) }

// target is a running server with a client of its own.
type target struct {
	name     string
	pid      int
	endpoint string
	syncs    syncSource
	loader   *loader
}

// sample is one cell measured on one server in one round. Figures "per op" are
// the server's unless they say otherwise.
type sample struct {
	cell
	Server string `json:"server"`
	Round  int    `json:"round"`

	OpsPerSecond float64 `json:"ops_per_second"`
	P50Micros    float64 `json:"p50_us"`
	P99Micros    float64 `json:"p99_us"`

	// CPUMicros is user and system time per operation while the load ran;
	// LaterMicros what was used from then until the server was quiet.
	CPUMicros    float64 `json:"cpu_us_per_op"`
	SystemMicros float64 `json:"system_us_per_op"`
	LaterMicros  float64 `json:"later_us_per_op"`
	ClientMicros float64 `json:"client_us_per_op"`

	// SyncsPerOp counts the syncs of the log and SyncMicros is how long one took on
	// average, as the server itself says; zero of a null server.
	SyncsPerOp float64 `json:"syncs_per_op"`
	SyncMicros float64 `json:"sync_us"`

	SwitchesPerOp float64 `json:"switches_per_op"`
	WritesPerOp   float64 `json:"write_calls_per_op"`
	BytesPerOp    float64 `json:"written_bytes_per_op"`
	ResidentMiB   float64 `json:"resident_mib"`

	// ForeignShare is the CPU time of neither server nor client, and StealShare
	// what the hypervisor took, as shares of the elapsed time: 1 is one core. A
	// cell with much of either says little.
	ForeignShare float64 `json:"foreign_share"`
	StealShare   float64 `json:"steal_share"`
}

// instant is a reading of all counters.
type instant struct {
	server, client usage
	busy, steal    time.Duration
}

func readInstant(pid int) (instant, error) {
	var now instant
	var err error
	if now.server, err = usageOf(pid); err != nil {
		return instant{}, err
	}
	var self syscall.Rusage
	if err = syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return instant{}, err
	}
	now.client.user = time.Duration(self.Utime.Nano())
	now.client.system = time.Duration(self.Stime.Nano())
	now.busy, now.steal, err = machineBusy()
	return now, err
}

// measure runs a cell on a server and waits until the server is quiet again.
func measure(ctx context.Context, t *target, c cell, round int) (sample, error) {
	syncsBefore, err := t.syncs(ctx)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", t.name, err)
	}
	before, err := readInstant(t.pid)
	if err != nil {
		return sample{}, err
	}
	result, err := t.loader.measure(ctx, c.Op, c.Clients, c.Ops)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %s: %w", t.name, c, err)
	}
	after, err := readInstant(t.pid)
	if err != nil {
		return sample{}, err
	}
	syncsAfter, err := t.syncs(ctx)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", t.name, err)
	}
	quiet, err := settle(t.pid, 5*time.Second)
	if err != nil {
		return sample{}, err
	}
	perOp := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(c.Ops) }
	share := func(d time.Duration) float64 { return d.Seconds() / result.elapsed.Seconds() }
	serverCPU := after.server.cpu() - before.server.cpu()
	clientCPU := after.client.cpu() - before.client.cpu()
	count := syncsAfter.count - syncsBefore.count
	return sample{
		cell: c, Server: t.name, Round: round,
		OpsPerSecond:  float64(c.Ops) / result.elapsed.Seconds(),
		P50Micros:     float64(result.quantile(0.50).Nanoseconds()) / 1000,
		P99Micros:     float64(result.quantile(0.99).Nanoseconds()) / 1000,
		CPUMicros:     perOp(serverCPU),
		SystemMicros:  perOp(after.server.system - before.server.system),
		LaterMicros:   perOp(quiet.cpu() - after.server.cpu()),
		ClientMicros:  perOp(clientCPU),
		SyncsPerOp:    count / float64(c.Ops),
		SyncMicros:    float64((syncsAfter.total - syncsBefore.total).Microseconds()) / max(1, count),
		SwitchesPerOp: float64(after.server.switches-before.server.switches) / float64(c.Ops),
		WritesPerOp:   float64(after.server.writeCalls-before.server.writeCalls) / float64(c.Ops),
		BytesPerOp:    float64(quiet.writtenBytes-before.server.writtenBytes) / float64(c.Ops),
		ResidentMiB:   float64(quiet.residentBytes) / (1 << 20),
		ForeignShare:  max(0, share(after.busy-before.busy-serverCPU-clientCPU)),
		StealShare:    share(after.steal - before.steal),
	}, nil
}

// order lists the servers of a round: forwards in even rounds, backwards in odd
// ones (A B B A ...), so that a drift of the machine favours none.
func order(servers []*target, round int) []*target {
	turn := make([]*target, len(servers))
	for i, s := range servers {
		if round%2 == 0 {
			turn[i] = s
		} else {
			turn[len(servers)-1-i] = s
		}
	}
	return turn
}
