package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// What a ZooKeeper is asked for, besides opGet.
const (
	opSet operation = "set"
	// opCreate makes a persistent znode that was not there. It stays.
	opCreate operation = "create"
)

// The numbers of ZooKeeper's requests.
const (
	zkCreate  = 1
	zkGetData = 4
	zkSetData = 5
	zkPing    = 11

	zkNodeExists = -110
	zkPingXid    = 0xfffffffe // −2
)

const (
	// zkParents is how many znodes share those that opCreate makes.
	zkParents = 100
	zkTimeout = 40 * time.Second // ZooKeeper's longest
	zkPingGap = 5 * time.Second
)

// zkLoad is what is asked of one server, whichever the client.
type zkLoad struct {
	*data
	paths   []string // of the keys
	filled  atomic.Int64
	created atomic.Int64
}

func newZKLoad(d *data) *zkLoad {
	l := &zkLoad{data: d, paths: make([]string, len(d.keys))}
	for i, key := range d.keys {
		l.paths[i] = "/" + string(key)
	}
	return l
}

// next is the path that a fill is to write next, anyPath and anyValue what the
// others take.
func (l *zkLoad) next() string { return l.paths[int(l.filled.Add(1)-1)%len(l.paths)] }

func (l *zkLoad) anyPath(random *rand.Rand) string  { return l.paths[random.IntN(len(l.paths))] }
func (l *zkLoad) anyValue(random *rand.Rand) []byte { return l.values[random.IntN(len(l.values))] }

// appendNew appends a path that has not been, below the i-th parent.
func (l *zkLoad) appendNew(b []byte, i int) []byte {
	return fmt.Appendf(b, "/create/%02d/%010d", i%zkParents, l.created.Add(1))
}

// parents are the znodes below which others are made, the root's children first.
func (l *zkLoad) parents() []string {
	parents := []string{"/bench", "/create"}
	for i := range zkParents {
		parents = append(parents, fmt.Sprintf("/create/%02d", i))
	}
	return parents
}

// zkClient has the sessions with one server. A goroutine keeps them alive.
type zkClient struct {
	*zkLoad
	conns []*zkConn

	cancel context.CancelFunc
	pinger sync.WaitGroup
}

// newZKClient opens the sessions and makes the parents of the znodes to come.
func newZKClient(ctx context.Context, endpoint string, conns int, d *data) (_ client, err error) {
	c := &zkClient{zkLoad: newZKLoad(d)}
	pinging, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for range conns {
		conn, err := dialZK(ctx, endpoint)
		if err != nil {
			return nil, err
		}
		c.conns = append(c.conns, conn)
	}
	var call zkCall
	for _, parent := range c.parents() {
		call.request = appendCreate(call.reset(zkCreate), parent, nil)
		if err := c.conns[0].do(&call); err != nil && !errors.Is(err, zkError(zkNodeExists)) {
			return nil, err
		}
	}
	c.pinger.Go(func() { c.ping(pinging) })
	return c, nil
}

// ping keeps the sessions alive while other servers are measured.
func (c *zkClient) ping(ctx context.Context) {
	ticker := time.NewTicker(zkPingGap)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, conn := range c.conns {
			var call zkCall
			call.request = call.reset(zkPing)
			_ = conn.do(&call) // a broken connection tells whoever calls next
		}
	}
}

func (c *zkClient) close() error {
	c.cancel()
	c.pinger.Wait()
	for _, conn := range c.conns {
		conn.close()
	}
	return nil
}

func (c *zkClient) caller(op operation, i int, random *rand.Rand) (caller, error) {
	conn, call := c.conns[i%len(c.conns)], &zkCall{}
	var request func()
	switch op {
	case opFill:
		request = func() {
			call.request = appendCreate(call.reset(zkCreate), c.next(), c.values[0])
		}
	case opCreate:
		request = func() {
			call.path = c.appendNew(call.path[:0], i)
			call.request = appendCreate(call.reset(zkCreate), call.path, c.anyValue(random))
		}
	case opSet:
		request = func() {
			b := appendField(call.reset(zkSetData), c.anyPath(random))
			b = appendField(b, c.anyValue(random))
			call.request = binary.BigEndian.AppendUint32(b, 0xffffffff) // any version
		}
	case opGet:
		request = func() { call.request = append(appendField(call.reset(zkGetData), c.anyPath(random)), 0) }
	default:
		return nil, fmt.Errorf("ZooKeeper has no operation %q", op)
	}
	return func(context.Context) error {
		request()
		return conn.do(call)
	}, nil
}

// appendField appends a string or a buffer as jute does.
func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}

// appendCreate appends the body of a create of a persistent znode that is open to
// the world.
func appendCreate[T string | []byte](b []byte, path T, value []byte) []byte {
	b = appendField(b, path)
	b = appendField(b, value)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 31)
	b = appendField(b, "world")
	b = appendField(b, "anyone")
	return binary.BigEndian.AppendUint32(b, 0)
}
