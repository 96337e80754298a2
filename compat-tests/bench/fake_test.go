package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be a null server, as the program is, and a tool.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && isNull(os.Args[1]) {
		fail(serveNull(os.Args[1]))
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "fake-bench" {
		os.Exit(fakeTool(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// fakeTool answers as "triglot bench" does. The load "fail" fails, "garble" says nonsense,
// "hang" hangs until it is interrupted.
func fakeTool(args []string) int {
	if args[0] == "fail" {
		fmt.Fprintln(os.Stderr, "no such server")
		return 1
	}
	if args[0] == "garble" {
		fmt.Println("hello")
		return 0
	}
	ops := "1"
	for i, arg := range args {
		if arg == "--ops" {
			ops = args[i+1]
		}
	}
	if path := os.Getenv("FAKE_BENCH_LOG"); path != "" {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = fmt.Fprintln(file, strings.Join(args, " "))
		}
		if err != nil || file.Close() != nil {
			return 2
		}
	}
	if text := os.Getenv("FAKE_BENCH_NEIGHBOUR"); text != "" {
		if err := busyNeighbour(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if args[0] == "hang" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		<-ctx.Done()
	}
	fmt.Printf(`{"load":%q,"ops":%s,"errors":0,"seconds":2,"latency":{"p50_us":100,"p99_us":900},"client_cpu_us_per_op":3,
		"servers":[{"pid":1,"cpu_user_seconds":0.01,"cpu_system_seconds":0.02,"later_seconds":0.005,"rss_bytes":1048576}]}`+"\n", args[0], ops)
	return 0
}

// busyNeighbour keeps the null server "PID ADDRESS" of ZooKeeper's protocol at work until it has
// used half a second of CPU: it stands for a server that does what it has put off.
func busyNeighbour(text string) error {
	var pid int
	var address string
	if _, err := fmt.Sscan(text, &pid, &address); err != nil {
		return err
	}
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, nc)
	}()
	frames := appendField(nil, append(make([]byte, 44), 0)) // the handshake: all zeros, and a field that is empty
	for range 1000 {
		frames = append(frames, appendField(nil, []byte{0, 0, 0, 9, 0, 0, 0, 11})...) // pings
	}
	before, err := cpuOf(pid)
	if err != nil {
		return err
	}
	for now := before; now-before < 500*time.Millisecond; {
		if _, err := nc.Write(frames); err != nil {
			return err
		}
		frames = frames[len(frames)-1000*12:]
		if now, err = cpuOf(pid); err != nil {
			return err
		}
	}
	return nc.Close()
}

// fakeSession says what a test has laid down, and notes what it is asked.
type fakeSession struct {
	asked  *[]string
	answer func(role string, seed int) (sample, error)
	closed *int
	failed error // of close
}

func (f fakeSession) measure(_ context.Context, role string, seed int) (sample, error) {
	*f.asked = append(*f.asked, fmt.Sprintf("%s %d", role, seed))
	return f.answer(role, seed)
}

func (f fakeSession) close() error {
	*f.closed++
	return f.failed
}

// fakeBench is a runner on fake sessions.
type fakeBench struct {
	*runner
	asked  []string
	opened []string
	closed int
	failed error // of the sessions' end
	answer func(c cell, role string, seed int) (sample, error)
}

var errBroken = errors.New("broken")

func newFakeBench(t *testing.T) *fakeBench {
	t.Helper()
	f := &fakeBench{answer: func(_ cell, role string, _ int) (sample, error) {
		return map[string]sample{
			roleTriglot: {Ops: 10, CPU: 20, Rate: 200, P50: 1, P99: 2},
			roleEtcd:    {Ops: 10, CPU: 50, Rate: 100, P50: 2, P99: 4},
			nullTuned:   {Ops: 10, CPU: 12, Rate: 300, P50: 1, P99: 1},
		}[role], nil
	}}
	clock := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	f.runner = &runner{
		store: store{dir: t.TempDir()}, ids: identity{Triglot: "abc", Peers: map[string]string{roleEtcd: "3.7"}}, pairs: 3, tries: 3, log: io.Discard,
		now: func() time.Time {
			clock = clock.Add(time.Minute)
			return clock
		},
		open: func(_ context.Context, c cell, _ []string) (session, error) {
			f.opened = append(f.opened, c.Name)
			return fakeSession{asked: &f.asked, closed: &f.closed, failed: f.failed, answer: func(role string, seed int) (sample, error) { return f.answer(c, role, seed) }}, nil
		},
	}
	return f
}

// measured runs cells and wants no error.
func (f *fakeBench) measured(t *testing.T, cells ...cell) map[string]*record {
	t.Helper()
	records, err := f.run(t.Context(), cells)
	require.NoError(t, err)
	require.Len(t, records, len(cells))
	return records
}
