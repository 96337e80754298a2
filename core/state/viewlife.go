package state

import "github.com/triglot/triglot/core/state/znode"

// ZnodeLife is what of the znode at a path no client is told. It fails with NoNode.
func (v *View) ZnodeLife(path string) (znode.Life, error) {
	l, err := znode.LifeOf(v.reader, path)
	return l, wrapRead(err)
}
