package zk

import (
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	opSetWatches    = operation{name: "setWatches", decode: decodeSetWatches, run: (*conn).setWatches, sees: seesAll}
	opCheckWatches  = operation{name: "checkWatches", decode: decodeWatches, run: (*conn).checkWatches, sees: seesPath}
	opRemoveWatches = operation{name: "removeWatches", decode: decodeWatches, run: (*conn).removeWatches, sees: seesPath}
)

// watcherKinds are the watches that each type means. Those that stay do not exist.
var watcherKinds = map[wire.WatcherType]watchKind{
	wire.WatcherChildren: watchChild,
	wire.WatcherData:     watchData,
	wire.WatcherAny:      watchAny,
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
	return c.answerFound(q, c.srv.watches.has(&c.sub, q.path, q.body.(watchKind)))
}

func (c *conn) removeWatches(q *request) error {
	return c.answerFound(q, c.srv.watches.remove(&c.sub, q.path, q.body.(watchKind)))
}

func (c *conn) answerFound(q *request, found bool) error {
	if !found {
		return c.answer(q, c.shown(), wire.NoWatcher, nil)
	}
	return c.answer(q, c.shown(), wire.OK, nil)
}

func decodeSetWatches(_ *conn, q *request, r *jute.Reader) {
	m := new(wire.SetWatches)
	m.Decode(r)
	q.body = m
}

// setWatches sets the watches of a connection that was lost, and replays the
// events that were missed, in front of the reply (W3).
func (c *conn) setWatches(q *request) error {
	m := q.body.(*wire.SetWatches)
	var all []registration
	for kinds, paths := range map[watchKind][][]string{
		watchData: {m.DataWatches, m.ExistWatches}, watchChild: {m.ChildWatches},
	} {
		for _, list := range paths {
			for _, path := range list {
				all = append(all, registration{path, kinds})
			}
		}
	}
	return c.watch(q, all, func(v core.View) (frames []byte, keep []registration, err error) {
		return c.replay(q, m, v)
	})
}

// replay makes the replayed events and the reply, as a view has it, and says which
// watches have not fired.
func (c *conn) replay(q *request, m *wire.SetWatches, v core.View) (frames []byte, keep []registration, err error) {
	since := core.Rev(m.RelativeZxid)
	lists := []struct {
		paths []string
		kinds watchKind
		// fired says what the watch would have been told of; exists is false for a
		// znode that is not there.
		fired func(z *core.Znode, exists bool) wire.EventType
	}{
		{m.DataWatches, watchData, func(z *core.Znode, exists bool) wire.EventType {
			switch {
			case !exists:
				return wire.EventNodeDeleted
			case z.Mzxid > since:
				return wire.EventNodeDataChanged
			}
			return 0
		}},
		{m.ExistWatches, watchData, func(_ *core.Znode, exists bool) wire.EventType {
			if exists {
				return wire.EventNodeCreated
			}
			return 0
		}},
		{m.ChildWatches, watchChild, func(z *core.Znode, exists bool) wire.EventType {
			switch {
			case !exists:
				return wire.EventNodeDeleted
			case z.Pzxid > since:
				return wire.EventNodeChildrenChanged
			}
			return 0
		}},
	}
	for _, list := range lists {
		for _, path := range list.paths {
			z, err := v.Znodes().Znode(path, 0)
			if err != nil && core.KindOf(err) != core.NoNode {
				return nil, nil, err
			}
			if event := list.fired(&z, err == nil); event != 0 {
				frames = appendEvent(frames, -1, event, path)
			} else {
				keep = append(keep, registration{path, list.kinds})
			}
		}
	}
	return c.frame(frames, q, v.Rev(), wire.OK, nil), keep, nil
}
