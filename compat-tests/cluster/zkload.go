package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

var openACL = zk.WorldACL(zk.PermAll)

// mute is the logger of clients whose servers come and go.
type mute struct{}

func (mute) Printf(string, ...any) {}

// zkConnect makes a client of go-zookeeper's, which gives no server up too late, and waits
// for its session.
func zkConnect(ctx context.Context, timeout time.Duration, endpoints ...string) (*zk.Conn, <-chan zk.Event, error) {
	dial := ensemble.DialImpatient(timeout / time.Duration(max(3, len(endpoints))))
	conn, events, err := zk.Connect(endpoints, timeout, zk.WithLogger(mute{}), zk.WithDialer(dial))
	if err != nil {
		return nil, nil, err
	}
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return conn, events, nil
			}
		case <-ctx.Done():
			conn.Close()
			return nil, nil, fmt.Errorf("connect to %v: %w", endpoints, ctx.Err())
		}
	}
}

// zkWorker is a client of ZooKeeper's protocol.
type zkWorker struct {
	*worker
	conn *zk.Conn
	// unsynced says that a get without sync must not go back within a session.
	shown   map[string]Row
	session int64
}

// run makes requests until the context ends.
func (w *zkWorker) run(ctx context.Context) {
	w.shown = map[string]Row{}
	for ctx.Err() == nil {
		r := w.choose()
		called := w.rec.now()
		if r.Call == Get && w.random.IntN(3) == 0 {
			w.getUnsynced(r.Key)
			w.think(ctx)
			continue
		}
		a := w.do(r)
		w.note(called, r, a)
		if a.Outcome == Done && r.Call == Get {
			w.remember(r.Key, a.Row)
		}
		w.think(ctx)
	}
}

func (w *zkWorker) choose() Request {
	r := Request{Key: mount + w.znode(), Version: anyVersion}
	seen := w.seen[r.Key]
	switch choice := w.random.IntN(10); {
	case choice < 4:
		r.Call = Get
	case choice < 6 || seen.Value == "":
		r.Call, r.Value = Create, w.value()
	case choice < 9:
		r.Call, r.Value = Set, w.value()
	default:
		r.Call = Delete
	}
	if (r.Call == Set || r.Call == Delete) && w.random.IntN(2) == 0 {
		r.Version = seen.Version
	}
	return r
}

func (w *zkWorker) do(r Request) Answer {
	path := r.Key[len(mount):]
	var stat *zk.Stat
	var data []byte
	var err error
	row := Row{Rev: unknownNumber, Version: unknownNumber}
	switch r.Call {
	case Create:
		_, err = w.conn.Create(path, []byte(r.Value), 0, openACL)
		row.Version = 0
	case Set:
		stat, err = w.conn.Set(path, []byte(r.Value), int32(r.Version))
	case Delete:
		err = w.conn.Delete(path, int32(r.Version))
	default:
		if _, err = w.conn.Sync(contested); err == nil {
			data, stat, err = w.conn.Get(path)
		}
	}
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return Answer{Outcome: Missing}
	case errors.Is(err, zk.ErrNodeExists):
		return Answer{Outcome: Exists}
	case errors.Is(err, zk.ErrBadVersion):
		return Answer{Outcome: Refused}
	case err != nil:
		return Answer{Outcome: Unknown}
	}
	if stat != nil {
		row = Row{string(data), stat.Mzxid, int64(stat.Version)}
	}
	return Answer{Done, row}
}

// getUnsynced reads what the server has: never older than what this session has seen.
func (w *zkWorker) getUnsynced(key string) {
	data, stat, err := w.conn.Get(key[len(mount):])
	if err != nil {
		return
	}
	w.lastOK.Store(w.rec.now())
	w.remember(key, Row{string(data), stat.Mzxid, int64(stat.Version)})
}

func (w *zkWorker) remember(key string, row Row) {
	if id := w.conn.SessionID(); id != w.session {
		w.session = id
		clear(w.shown)
	}
	if old := w.shown[key]; row.Rev < old.Rev {
		w.rec.find("client %d: its session %x has seen %v of %s, and then %v", w.id, w.session, old, key, row)
	}
	w.shown[key] = row
}
