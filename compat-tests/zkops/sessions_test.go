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
	"sync/atomic"
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

// The promise is for 20 000 sessions; what fewer take, beside what the server takes
// without any, is taken as many times.
const (
	promisedSessions = 20_000
	promisedBytes    = 1 << 30
	spareFiles       = 2000 // the server keeps 1500 for itself
	sessionTimeout   = 40 * time.Second
)

// 20 000 idle sessions on one member stay within 1 GiB, and their pings are answered.
func TestIdleSessions(t *testing.T) {
	*sessions = min(*sessions, allowFiles(t, *sessions+spareFiles)-spareFiles)
	p := zkserver.StartT(t, zkserver.Options{Triglot: true, TickTime: 2 * time.Second})
	before := resident(t, p.PID())
	began := time.Now()
	c := start(t, p.Endpoint(), *sessions)
	c.connected.Wait()
	c.require(t)
	took, after := time.Since(began), resident(t, p.PID())

	cpu, sent := cpuTime(t, p.PID()), c.pings.Load()
	<-time.After(*pinging) // it is measured for so long
	cpu, sent = cpuTime(t, p.PID())-cpu, c.pings.Load()-sent
	c.require(t)
	pinged := resident(t, p.PID())
	t.Logf("%d sessions: connected in %v; resident %d MiB before, %d MiB with them, %d MiB after %v of pings; "+
		"%v of CPU for %d pings", *sessions, took.Round(time.Millisecond), before>>20, after>>20, pinged>>20, *pinging, cpu, sent)
	all := before + (pinged-before)*promisedSessions/int64(*sessions)
	require.Less(t, all, int64(promisedBytes), "that is what 20 000 sessions would take")
	mntr, err := p.Ask("mntr")
	require.NoError(t, err)
	require.Contains(t, mntr, fmt.Sprintf("zk_global_sessions\t%d\n", *sessions))
	require.Contains(t, mntr, "zk_connection_revalidate_count\t0\n")
}

// allowFiles has this process, and those it starts, open so many files, or as many as it
// may, and returns how many that is.
func allowFiles(t *testing.T, n int) int {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if limit.Max < uint64(n) {
		raised := syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			return n
		}
		t.Logf("a process may open %d files here, not %d: there are fewer sessions", limit.Max, n)
		n = int(limit.Max)
	}
	limit.Cur = max(limit.Cur, uint64(n))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	return n
}

// crowd is many clients that do nothing but ping, each as often as Java's does.
type crowd struct {
	address   string
	connected sync.WaitGroup
	pings     atomic.Int64
	failed    atomic.Pointer[error]
}

const (
	crowdWorkers = 32
	pingInterval = sessionTimeout / 3
)

// start has n clients connect and ping, until the test ends.
func start(t *testing.T, address string, n int) *crowd {
	c := &crowd{address: address}
	done := make(chan struct{})
	var workers sync.WaitGroup
	for w := range crowdWorkers {
		c.connected.Add(1)
		workers.Go(func() { c.work((n+w)/crowdWorkers, done) })
	}
	t.Cleanup(func() {
		close(done)
		workers.Wait()
	})
	return c
}

// require fails the test if a client has failed.
func (c *crowd) require(t *testing.T) {
	t.Helper()
	if err := c.failed.Load(); err != nil {
		require.NoError(t, *err)
	}
}

// work is what one worker does: it connects its clients one by one, and has all of them
// ping whenever it is time.
func (c *crowd) work(n int, done <-chan struct{}) {
	var clients []net.Conn
	defer func() {
		for _, nc := range clients {
			_ = nc.Close() // it is over
		}
	}()
	connected := sync.OnceFunc(c.connected.Done)
	defer connected()
	due := time.NewTicker(pingInterval)
	defer due.Stop()
	last := time.Now()
	for {
		if len(clients) == n {
			connected()
			select {
			case <-due.C:
			case <-done:
				return
			}
		} else {
			began := time.Now()
			nc, err := open(c.address)
			if err != nil {
				err = fmt.Errorf("client %d of a worker, %v after it began to connect: %w", len(clients), time.Since(began), err)
				c.failed.CompareAndSwap(nil, &err)
				return
			}
			clients = append(clients, nc)
			select {
			case <-due.C:
			case <-done:
				return
			default:
				continue
			}
		}
		began, since := time.Now(), time.Since(last)
		for i, nc := range clients {
			if err := c.ping(nc); err != nil {
				err = fmt.Errorf("client %d of a worker, %v after its last ping: %w", i, time.Since(began)+since, err)
				c.failed.CompareAndSwap(nil, &err)
				return
			}
		}
		last = time.Now()
	}
}

var ping = []byte{0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11}

func (c *crowd) ping(nc net.Conn) error {
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // else the write fails
	if _, err := nc.Write(ping); err != nil {
		return err
	}
	answer := make([]byte, 4+16)
	if _, err := io.ReadFull(nc, answer); err != nil {
		return err
	}
	if !bytes.Equal(answer[4:8], ping[4:8]) {
		return fmt.Errorf("the answer to a ping is %x", answer)
	}
	c.pings.Add(1)
	return nil
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
