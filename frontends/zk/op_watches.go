package zk

import (
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opAddWatch      = operation{name: "addWatch", decode: decodeAddWatch, run: (*conn).addWatch, sees: seesAll}
	opSetWatches    = operation{name: "setWatches", decode: decodeSetWatches, run: (*conn).setWatches, sees: seesAll}
	opSetWatches2   = operation{name: "setWatches2", decode: decodeSetWatches2, run: (*conn).setWatches, sees: seesAll}
	opCheckWatches  = operation{name: "checkWatches", decode: decodeWatches, run: (*conn).checkWatches, sees: seesAll}
	opRemoveWatches = operation{name: "removeWatches", decode: decodeWatches, run: (*conn).removeWatches, sees: seesAll}
)

// addedKinds are the watches that each mode adds.
var addedKinds = map[wire.AddWatchMode]watchKind{
	wire.AddPersistent:          watchPersistent,
	wire.AddPersistentRecursive: watchRecursive,
}

func decodeAddWatch(_ *conn, q *request, r *jute.Reader) {
	var m wire.AddWatchRequest
	if m.Decode(r); !m.Mode.Valid() {
		q.refuse(wire.MarshallingError) // ZooKeeper 3.9 WatcherMode.fromZooDef
		return
	}
	q.path, q.body = m.Path, addedKinds[m.Mode]
}

// addWatch adds a watch that stays, to whatever else is watched there. It asks for no
// znode and no right: each event is judged for itself (A6).
func (c *conn) addWatch(q *request) error {
	regs := []registration{{path: q.path, kind: q.body.(watchKind), keep: true}}
	return c.watch(q, regs, func(v core.View) ([]byte, error) {
		return c.frame(c.run.scratch[:0], q, v.Rev(), wire.OK, (&wire.ErrorResponse{Err: wire.OK}).Append), nil
	})
}

// watcherKinds are the watches that each type means.
var watcherKinds = map[wire.WatcherType][]watchKind{
	wire.WatcherChildren:            {watchChild},
	wire.WatcherData:                {watchData},
	wire.WatcherPersistent:          {watchPersistent},
	wire.WatcherPersistentRecursive: {watchRecursive},
	wire.WatcherAny:                 {watchData, watchChild, watchPersistent, watchRecursive},
}

func decodeWatches(_ *conn, q *request, r *jute.Reader) {
	var m wire.WatchesRequest
	if m.Decode(r); !m.Type.Valid() {
		q.refuse(wire.MarshallingError) // ZooKeeper 3.9 FinalRequestProcessor
		return
	}
	q.path, q.body = m.Path, watcherKinds[m.Type]
}

func (c *conn) checkWatches(q *request) error {
	return c.answerFound(q, c.srv.watches.has(&c.sub, q.path, q.body.([]watchKind)))
}

func (c *conn) removeWatches(q *request) error {
	return c.answerFound(q, c.srv.watches.remove(&c.sub, q.path, q.body.([]watchKind)))
}

func (c *conn) answerFound(q *request, found bool) error {
	if !found {
		return c.answer(q, c.shown(), wire.NoWatcher, nil)
	}
	return c.answer(q, c.shown(), wire.OK, nil)
}

func decodeSetWatches(_ *conn, q *request, r *jute.Reader) {
	var m wire.SetWatches
	m.Decode(r)
	q.body = newRewatch(&wire.SetWatches2{SetWatches: m})
}

func decodeSetWatches2(_ *conn, q *request, r *jute.Reader) {
	var m wire.SetWatches2
	m.Decode(r)
	q.body = newRewatch(&m)
}

// rewatch is the watches that a client had on a connection that was lost, to be set
// again.
type rewatch struct {
	since core.Rev
	lists []rewatchList
}

// rewatchList is some that are set, or fire, by one rule.
type rewatchList struct {
	paths  []string
	kind   watchKind
	missed missed
}

// missed says what a watch would have been told of since a revision, zero if nothing;
// exists is false for a znode that is not there. It is nil for watches that are not told
// what they missed.
type missed func(z *core.Znode, exists bool, since core.Rev) wire.EventType

// newRewatch takes the lists in ZooKeeper's order (W3; ZooKeeper 3.9
// DataTree.setWatches).
func newRewatch(m *wire.SetWatches2) *rewatch {
	return &rewatch{core.Rev(m.RelativeZxid), []rewatchList{
		{m.DataWatches, watchData, missedData},
		{m.ExistWatches, watchData, missedCreation},
		{m.ChildWatches, watchChild, missedChild},
		{m.PersistentWatches, watchPersistent, nil},
		{m.PersistentRecursiveWatches, watchRecursive, nil},
	}}
}

func missedData(z *core.Znode, exists bool, since core.Rev) wire.EventType {
	switch {
	case !exists:
		return wire.EventNodeDeleted
	case z.Mzxid > since:
		return wire.EventNodeDataChanged
	}
	return 0
}

func missedCreation(_ *core.Znode, exists bool, _ core.Rev) wire.EventType {
	if exists {
		return wire.EventNodeCreated
	}
	return 0
}

func missedChild(z *core.Znode, exists bool, since core.Rev) wire.EventType {
	switch {
	case !exists:
		return wire.EventNodeDeleted
	case z.Pzxid > since:
		return wire.EventNodeChildrenChanged
	}
	return 0
}

// rewatchChunk is some of the watches of a rewatch.
type rewatchChunk struct {
	regs []registration
	// missed has the rule of each.
	missed []missed
	// last says that there are no more.
	last bool
}

// next cuts the next watches off.
func (w *rewatch) next(c *rewatchChunk) {
	c.regs, c.missed = c.regs[:0], c.missed[:0]
	for len(w.lists) > 0 {
		list := &w.lists[0]
		n := min(len(list.paths), watchChunk-len(c.regs))
		for _, path := range list.paths[:n] {
			c.regs = append(c.regs, registration{path: path, kind: list.kind})
			c.missed = append(c.missed, list.missed)
		}
		if list.paths = list.paths[n:]; len(list.paths) > 0 {
			return
		}
		w.lists = w.lists[1:]
	}
	c.last = true
}

// setWatches sets the watches again and replays the events that were missed, in front of
// the reply (W3). Replays are not judged by ACLs (ZooKeeper 3.9 ServerCnxn.process).
//
// If it cannot, the connection is closed: Java's client does not look at the reply, and
// would think that it watches (ZooKeeper 3.9 ClientCnxn.primeConnection).
//
// A client may have many, and sends them in several requests if it is a Java one; so
// they are set some at a time, and what happens meanwhile to those that are set is
// told, as it is between two requests.
func (c *conn) setWatches(q *request) error {
	w := q.body.(*rewatch)
	var chunk rewatchChunk
	for !chunk.last {
		w.next(&chunk)
		failed, err := c.tryWatch(q, chunk.regs, func(v core.View) ([]byte, error) {
			frames, err := chunk.replay(c.run.scratch[:0], v, w.since)
			if err == nil && chunk.last {
				frames = c.frame(frames, q, v.Rev(), wire.OK, nil)
			}
			return frames, err
		})
		switch {
		case failed != nil:
			return fmt.Errorf("watches cannot be set again: %w", failed)
		case err != nil:
			return err
		}
	}
	return nil
}

// replay makes the events that the watches have missed, as a view has it, and keeps
// those that have not fired. One whose znode etcd's authentication does not show is told
// of nothing and kept: it may be told later, as each event is judged for itself.
func (c *rewatchChunk) replay(frames []byte, v core.View, since core.Rev) ([]byte, error) {
	for i := range c.regs {
		r := &c.regs[i]
		r.keep = true
		if c.missed[i] == nil {
			continue
		}
		z, err := v.Znodes().Znode(r.path, 0)
		if err != nil && verdictOf(err).code == wire.NoAuth {
			continue
		}
		if err != nil && core.KindOf(err) != core.NoNode {
			return nil, err
		}
		if event := c.missed[i](&z, err == nil, since); event != 0 {
			frames = appendEvent(frames, -1, event, r.path)
			r.keep = false
		}
	}
	return frames, nil
}
