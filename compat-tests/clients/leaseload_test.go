package clients

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestLeaseLoad has many leases, each with a key, kept alive over a few streams, and
// then left to expire in waves, while puts go on. It reports what the puts and the
// renewals took and how late the last key of a wave went. LEASES sets the number of
// leases (2000 by default; the target of the issue is 100 000):
//
//	LEASES=100000 go test ./clients -run TestLeaseLoad -v -timeout 10m
func TestLeaseLoad(t *testing.T) {
	leases := 2000
	if text := os.Getenv("LEASES"); text != "" {
		var err error
		leases, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	p, err := server.Start(t.Context(), server.Options{Target: target, EtcdMode: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	l := &leaseLoad{t: t, p: p, ctx: ctx, leases: leases}
	l.dial()
	l.run()
}

const (
	loadStreams = 8
	loadWaves   = 4
	wavePause   = time.Second // between the ends of two waves
)

// leaseLoad is one run. Lease i has id i+1, belongs to wave i%loadWaves and is renewed
// over stream i%loadStreams.
type leaseLoad struct {
	t      *testing.T
	p      *server.Process
	ctx    context.Context
	leases int
	conns  []*grpc.ClientConn

	cpu float64 // at the last report
	at  time.Time
}

func (l *leaseLoad) dial() {
	for range loadStreams {
		conn, err := grpc.NewClient("passthrough:///"+l.p.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(l.t, err)
		l.t.Cleanup(func() { require.NoError(l.t, conn.Close()) })
		l.conns = append(l.conns, conn)
	}
}

// baseTTL lasts until all leases are granted and have been renewed once.
func (l *leaseLoad) baseTTL() int64 { return 2 + int64(l.leases/2500) }

func (l *leaseLoad) ttl(i int) int64 {
	return l.baseTTL() + int64(i%loadWaves)*int64(wavePause/time.Second)
}

func (l *leaseLoad) run() {
	l.report("start", nil)
	quiet := l.putting(func() { <-time.After(2 * time.Second) }) // a span to measure, not a wait
	l.report("puts alone", map[string][]time.Duration{"put": quiet})

	var granted []time.Duration
	puts := l.putting(func() { granted = l.grant() })
	l.report("grant", map[string][]time.Duration{"put": puts, "grant": granted})

	renewed := make([]time.Time, l.leases)
	var renewals []time.Duration
	puts = l.putting(func() { renewals = l.renewAll(renewed) })
	require.False(l.t, l.t.Failed(), "not all leases are there")
	l.report("keep alive", map[string][]time.Duration{"put": puts, "keepalive": renewals})

	puts = l.putting(func() { <-time.After(time.Until(l.firstEnd(renewed))) }) // nothing else happens until then
	l.report("leases are there", map[string][]time.Duration{"put": puts})
	var late []time.Duration
	puts = l.putting(func() { late = l.expire(renewed) })
	l.report("expire", map[string][]time.Duration{"put": puts, "late": late})
	latest := 10 * time.Second
	if l.p.Target() == server.Etcd {
		latest += 2 * time.Duration(l.leases) * time.Millisecond // it revokes 1000 leases a second at most (T-63)
	}
	require.Less(l.t, slices.Max(late), latest, "a key outlived its lease")
	require.GreaterOrEqual(l.t, slices.Min(late), -time.Second, "a lease ended before its time")

	list, err := pb.NewLeaseClient(l.conns[0]).LeaseLeases(l.ctx, &pb.LeaseLeasesRequest{})
	require.NoError(l.t, err)
	require.Empty(l.t, list.Leases)
}

// putting has two clients put while f runs, and returns what each put took.
func (l *leaseLoad) putting(f func()) []time.Duration {
	var done atomic.Bool
	var wg sync.WaitGroup
	took := make([][]time.Duration, 2)
	for c := range took {
		wg.Go(func() {
			kv := pb.NewKVClient(l.conns[c])
			for !done.Load() {
				start := time.Now()
				_, err := kv.Put(l.ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "load/%d", c), Value: make([]byte, 256)})
				if err != nil {
					l.t.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(start))
			}
		})
	}
	f()
	done.Store(true)
	wg.Wait()
	return slices.Concat(took...)
}

// grant makes all leases with their keys.
func (l *leaseLoad) grant() []time.Duration {
	const clients = 64
	took := make([]time.Duration, l.leases)
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			conn := l.conns[c%loadStreams]
			for {
				i := int(next.Add(1)) - 1
				if i >= l.leases {
					return
				}
				start := time.Now()
				_, err := pb.NewLeaseClient(conn).LeaseGrant(l.ctx, &pb.LeaseGrantRequest{ID: int64(i + 1), TTL: l.ttl(i) + l.baseTTL()})
				took[i] = time.Since(start)
				if err == nil {
					_, err = pb.NewKVClient(conn).Put(l.ctx, &pb.PutRequest{Key: leaseKey(i), Lease: int64(i + 1)})
				}
				if err != nil {
					l.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return took
}

func leaseKey(i int) []byte { return fmt.Appendf(nil, "lease/%08d", i) }

// renewAll renews all leases three times, each stream with up to 64 requests under way.
func (l *leaseLoad) renewAll(renewed []time.Time) []time.Duration {
	took := make([][]time.Duration, loadStreams)
	var wg sync.WaitGroup
	for s := range loadStreams {
		wg.Go(func() {
			stream, err := pb.NewLeaseClient(l.conns[s]).LeaseKeepAlive(l.ctx)
			if err != nil {
				l.t.Error(err)
				return
			}
			sent := make(chan time.Time, 64)
			go func() {
				defer close(sent)
				for range 3 {
					for i := s; i < l.leases; i += loadStreams {
						sent <- time.Now()
						if stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(i + 1)}) != nil {
							return
						}
					}
				}
				_ = stream.CloseSend()
			}()
			for start := range sent {
				resp, err := stream.Recv()
				if err != nil {
					l.t.Error(err)
					return
				}
				i := int(resp.ID) - 1
				if resp.TTL != l.ttl(i)+l.baseTTL() {
					l.t.Errorf("lease %d has %d s", resp.ID, resp.TTL)
					return
				}
				took[s] = append(took[s], time.Since(start))
				renewed[i] = time.Now()
			}
		})
	}
	wg.Wait()
	return slices.Concat(took...)
}

// ends is when a lease that was renewed at a time runs out.
func (l *leaseLoad) ends(i int, renewed time.Time) time.Time {
	return renewed.Add(time.Duration(l.ttl(i)+l.baseTTL()) * time.Second)
}

func (l *leaseLoad) firstEnd(renewed []time.Time) time.Time {
	first := l.ends(0, renewed[0])
	for i := range renewed {
		if end := l.ends(i, renewed[i]); end.Before(first) {
			first = end
		}
	}
	return first
}

// expire waits until all keys are gone and returns how late each went.
func (l *leaseLoad) expire(renewed []time.Time) []time.Duration {
	watch, err := pb.NewWatchClient(l.conns[loadStreams-1]).Watch(l.ctx, grpc.MaxCallRecvMsgSize(1<<30))
	require.NoError(l.t, err)
	require.NoError(l.t, watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("lease/"), RangeEnd: []byte("lease0"), StartRevision: 1},
	}}))
	late := make([]time.Duration, 0, l.leases)
	for len(late) < l.leases {
		resp, err := watch.Recv()
		require.NoError(l.t, err)
		now := time.Now()
		for _, e := range resp.Events {
			if e.Type == mvccpb.Event_DELETE {
				i, err := strconv.Atoi(strings.TrimPrefix(string(e.Kv.Key), "lease/"))
				require.NoError(l.t, err)
				late = append(late, now.Sub(l.ends(i, renewed[i])))
			}
		}
	}
	return late
}

// report logs a phase: what things took, and the share of a CPU that the server had.
func (l *leaseLoad) report(phase string, took map[string][]time.Duration) {
	now, cpu := time.Now(), cpuSeconds(l.t, l.p.PID())
	line := fmt.Sprintf("%s %s, %d leases", l.p.Target(), phase, l.leases)
	if !l.at.IsZero() {
		line += fmt.Sprintf(": %.1f s, CPU %.2f", now.Sub(l.at).Seconds(), (cpu-l.cpu)/now.Sub(l.at).Seconds())
	}
	for _, name := range []string{"put", "grant", "keepalive", "late"} {
		if all := slices.Sorted(slices.Values(took[name])); len(all) > 0 {
			at := func(share float64) time.Duration {
				return all[int(share*float64(len(all)-1))].Round(10 * time.Microsecond)
			}
			line += fmt.Sprintf("; %s n %d p50 %v p99 %v max %v", name, len(all), at(0.5), at(0.99), at(1))
		}
	}
	l.t.Log(line)
	l.at, l.cpu = now, cpu
}

// cpuSeconds is the CPU time that a process has had.
func cpuSeconds(t *testing.T, pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if os.IsNotExist(err) {
		return 0 // not Linux
	}
	require.NoError(t, err)
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const ticksPerSecond = 100
	var ticks float64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseFloat(f, 64)
		require.NoError(t, err)
		ticks += n
	}
	return ticks / ticksPerSecond
}
