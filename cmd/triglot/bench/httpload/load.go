package httpload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
)

// Config says what a load works with.
type Config struct {
	// Endpoints are host:port; the connections are spread over them in turn.
	Endpoints   []string
	Connections int
	Keys        *keyspace.Space
	ReadShare   float64
}

// Fill is the load that writes every key once.
const Fill = "fill"

// kind is a load by its name.
type kind struct {
	needsKeys bool
	client    func(l *Load, i int, random *rand.Rand) drive.Call
}

var kinds = map[string]kind{
	Fill:  {client: (*Load).filler},
	"put": {client: (*Load).putter},
	"get": {needsKeys: true, client: (*Load).getter},
	"mix": {needsKeys: true, client: (*Load).mixer},
}

// Load is one load. Its clients may be used at once; those that find no connection free
// wait for one.
type Load struct {
	Config
	kind kind
	free chan *conn
	fill *drive.Filler
}

// New connects to the servers.
func New(ctx context.Context, name string, c Config) (*Load, error) {
	k, ok := kinds[name]
	if !ok {
		return nil, fmt.Errorf("no load over HTTP is called %q", name)
	}
	l := &Load{Config: c, kind: k, free: make(chan *conn, c.Connections), fill: drive.NewFiller(c.Keys.Count())}
	for i := range c.Connections {
		conn := &conn{endpoint: c.Endpoints[i%len(c.Endpoints)]}
		if err := conn.dial(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.free <- conn
	}
	return l, nil
}

// Delivers is drive.Load's.
func (l *Load) Delivers() bool { return false }

// Prepare is drive.Load's.
func (l *Load) Prepare(context.Context) error { return nil }

// Filled is drive.Load's.
func (l *Load) Filled(ctx context.Context) (bool, error) {
	if !l.kind.needsKeys {
		return true, nil
	}
	x := &exchange{}
	x.body = fmt.Appendf(nil, `{"key":"%s","range_end":"%s","count_only":true}`,
		base64.StdEncoding.EncodeToString(l.Keys.AppendKey(nil, 0)), base64.StdEncoding.EncodeToString(l.Keys.End()))
	err := l.post(ctx, x, "/v3/kv/range")
	if err != nil || !bytes.Contains(x.answer, fmt.Appendf(nil, `"count":"%d"`, l.Keys.Count())) {
		return false, err
	}
	err = l.get(ctx, x, l.Keys.Count()-1)
	if errors.Is(err, errNoKey) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var found struct{ Kvs []struct{ Value []byte } }
	if err := json.Unmarshal(x.answer, &found); err != nil {
		return false, fmt.Errorf("cannot read an answer: %w", err)
	}
	return len(found.Kvs) == 1 && len(found.Kvs[0].Value) == l.Keys.ValueBytes(), nil
}

// Client is drive.Load's.
func (l *Load) Client(i int, random *rand.Rand) (drive.Call, error) {
	return l.kind.client(l, i, random), nil
}

// Close is drive.Load's. Nobody calls any more.
func (l *Load) Close() error {
	close(l.free)
	var errs []error
	for c := range l.free {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// exchange is the room for a client's requests and answers.
type exchange struct{ key, body, request, answer []byte }

var errNoKey = errors.New("a get found no key")

func (l *Load) put(ctx context.Context, x *exchange, i int, value []byte) error {
	x.key = l.Keys.AppendKey(x.key[:0], i)
	x.body = append(x.body[:0], `{"key":"`...)
	x.body = base64.StdEncoding.AppendEncode(x.body, x.key)
	x.body = append(x.body, `","value":"`...)
	x.body = base64.StdEncoding.AppendEncode(x.body, value)
	x.body = append(x.body, `"}`...)
	return l.post(ctx, x, "/v3/kv/put")
}

func (l *Load) get(ctx context.Context, x *exchange, i int) error {
	x.key = l.Keys.AppendKey(x.key[:0], i)
	x.body = append(x.body[:0], `{"key":"`...)
	x.body = base64.StdEncoding.AppendEncode(x.body, x.key)
	x.body = append(x.body, `"}`...)
	if err := l.post(ctx, x, "/v3/kv/range"); err != nil {
		return err
	}
	if !bytes.Contains(x.answer, []byte(`"kvs":[{`)) {
		return errNoKey
	}
	return nil
}

// post makes a request on a connection that is free.
func (l *Load) post(ctx context.Context, x *exchange, path string) error {
	var c *conn
	select {
	case c = <-l.free:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := c.post(ctx, x, path)
	l.free <- c
	return err
}

func (l *Load) filler(_ int, random *rand.Rand) drive.Call {
	x := &exchange{}
	return func(ctx context.Context, _ time.Time) error {
		return l.fill.Next(ctx, func(n int) error { return l.put(ctx, x, n, l.Keys.Value(random)) })
	}
}

func (l *Load) putter(_ int, random *rand.Rand) drive.Call {
	x := &exchange{}
	return func(ctx context.Context, _ time.Time) error {
		return l.put(ctx, x, l.Keys.Any(random), l.Keys.Value(random))
	}
}

func (l *Load) getter(_ int, random *rand.Rand) drive.Call {
	x := &exchange{}
	return func(ctx context.Context, _ time.Time) error { return l.get(ctx, x, l.Keys.Any(random)) }
}

func (l *Load) mixer(i int, random *rand.Rand) drive.Call {
	read, write := l.getter(i, random), l.putter(i, random)
	return func(ctx context.Context, start time.Time) error {
		if random.Float64() < l.ReadShare {
			return read(ctx, start)
		}
		return write(ctx, start)
	}
}

// conn is one connection, made again after an error. It is for one caller at a time.
type conn struct {
	endpoint string
	nc       net.Conn
	in       *bufio.Reader
}

// patience is how long a server may take to accept a connection, and to answer.
const patience = time.Minute

func (c *conn) dial(ctx context.Context) error {
	dialer := net.Dialer{Timeout: patience}
	nc, err := dialer.DialContext(ctx, "tcp", c.endpoint)
	if err != nil {
		return err
	}
	c.nc, c.in = nc, bufio.NewReaderSize(nc, 16<<10)
	return nil
}

func (c *conn) close() error {
	if c.nc == nil {
		return nil
	}
	err := c.nc.Close()
	c.nc = nil
	return err
}

// post makes a request and reads its answer.
func (c *conn) post(ctx context.Context, x *exchange, path string) error {
	if c.nc == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	keep := false
	nc := c.nc // the hook may run when close has taken it from c
	// The hook ends what waits.
	unhook := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		keep = unhook() && keep
		if !keep {
			_ = c.close() // the error to tell is err
		}
	}()
	b := append(append(append(x.request[:0], "POST "...), path...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, c.endpoint...), "\r\nContent-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(x.body)), 10), "\r\n\r\n"...)
	b = append(b, x.body...)
	x.request = b
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if ctx.Err() != nil { // the hook may have run before, and its deadline is undone
		return context.Cause(ctx)
	}
	if _, err := nc.Write(x.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	answer := bytes.NewBuffer(x.answer[:0])
	_, err = io.Copy(answer, response.Body)
	x.answer = answer.Bytes()
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	keep = !response.Close
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(x.answer[:min(len(x.answer), 200)]))
	}
	return nil
}
