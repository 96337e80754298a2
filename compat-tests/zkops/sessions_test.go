package zkops

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/zkserver"
)

var (
	sessions = flag.Int("sessions", 2000, "how many idle sessions to hold")
	pinging  = flag.Duration("pinging", 5*time.Second, "for how long they ping")
)

// The promise is for 20 000 sessions; fewer may take as much less, beside what the
// server takes without any.
const (
	promisedSessions = 20_000
	promisedBytes    = 1 << 30
	spareFiles       = 500
	sessionTimeout   = 40 * time.Second
)

// 20 000 idle sessions on one member stay within 1 GiB, and their pings are answered.
func TestIdleSessions(t *testing.T) {
	allowFiles(t, uint64(*sessions+spareFiles)) // the server inherits it
	p := zkserver.StartT(t, zkserver.Options{Triglot: true, TickTime: 2 * time.Second})
	before := resident(t, p.PID())
	began := time.Now()
	clients := connect(t, p.Endpoint(), *sessions)
	connected := time.Since(began)
	after := resident(t, p.PID())

	cpu := cpuTime(t, p.PID())
	rounds := pings(t, clients, *pinging)
	cpu = cpuTime(t, p.PID()) - cpu
	pinged := resident(t, p.PID())
	t.Logf("%d sessions: connected in %v; resident %d MiB before, %d MiB with them, %d MiB after %d rounds of pings; "+
		"%v of CPU for %d pings, %v each", *sessions, connected.Round(time.Millisecond), before>>20, after>>20, pinged>>20, rounds,
		cpu, rounds**sessions, cpu/time.Duration(rounds**sessions))
	require.Less(t, pinged, int64(promisedBytes))
	if *sessions < promisedSessions {
		require.Less(t, (pinged-before)/int64(*sessions), int64(promisedBytes/promisedSessions), "bytes of one session")
	}
	mntr, err := p.Ask("mntr")
	require.NoError(t, err)
	require.Contains(t, mntr, fmt.Sprintf("zk_global_sessions\t%d\n", *sessions))
}

// allowFiles sees to it that this process, and those it starts, may have so many files
// open.
func allowFiles(t *testing.T, n uint64) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur, limit.Max = max(limit.Cur, n), max(limit.Max, n)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit), "%d open files are needed: raise ulimit -n", n)
}

// connect opens sessions, many at a time.
func connect(t *testing.T, address string, n int) []net.Conn {
	const workers = 32
	clients, errs := make([]net.Conn, n), make([]error, n)
	t.Cleanup(func() {
		for _, c := range clients {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	each(n, workers, func(i int) { clients[i], errs[i] = open(address) })
	for _, err := range errs {
		require.NoError(t, err)
	}
	return clients
}

// each calls fn for 0 to n-1, in so many goroutines, and waits for them.
func each(n, workers int, fn func(i int)) {
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < n; i += workers {
				fn(i)
			}
		})
	}
	group.Wait()
}

// open opens a session.
func open(address string) (net.Conn, error) {
	nc, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return nil, err
	}
	request := make([]byte, 4+44+1)
	binary.BigEndian.PutUint32(request, uint32(len(request)-4))
	binary.BigEndian.PutUint32(request[4+12:], uint32(sessionTimeout.Milliseconds()))
	binary.BigEndian.PutUint32(request[4+24:], 16)
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // else the write fails
	if _, err := nc.Write(request); err != nil {
		return nc, err
	}
	answer := make([]byte, 4+37)
	if _, err := io.ReadFull(nc, answer); err != nil {
		return nc, err
	}
	if binary.BigEndian.Uint64(answer[4+8:]) == 0 {
		return nc, fmt.Errorf("no session was given: %x", answer)
	}
	return nc, nil
}

var ping = []byte{0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11}

// pings has every client ping in turn, until the time has passed and each has once, and
// returns how often they did.
func pings(t *testing.T, clients []net.Conn, d time.Duration) (rounds int) {
	errs := make([]error, len(clients))
	for began := time.Now(); rounds == 0 || time.Since(began) < d; rounds++ {
		each(len(clients), 8, func(i int) {
			_ = clients[i].SetDeadline(time.Now().Add(time.Minute)) // else the write fails
			if _, errs[i] = clients[i].Write(ping); errs[i] != nil {
				return
			}
			answer := make([]byte, 4+16)
			if _, errs[i] = io.ReadFull(clients[i], answer); errs[i] == nil && !bytes.Equal(answer[4:8], ping[4:8]) {
				errs[i] = fmt.Errorf("the answer to a ping is %x", answer)
			}
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
	}
	return rounds
}

// resident is the memory that a process has, in bytes.
func resident(t *testing.T, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatal("there is no VmRSS")
	return 0
}

// cpuTime is the time that a process has run.
func cpuTime(t *testing.T, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, ok := bytes.Cut(b, []byte(") "))
	require.True(t, ok)
	fields := strings.Fields(string(rest))
	const userHZ = 100
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / userHZ
}
