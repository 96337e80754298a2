package watch

import (
	"bytes"

	"github.com/triglot/triglot/core"
)

// index finds the joined watches that a key concerns. Watches of the same
// interval share a group; single keys are in a hash map, ranges in an interval
// tree: a treap ordered by start and then end, in which each node knows the
// greatest end below it. Finding the g groups of a key among n ranges takes
// O(log n + g) steps when the ranges do not nest deeply, as prefixes do not.
type index struct {
	keys   map[string]*group
	ranges *rangeNode
	// seed is the state of the generator of priorities: the treap's shape is a
	// function of what was added and in what order.
	seed uint32
}

// group is the watches of one interval, in no order.
type group struct {
	watches []*watch
}

// rangeNode is a node of the treap. A nil end, or maxEnd, is beyond every key.
type rangeNode struct {
	group
	start, end  []byte
	maxEnd      []byte
	priority    uint32
	left, right *rangeNode
}

// add puts w into the index.
func (x *index) add(w *watch) {
	var g *group
	if w.spec.Single() {
		if x.keys == nil {
			x.keys = make(map[string]*group)
		}
		g = x.keys[string(w.spec.Key)]
		if g == nil {
			g = &group{}
			x.keys[string(w.spec.Key)] = g
		}
	} else {
		start, end := rangeOf(w.spec.Interval)
		node := x.ranges.lookup(start, end)
		if node == nil {
			node = &rangeNode{start: start, end: end, maxEnd: end, priority: x.random()}
			x.ranges = x.ranges.insert(node)
		}
		g = &node.group
	}
	w.group, w.slot = g, len(g.watches)
	g.watches = append(g.watches, w)
}

// remove takes w, which must be in the index, out of it.
func (x *index) remove(w *watch) {
	g, last := w.group, len(w.group.watches)-1
	moved := g.watches[last]
	g.watches[w.slot], moved.slot = moved, w.slot
	g.watches[last] = nil
	g.watches = g.watches[:last]
	w.group = nil
	if last > 0 {
		return
	}
	if w.spec.Single() {
		delete(x.keys, string(w.spec.Key))
	} else {
		x.ranges = x.ranges.delete(rangeOf(w.spec.Interval))
	}
}

// find appends the groups that key concerns to dst.
func (x *index) find(key []byte, dst []*group) []*group {
	if g := x.keys[string(key)]; g != nil {
		dst = append(dst, g)
	}
	return x.ranges.find(key, dst)
}

func (x *index) random() uint32 { // xorshift32
	if x.seed == 0 {
		x.seed = 2463534242
	}
	x.seed ^= x.seed << 13
	x.seed ^= x.seed >> 17
	x.seed ^= x.seed << 5
	return x.seed
}

// rangeOf returns the bounds of an interval that is not a single key.
func rangeOf(iv core.Interval) (start, end []byte) {
	if iv.Unbounded() {
		return iv.Key, nil
	}
	return iv.Key, iv.End
}

// compareEnds orders ends; nil is the greatest.
func compareEnds(a, b []byte) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	default:
		return bytes.Compare(a, b)
	}
}

func (n *rangeNode) compare(start, end []byte) int {
	if c := bytes.Compare(start, n.start); c != 0 {
		return c
	}
	return compareEnds(end, n.end)
}

func (n *rangeNode) lookup(start, end []byte) *rangeNode {
	for n != nil {
		switch c := n.compare(start, end); {
		case c == 0:
			return n
		case c < 0:
			n = n.left
		default:
			n = n.right
		}
	}
	return nil
}

// insert adds node, whose interval must be new, and returns the new root.
func (n *rangeNode) insert(node *rangeNode) *rangeNode {
	switch {
	case n == nil:
		return node
	case node.priority > n.priority:
		node.left, node.right = n.split(node.start, node.end)
		return node.update()
	case n.compare(node.start, node.end) < 0:
		n.left = n.left.insert(node)
	default:
		n.right = n.right.insert(node)
	}
	return n.update()
}

// split divides a tree into what is before (start, end) and what is after.
func (n *rangeNode) split(start, end []byte) (before, after *rangeNode) {
	if n == nil {
		return nil, nil
	}
	if n.compare(start, end) < 0 {
		before, n.left = n.left.split(start, end)
		return before, n.update()
	}
	n.right, after = n.right.split(start, end)
	return n.update(), after
}

// delete removes the node of (start, end), which must exist, and returns the new
// root.
func (n *rangeNode) delete(start, end []byte) *rangeNode {
	switch c := n.compare(start, end); {
	case c == 0:
		return merge(n.left, n.right)
	case c < 0:
		n.left = n.left.delete(start, end)
	default:
		n.right = n.right.delete(start, end)
	}
	return n.update()
}

// merge joins two trees, all of a before all of b.
func merge(a, b *rangeNode) *rangeNode {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.priority > b.priority:
		a.right = merge(a.right, b)
		return a.update()
	default:
		b.left = merge(a, b.left)
		return b.update()
	}
}

// update sets maxEnd from the children.
func (n *rangeNode) update() *rangeNode {
	n.maxEnd = n.end
	if n.left != nil && compareEnds(n.left.maxEnd, n.maxEnd) > 0 {
		n.maxEnd = n.left.maxEnd
	}
	if n.right != nil && compareEnds(n.right.maxEnd, n.maxEnd) > 0 {
		n.maxEnd = n.right.maxEnd
	}
	return n
}

// find appends the groups of the intervals that contain key to dst.
func (n *rangeNode) find(key []byte, dst []*group) []*group {
	for n != nil && (n.maxEnd == nil || bytes.Compare(key, n.maxEnd) < 0) {
		dst = n.left.find(key, dst)
		if bytes.Compare(key, n.start) < 0 {
			break // so is all to the right
		}
		if n.end == nil || bytes.Compare(key, n.end) < 0 {
			dst = append(dst, &n.group)
		}
		n = n.right
	}
	return dst
}
