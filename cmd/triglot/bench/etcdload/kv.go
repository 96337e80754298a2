package etcdload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
)

func (l *Load) filler(i int, random *rand.Rand) drive.Call {
	conn, req, ans, key := l.conn(i), &message{}, &revAnswer{}, []byte(nil)
	return func(ctx context.Context, _ time.Time) error {
		return l.fill.Next(ctx, func(n int) error {
			key = l.Keys.AppendKey(key[:0], n)
			req.b = appendPut(req.b[:0], key, l.Keys.Value(random))
			return conn.Invoke(ctx, methodPut, req, ans)
		})
	}
}

func (l *Load) putter(i int, random *rand.Rand) drive.Call {
	conn, req, ans, key := l.conn(i), &message{}, &revAnswer{}, []byte(nil)
	return func(ctx context.Context, _ time.Time) error {
		key = l.Keys.AppendKey(key[:0], l.Keys.Any(random))
		req.b = appendPut(req.b[:0], key, l.Keys.Value(random))
		return conn.Invoke(ctx, methodPut, req, ans)
	}
}

func (l *Load) getter(i int, random *rand.Rand) drive.Call { return l.reader(i, random, false) }

func (l *Load) localGetter(i int, random *rand.Rand) drive.Call { return l.reader(i, random, true) }

// reader gets one key that is there.
func (l *Load) reader(i int, random *rand.Rand, serializable bool) drive.Call {
	conn, req, ans := l.conn(i), &message{}, &rangeAnswer{}
	get := rangeRequest{serializable: serializable}
	return func(ctx context.Context, _ time.Time) error {
		get.key = l.Keys.AppendKey(get.key[:0], l.Keys.Any(random))
		req.b = get.append(req.b[:0])
		ans.reset()
		err := conn.Invoke(ctx, methodRange, req, ans)
		return expect(err, "rows of one key", ans.rows, 1)
	}
}

// expect is an error if there is none and a number is not what it must be.
func expect(err error, what string, got, want int64) error {
	if err == nil && got != want {
		return fmt.Errorf("got %d %s instead of %d", got, what, want)
	}
	return err
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

// rangeFrom is a range that begins with any key that has as many behind it as are asked for,
// and how many rows it has.
func (l *Load) rangeFrom(random *rand.Rand, r *rangeRequest) (rows int64) {
	first, keys := 0, l.Keys.Count()
	rows = int64(keys)
	if l.Limit > 0 && l.Limit < rows {
		rows = l.Limit
		first = random.IntN(keys - int(l.Limit) + 1)
	}
	r.key, r.end, r.limit = l.Keys.AppendKey(r.key[:0], first), l.Keys.End(), l.Limit
	return rows
}

func (l *Load) ranger(i int, random *rand.Rand) drive.Call {
	conn, req, ans := l.conn(i), &message{}, &rangeAnswer{}
	var list rangeRequest
	return func(ctx context.Context, _ time.Time) error {
		rows := l.rangeFrom(random, &list)
		req.b = list.append(req.b[:0])
		ans.reset()
		err := conn.Invoke(ctx, methodRange, req, ans)
		return expect(err, "rows", ans.rows, rows)
	}
}

func (l *Load) counter(i int, _ *rand.Rand) drive.Call {
	conn, ans := l.conn(i), &rangeAnswer{}
	count := rangeRequest{key: l.Keys.AppendKey(nil, 0), end: l.Keys.End(), countOnly: true}
	req := &message{count.append(nil)}
	return func(ctx context.Context, _ time.Time) error {
		ans.reset()
		err := conn.Invoke(ctx, methodRange, req, ans)
		return expect(err, "keys", ans.count, int64(l.Keys.Count()))
	}
}

var rangeStreamDesc = &grpc.StreamDesc{ServerStreams: true}

// stream makes one RangeStream.
func stream(ctx context.Context, conn *grpc.ClientConn, req *message, ans *rangeAnswer) error {
	ans.reset()
	s, err := conn.NewStream(ctx, rangeStreamDesc, methodRangeStream)
	if err != nil {
		return err
	}
	if err := s.SendMsg(req); err != nil && !errors.Is(err, io.EOF) { // RecvMsg says why
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		if err := s.RecvMsg(chunkAnswer{ans}); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// probeStream finds out whether the server has the method, which is of etcd 3.7.
func (l *Load) probeStream(ctx context.Context) error {
	one := rangeRequest{key: l.Keys.AppendKey(nil, 0), limit: 1}
	err := stream(ctx, l.conns[0], &message{one.append(nil)}, &rangeAnswer{})
	if status.Code(err) == codes.Unimplemented {
		l.Note("the server has no RangeStream: Range is measured instead")
		l.unary = true
		return nil
	}
	return err
}

func (l *Load) streamer(i int, random *rand.Rand) drive.Call {
	if l.unary {
		return l.ranger(i, random)
	}
	conn, req, ans := l.conn(i), &message{}, &rangeAnswer{}
	var list rangeRequest
	return func(ctx context.Context, _ time.Time) error {
		rows := l.rangeFrom(random, &list)
		req.b = list.append(req.b[:0])
		err := stream(ctx, conn, req, ans)
		return expect(err, "rows", ans.rows, rows)
	}
}

// appendDoomed is the key of the i-th that a delete load deletes. They are not of the key
// space, which stays whole.
func (l *Load) appendDoomed(b []byte, i int) []byte {
	return keyspace.AppendNumber(append(append(b, l.Keys.Prefix()...), "delete/"...), i)
}

// doomed is how many keys a delete load deletes: each call one.
func (l *Load) doomed() int {
	if l.Ops > 0 {
		return int(l.Ops)
	}
	return l.Keys.Count()
}

// preparers is how many calls prepare a load at once.
const preparers = 500

func (l *Load) fillDoomed(ctx context.Context) error {
	value := l.Keys.Value(rand.New(rand.NewPCG(0, 0)))
	return drive.Each(ctx, l.doomed(), preparers, func(ctx context.Context, caller, i int) error {
		req := &message{appendPut(nil, l.appendDoomed(nil, i), value)}
		return l.conn(caller).Invoke(ctx, methodPut, req, &revAnswer{})
	})
}

func (l *Load) deleter(i int, _ *rand.Rand) drive.Call {
	conn, req, ans, key := l.conn(i), &message{}, &numbersAnswer{}, []byte(nil)
	return func(ctx context.Context, _ time.Time) error {
		n := l.deleted.Add(1) - 1
		if n >= int64(l.doomed()) {
			return drive.Exhausted()
		}
		key = l.appendDoomed(key[:0], int(n))
		req.b = appendDelete(req.b[:0], key)
		err := conn.Invoke(ctx, methodDelete, req, ans)
		return expect(err, "deleted keys", ans.second, 1)
	}
}
