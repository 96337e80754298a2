package znode

import (
	"time"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/storage/keys"
)

// Life is what of a znode no client is told, and a snapshot holds.
type Life struct {
	Kind core.ZnodeKind
	// TTL is that of a ZnodeTTL.
	TTL time.Duration
	// Creates counts the children ever made (S1).
	Creates int32
}

// LifeOf reads it. It fails with NoNode.
func LifeOf(r Reader, path string) (Life, error) {
	row, err := r.Row(keys.AppendZnode(nil, path))
	switch {
	case err != nil:
		return Life{}, err
	case row == nil:
		return Life{}, core.NoNode
	}
	n, err := decodeNode(row)
	return Life{Kind: n.kind, TTL: time.Duration(n.ttl) * time.Millisecond, Creates: n.creates}, err
}
