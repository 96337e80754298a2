package zkload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/frontends/zk/wire"
)

const (
	// siblings is how many znodes of the key space have one parent.
	siblings = 100
	// places is how many parents those have that are created.
	places = 100
	// Batch is how many setData a multi has.
	Batch = 10

	anyVersion = -1
)

// rootOf is the znode below which all are: the prefix of keys without what no path has.
func rootOf(prefix string) string { return "/" + strings.Trim(prefix, "/") }

// appendNumbered appends /number.
func appendNumbered(path []byte, i int) []byte { return keyspace.AppendNumber(append(path, '/'), i) }

// parentOf is the parent of the i-th znode of the key space, and pathOf that znode.
func (l *Load) parentOf(i int) string {
	return string(appendNumbered([]byte(l.root), i/siblings))
}

func (l *Load) pathOf(i int) string {
	var room [128]byte
	return string(appendNumbered(appendNumbered(append(room[:0], l.root...), i/siblings), i))
}

func (l *Load) placeOf(i int) string { return fmt.Sprintf("%s/create/%02d", l.root, i%places) }

func (c *call) create(path string, data []byte, mode wire.CreateMode) *call {
	c.begin(wire.OpCreate)
	m := wire.CreateRequest{Path: path, Data: data, ACL: wire.OpenACLUnsafe, Flags: mode}
	c.request = m.Append(c.request)
	return c
}

func (c *call) set(path string, data []byte) *call {
	c.begin(wire.OpSetData)
	m := wire.SetDataRequest{Path: path, Data: data, Version: anyVersion}
	c.request = m.Append(c.request)
	return c
}

func (c *call) delete(path string) *call {
	c.begin(wire.OpDelete)
	m := wire.DeleteRequest{Path: path, Version: anyVersion}
	c.request = m.Append(c.request)
	return c
}

func (c *call) get(path string, watch bool) *call {
	c.begin(wire.OpGetData)
	m := wire.GetDataRequest{Path: path, Watch: watch}
	c.request = m.Append(c.request)
	return c
}

func getOf(path string) *call { return (&call{}).get(path, false) }

// ensure makes a znode if it is not there.
func (l *Load) ensure(i int, path string) error {
	err := l.conns[i%len(l.conns)].do((&call{}).create(path, nil, wire.Persistent))
	if errors.Is(err, wire.NodeExists) {
		return nil
	}
	return err
}

// makeRoot makes the znode below which all are, and what is above it.
func (l *Load) makeRoot() error {
	for i := 1; i < len(l.root); i++ {
		if l.root[i] == '/' {
			if err := l.ensure(0, l.root[:i]); err != nil {
				return err
			}
		}
	}
	return l.ensure(0, l.root)
}

// makeParents makes those of the key space.
func (l *Load) makeParents(ctx context.Context) error {
	if err := l.makeRoot(); err != nil {
		return err
	}
	parents := (l.Keys.Count() + siblings - 1) / siblings
	return drive.Each(ctx, parents, preparers, func(_ context.Context, caller, i int) error {
		return l.ensure(caller, l.parentOf(i*siblings))
	})
}

// makePlaces makes the parents of what is created.
func (l *Load) makePlaces(ctx context.Context) error {
	if err := l.makeRoot(); err != nil {
		return err
	}
	if err := l.ensure(0, l.root+"/create"); err != nil {
		return err
	}
	return drive.Each(ctx, places, preparers, func(_ context.Context, caller, i int) error {
		return l.ensure(caller, l.placeOf(i))
	})
}

// filler makes every znode of the key space once, or sets it if it is there.
func (l *Load) filler(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	return func(ctx context.Context, _ time.Time) error {
		return l.fill.Next(ctx, func(n int) error {
			path, value := l.pathOf(n), l.Keys.Value(random)
			err := conn.do(c.create(path, value, wire.Persistent))
			if errors.Is(err, wire.NodeExists) {
				err = conn.do(c.set(path, value))
			}
			return err
		})
	}
}

// newPath is that of a znode that has not been.
func (l *Load) newPath() string {
	n := int(l.made.Add(1) - 1)
	return string(keyspace.AppendNumber([]byte(l.placeOf(n)+"/"+l.run+"-"), n))
}

func (l *Load) creator(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	return func(context.Context, time.Time) error {
		return conn.do(c.create(l.newPath(), l.Keys.Value(random), wire.Persistent))
	}
}

// churner makes an ephemeral znode and deletes it.
func (l *Load) churner(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	return func(context.Context, time.Time) error {
		path := l.newPath()
		if err := conn.do(c.create(path, l.Keys.Value(random), wire.Ephemeral)); err != nil {
			return err
		}
		return conn.do(c.delete(path))
	}
}

func (l *Load) setter(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	return func(context.Context, time.Time) error {
		return conn.do(c.set(l.pathOf(l.Keys.Any(random)), l.Keys.Value(random)))
	}
}

func (l *Load) getter(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	return func(context.Context, time.Time) error {
		err := conn.do(c.get(l.pathOf(l.Keys.Any(random)), false))
		return expect(err, "bytes of data", int(c.first), l.Keys.ValueBytes())
	}
}

// expect is an error if there is none and a number is not what it must be.
func expect(err error, what string, got, want int) error {
	if err == nil && got != want {
		return fmt.Errorf("got %d %s instead of %d", got, what, want)
	}
	return err
}

func (l *Load) mixer(i int, random *rand.Rand) drive.Call {
	read, write := l.getter(i, random), l.setter(i, random)
	return func(ctx context.Context, start time.Time) error {
		if random.Float64() < l.ReadShare {
			return read(ctx, start)
		}
		return write(ctx, start)
	}
}

// lister gets the children of one of the parents that have all of theirs.
func (l *Load) lister(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	full := max(1, l.Keys.Count()/siblings)
	return func(context.Context, time.Time) error {
		c.begin(wire.OpGetChildren)
		m := wire.GetChildrenRequest{Path: l.parentOf(random.IntN(full) * siblings)}
		c.request = m.Append(c.request)
		err := conn.do(c)
		return expect(err, "children", int(c.first), min(siblings, l.Keys.Count()))
	}
}

// batcher sets several znodes in one multi: any one and those that follow it.
func (l *Load) batcher(i int, random *rand.Rand) drive.Call {
	conn, c := l.conns[i%len(l.conns)], &call{}
	m := wire.MultiRequest{Ops: make([]wire.MultiOp, min(Batch, l.Keys.Count()))}
	return func(context.Context, time.Time) error {
		first := l.Keys.Any(random)
		for at := range m.Ops {
			path := l.pathOf((first + at) % l.Keys.Count())
			m.Ops[at] = wire.MultiOp{Op: wire.OpSetData, Path: path, Data: l.Keys.Value(random), Version: anyVersion}
		}
		c.begin(wire.OpMulti)
		c.request = m.Append(c.request)
		return conn.do(c)
	}
}
