package znode

import (
	"bytes"

	"github.com/triglot/triglot/storage/keys"
)

// CheckRow reports whether a row that comes from elsewhere, such as a backup, is one
// of this package: that of a znode, or the numbers of them.
func CheckRow(key, value []byte) bool {
	if bytes.Equal(key, keys.AppendMeta(nil, keys.MetaZnodes)) {
		_, err := decodeCounts(value)
		return err == nil
	}
	path, ok := keys.DecodeZnode(key)
	if !ok || !Legal(string(path)) {
		return false
	}
	_, err := decodeNode(value)
	return err == nil
}

// Covers reports whether a key is that of a znode.
func (m Mount) Covers(key []byte) bool {
	_, ok := m.path(key)
	return ok
}
