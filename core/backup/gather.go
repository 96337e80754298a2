package backup

import (
	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/storage/mvcc"
)

// gather gives all versions of a view to a sorter, each with what its revision did to
// the key before it: a revision leaves one version here (ADR 0007), but etcd counts
// a key's versions by its rows.
func gather(v *state.View, pace mvcc.Pace, s *sorter) error {
	g := gatherer{sorter: s}
	if err := v.Versions(pace, g.add); err != nil {
		return err
	}
	return g.flush(nil)
}

// gatherer holds the last version back until the one before it is known.
type gatherer struct {
	sorter *sorter
	held   record
	bytes  []byte // of held
	holds  bool
}

// add takes the versions in key order, the newest of a key first.
func (g *gatherer) add(kv *core.KV) error {
	older := kv
	if g.holds && string(g.held.Key) != string(kv.Key) {
		older = nil
	}
	if err := g.flush(older); err != nil {
		return err
	}
	g.bytes = append(append(g.bytes[:0], kv.Key...), kv.Value...)
	g.held = record{KV: *kv}
	g.held.Key, g.held.Value = g.bytes[:len(kv.Key)], g.bytes[len(kv.Key):]
	g.holds = true
	return nil
}

// flush gives the held version on. older is the version before it, nil if that is
// not known: then etcd takes the version's own word for what it counts.
func (g *gatherer) flush(older *core.KV) error {
	if !g.holds {
		return nil
	}
	g.holds = false
	r := &g.held
	if older == nil || r.Deleted() {
		return g.sorter.add(r)
	}
	counted := int64(0)
	switch {
	case older.Deleted():
	case older.CreateRev == r.CreateRev:
		counted = older.Version
	default:
		r.deleted = true
	}
	r.puts = uint64(max(r.Version-counted-1, 0))
	return g.sorter.add(r)
}
