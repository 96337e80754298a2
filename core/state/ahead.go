package state

import (
	"context"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/keys"
	"github.com/triglot/triglot/storage/mvcc"
)

// Needs appends to needs what the commands of an entry will read and name one by one, as
// far as the caches that the view shares with the machine lack it. What does not decode it
// passes over.
func (v *View) Needs(needs []mvcc.Need, e *command.Entry) []mvcc.Need {
	g := needsOf{v: v, all: needs}
	for i := range e.Batches {
		for _, encoded := range e.Batches[i].Commands {
			if c, _, err := command.DecodeCommandAs(encoded); err == nil {
				g.command(c)
			}
		}
	}
	return g.all
}

// Warm reads what is needed into the caches, see mvcc.Reader.
func (v *View) Warm(ctx context.Context, needs []mvcc.Need) (found int, err error) {
	found, err = v.reader.Warm(ctx, needs)
	return found, wrapRead(err)
}

// needsOf gathers what commands need.
type needsOf struct {
	v   *View
	all []mvcc.Need
	buf []byte
}

func (g *needsOf) command(c core.Command) {
	switch c := c.(type) {
	case *core.Put:
		g.key(c.Key)
	case *core.DeleteRange:
		g.interval(c.Interval)
	case *core.Txn:
		g.txn(c)
	case *core.ZnodeWrite:
		if g.v.mount == nil {
			return
		}
		for i := range c.Ops {
			znode.Reads(&c.Ops[i], g.znodeRow, g.znodeKey)
		}
	}
}

func (g *needsOf) txn(t *core.Txn) {
	for i := range t.Compares {
		g.interval(t.Compares[i].Interval)
	}
	for _, branch := range [2][]core.Op{t.Then, t.Else} {
		for i := range branch {
			switch op := &branch[i]; {
			case op.Put != nil:
				g.key(op.Put.Key)
			case op.Delete != nil:
				g.interval(op.Delete.Interval)
			case op.Txn != nil:
				g.txn(op.Txn)
			}
		}
	}
}

func (g *needsOf) interval(in core.Interval) {
	if in.Single() {
		g.key(in.Key)
	}
}

func (g *needsOf) key(key []byte) {
	g.all = g.v.reader.Missing(g.all, key, false)
	if g.v.mount != nil {
		g.v.mount.KeyReads(key, g.znodeRow)
	}
}

func (g *needsOf) znodeRow(path string) {
	g.buf = keys.AppendZnode(g.buf[:0], path)
	g.all = g.v.reader.Missing(g.all, g.buf, true)
}

func (g *needsOf) znodeKey(path string) {
	g.buf = append(append(g.buf[:0], *g.v.mount...), path...)
	g.all = g.v.reader.Missing(g.all, g.buf, false)
}

// TakeReads is how many rows had to be read from the engine since the last call.
func (m *Machine) TakeReads() int { return m.w.TakeReads() }

// TakeLooked is how many more rows would be read from the engine if all was applied again
// since ForgetLooked, with nothing cached: those of the time since the last call.
func (m *Machine) TakeLooked() int { return m.w.TakeLooked() }

// ForgetLooked is called when what was applied so far is about to be durable.
func (m *Machine) ForgetLooked() { m.w.ForgetLooked() }
