package znode

import (
	"strings"

	"github.com/triglot/triglot/core"
)

// Reads tells what an operation will read: row is called for each path whose row it needs,
// key for each whose key it needs. It is a guess that costs nothing but time if it is
// wrong.
func Reads(op *core.ZnodeOp, row, key func(path string)) {
	if strings.IndexByte(op.Path, '/') != 0 {
		return
	}
	switch op.Type {
	case core.ZnodeCreate:
		row(parentOf(op.Path))
		if !op.Sequential {
			row(op.Path)
		}
		return
	case core.ZnodeDelete:
		row(parentOf(op.Path))
	case core.ZnodeSetData, core.ZnodeCheck, core.ZnodeSetACL:
	}
	row(op.Path)
	key(op.Path)
}

// KeyReads calls row for the paths whose rows the write of a key will need.
func (m Mount) KeyReads(key []byte, row func(path string)) {
	if path, ok := m.path(key); ok && path != rootPath {
		row(parentOf(path))
		row(path)
	}
}
