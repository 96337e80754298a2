package etcdfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// treeWriter writes the tree of a bucket whose rows come in the order of their keys: a page
// is written when it is full, so of each level of the tree one page is in memory. Trees may
// take turns in a file.
type treeWriter struct {
	file   *pageFile
	levels []node // of leaves, and of branches upwards
	last   []byte // the last key
}

// node is a page in the making.
type node struct {
	elements []nodeElement
	data     []byte // keys and values, one behind the other
}

// nodeElement is a row, or a page of the level below, whose value is empty.
type nodeElement struct {
	flags            uint32
	keyLen, valueLen int
	page             uint64
}

func (n *node) size() int { return pageHead + elementLen*len(n.elements) + len(n.data) }

const (
	// maxKey and maxValue are bbolt's.
	maxKey   = 32768
	maxValue = 1<<31 - 2
	// branchLeast is how many elements bbolt wants in a branch.
	branchLeast = 2
)

var errOrder = errors.New("its rows are not in the order of their keys")

// add adds a row. It copies what it is given.
func (t *treeWriter) add(flags uint32, key, value []byte) error {
	switch {
	case len(key) == 0 || len(key) > maxKey || len(value) > maxValue:
		return fmt.Errorf("a key of %d bytes, a value of %d", len(key), len(value))
	case len(t.levels) > 0 && bytes.Compare(key, t.last) <= 0:
		return errOrder
	}
	t.last = append(t.last[:0], key...)
	return t.addAt(0, nodeElement{flags: flags, keyLen: len(key), valueLen: len(value)}, key, value)
}

func (t *treeWriter) addAt(level int, e nodeElement, key, value []byte) error {
	if level == len(t.levels) {
		t.levels = append(t.levels, node{})
	}
	n := &t.levels[level]
	if full := len(n.elements); full > 0 && n.size()+elementLen+len(key)+len(value) > pageSize {
		if level > 0 {
			full-- // one stays: with that which comes now, enough for the last branch of the level
		}
		if level == 0 || full >= branchLeast {
			if err := t.write(level, full); err != nil {
				return err
			}
			n = &t.levels[level] // write may have added a level
		}
	}
	n.elements = append(n.elements, e)
	n.data = append(append(n.data, key...), value...)
	return nil
}

// write writes the first elements of a level as a page, of which it tells the level above.
func (t *treeWriter) write(level, count int) error {
	n := &t.levels[level]
	id, size, err := t.writePage(level, n, count)
	if err != nil {
		return err
	}
	first := n.elements[0].keyLen
	if err := t.addAt(level+1, nodeElement{keyLen: first, page: id}, n.data[:first], nil); err != nil {
		return err
	}
	n = &t.levels[level]
	n.elements = append(n.elements[:0], n.elements[count:]...)
	n.data = append(n.data[:0], n.data[size:]...)
	return nil
}

// writePage writes the first elements of n, and returns how much data they have.
func (t *treeWriter) writePage(level int, n *node, count int) (id uint64, size int, err error) {
	flags := uint16(flagBranch)
	if level == 0 {
		flags = flagLeaf
	}
	f := t.file
	f.begin(flags, count)
	for i, e := range n.elements[:count] {
		at := uint32((count-i)*elementLen + size) // from here to the key
		if level == 0 {
			f.page = binary.LittleEndian.AppendUint32(f.page, e.flags)
			f.page = binary.LittleEndian.AppendUint32(f.page, at)
			f.page = binary.LittleEndian.AppendUint32(f.page, uint32(e.keyLen))
			f.page = binary.LittleEndian.AppendUint32(f.page, uint32(e.valueLen))
		} else {
			f.page = binary.LittleEndian.AppendUint32(f.page, at)
			f.page = binary.LittleEndian.AppendUint32(f.page, uint32(e.keyLen))
			f.page = binary.LittleEndian.AppendUint64(f.page, e.page)
		}
		size += e.keyLen + e.valueLen
	}
	f.page = append(f.page, n.data[:size]...)
	id, err = f.end()
	return id, size, err
}

// finish writes what is left, and returns the root. A tree without a row has none.
func (t *treeWriter) finish() (root uint64, err error) {
	if len(t.levels) == 0 {
		return 0, nil
	}
	for level := 0; level < len(t.levels)-1; level++ {
		if err := t.write(level, len(t.levels[level].elements)); err != nil {
			return 0, err
		}
	}
	top := len(t.levels) - 1
	n := &t.levels[top]
	root, _, err = t.writePage(top, n, len(n.elements))
	return root, err
}

// bucketValue is what the row of a bucket says: where its root is or, if it is empty, a leaf
// of its own, without elements.
func bucketValue(root uint64) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, bucketHead+pageHead), root)
	b = b[:bucketHead] // the sequence
	if root != 0 {
		return b
	}
	b = b[:bucketHead+pageHead]
	binary.LittleEndian.PutUint16(b[bucketHead+8:], flagLeaf)
	return b
}
