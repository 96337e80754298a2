package znode

import (
	"strings"

	"github.com/triglot/triglot/storage/keys"
)

// A quota may be made on a tree of any size, by anybody who may write below
// /zookeeper/quota. What it uses is counted at apply, because it must be the same on all
// members, a part in each entry: the first as the quota is made, which is all of most
// trees, the others at the ends of later entries. Meanwhile it uses what was counted
// so far.
const (
	// countRoom is how many znodes an entry counts, each for one more for each
	// countedData of its data, which is read; countRoomAtEnd how many of them it
	// counts at its end.
	countRoom      = 4096
	countRoomAtEnd = 1024
	countedData    = 1024
	// countChunk is how many rows are read at a time: in between, other rows are.
	countChunk = 256
)

// counting is what a Tree keeps in mind of it.
type counting struct {
	// room is how much the entry under way may still count.
	room int
	// pending says that there may be a quota to go on with.
	pending bool
}

// countUsage counts what is at and below the path that the znode n at path shows the
// numbers of, if it is such a one, or begins to.
func (t *Tree) countUsage(path string, n *node) error {
	of, ok := cutQuota(path, statsName)
	if !ok {
		return nil
	}
	n.used = usage{counted: true, counting: true}
	return t.countOn(of, &n.used)
}

// BeginEntry starts an entry of commands.
func (t *Tree) BeginEntry() { t.count.room = countRoom }

// EndEntry goes on with the counting for one of the quotas that are not counted yet. It is
// no command's doing: there is none under way.
func (t *Tree) EndEntry() error {
	if !t.count.pending {
		return nil
	}
	path := ""
	lower, upper := keys.ZnodeIndexBounds(keys.IndexCounting)
	err := t.store.ScanRows(lower, upper, func(key, _ []byte) bool {
		_, b, _ := keys.DecodeZnodeIndex(key)
		path = string(b)
		return false
	})
	if err != nil || path == "" {
		t.count.pending = false
		return err
	}
	n, err := t.must(path)
	if err != nil {
		return err
	}
	t.count.room = min(t.count.room, countRoomAtEnd)
	before := n
	of, _ := cutQuota(path, statsName)
	if err := t.countOn(of, &n.used); err != nil {
		return err
	}
	t.set(path, &n)
	t.reindex(path, &before, &n)
	return nil
}

// countOn counts what is at and below a path, from where u has come to, as far as there is
// room.
func (t *Tree) countOn(of string, u *usage) error {
	for u.counting && t.count.room > 0 {
		chunk, err := t.uncounted(of, u)
		if err != nil {
			return err
		}
		u.counting = len(chunk) > 0
		for i := 0; i < len(chunk) && t.count.room > 0; i++ {
			size, err := t.dataSize(&chunk[i])
			if err != nil {
				return err
			}
			u.at = chunk[i].path
			u.count++
			u.bytes += size
			t.count.room -= 1 + int(size/countedData)
		}
	}
	if !u.counting {
		u.at = ""
	}
	return nil
}

// countedRow is what counting needs of a znode's.
type countedRow struct {
	path     string
	implicit bool
}

// uncounted reads some rows at and below a path that u has not come to: of one level,
// which lie together. There are none if it has come to the end.
func (t *Tree) uncounted(of string, u *usage) ([]countedRow, error) {
	if u.at == "" {
		n, ok, err := t.get(of)
		if err != nil || !ok {
			return nil, err
		}
		return []countedRow{{of, n.implicit}}, nil
	}
	level := keys.Depth(u.at) - keys.Depth(of)
	if level > 0 {
		_, upper, _ := keys.LevelBounds(of, level)
		chunk, err := t.countedRows(keys.AppendZnode(nil, u.at), upper, u.at)
		if err != nil || len(chunk) > 0 {
			return chunk, err
		}
	}
	lower, upper, _ := keys.LevelBounds(of, level+1)
	return t.countedRows(lower, upper, u.at)
}

func (t *Tree) countedRows(lower, upper []byte, behind string) ([]countedRow, error) {
	var chunk []countedRow
	var bad error
	err := t.store.ScanRows(lower, upper, func(key, value []byte) bool {
		path, _ := keys.DecodeZnode(key)
		if string(path) == behind {
			return true
		}
		var n node
		n, bad = decodeNode(value)
		chunk = append(chunk, countedRow{string(path), n.implicit})
		return bad == nil && len(chunk) < countChunk
	})
	if err == nil {
		err = bad
	}
	return chunk, err
}

// dataSize is the size of a znode's data. In the midst of a command its key need not be
// there yet.
func (t *Tree) dataSize(row *countedRow) (int64, error) {
	if row.implicit {
		return 0, nil
	}
	kv, err := t.store.Get(t.keyOf(row.path), 0)
	if err != nil || kv == nil {
		return 0, err
	}
	return int64(len(kv.Value)), nil
}

// includes reports whether what is, or was, at a path has been counted.
func (u *usage) includes(path string) bool {
	if !u.counting {
		return true
	}
	if d, at := keys.Depth(path), keys.Depth(u.at); u.at == "" || d != at {
		return u.at != "" && d < at
	}
	return strings.Compare(path, u.at) <= 0
}

// Counting reports whether there is a quota that is not counted yet.
func Counting(s Scanner) (is bool, err error) {
	lower, upper := keys.ZnodeIndexBounds(keys.IndexCounting)
	err = s.ScanRows(lower, upper, func(_, _ []byte) bool {
		is = true
		return false
	})
	return is, err
}
