package raftlog

import "sort"

// runBytes is how much of a segment one run covers before the next one begins:
// the unit of reading, and what keeps the index at some 40 bytes for each 64 KiB
// of log, however small the entries are.
const runBytes = 64 << 10

// position is an entry's place in the log.
type position struct{ index, term uint64 }

// run is a stretch of a segment whose entry records have consecutive indexes,
// starting with index. What lies at or above the next run's index was replaced.
type run struct {
	index   uint64
	segment *segment
	off     int64 // of the record of index
	size    int64 // up to the end of its last entry record
	before  int64 // index.bytes when it began
	// live is what its entry records take; once some of them were replaced,
	// which is rare, 0: it is not known how much the others take.
	live int64
}

// index says where the live entries are, and their terms. It holds:
//
//  1. terms is not empty, ascending in index; terms[0] is the entry before the
//     first, whose term raft may ask for;
//  2. runs are ascending in index and cover (terms[0].index, last]; the first may
//     begin before, and any may go on beyond where the next one begins.
type index struct {
	terms []position // each is the first index of its term, and the term
	runs  []run
	last  uint64
	bytes int64 // of all entry records ever added
}

func (x *index) base() position { return x.terms[0] }

// reset empties the log: it goes on after p.
func (x *index) reset(p position) {
	x.terms = append(x.terms[:0], p)
	clear(x.runs)
	x.runs = x.runs[:0]
	x.last = p.index
}

// add notes the entry p, whose record is at off. It replaces all at or above
// its index; p.index is at most last+1.
func (x *index) add(p position, s *segment, off, size int64) {
	x.bytes += size
	if p.index <= x.base().index {
		// Only while recovering: entries that a later overwrite, and then a
		// truncation, have removed. What follows replaces them.
		x.reset(p)
		return
	}
	fresh := p.index <= x.last
	if fresh {
		x.cut(p.index)
	}
	if p.term != x.terms[len(x.terms)-1].term {
		x.terms = append(x.terms, p)
	}
	x.last = p.index
	if n := len(x.runs); !fresh && n > 0 {
		if r := &x.runs[n-1]; r.segment == s && off-r.off < runBytes {
			r.size = off + size - r.off
			r.live += size
			return
		}
	}
	x.runs = append(x.runs, run{index: p.index, segment: s, off: off, size: size, before: x.bytes - size, live: size})
}

// cut removes the entries from first on.
func (x *index) cut(first uint64) {
	n := sort.Search(len(x.runs), func(i int) bool { return x.runs[i].index >= first })
	clear(x.runs[n:])
	x.runs = x.runs[:n]
	if n > 0 {
		x.runs[n-1].live = 0
	}
	t := sort.Search(len(x.terms), func(i int) bool { return x.terms[i].index >= first })
	x.terms = x.terms[:max(t, 1)]
	x.last = first - 1
}

// truncate forgets the entries up to and including i, base < i <= last.
func (x *index) truncate(i uint64) {
	t := x.termRun(i)
	x.terms[t].index = i
	x.terms = append(x.terms[:0], x.terms[t:]...)
	n := len(x.runs)
	if i < x.last {
		n = x.runOf(i + 1)
	}
	kept := copy(x.runs, x.runs[n:])
	clear(x.runs[kept:])
	x.runs = x.runs[:kept]
}

// term is the term of entry i, base <= i <= last.
func (x *index) term(i uint64) uint64 { return x.terms[x.termRun(i)].term }

func (x *index) termRun(i uint64) int {
	// Almost always the last.
	for t := len(x.terms) - 1; ; t-- {
		if x.terms[t].index <= i {
			return t
		}
	}
}

// runOf is the run that holds entry i, base < i <= last.
func (x *index) runOf(i uint64) int {
	return sort.Search(len(x.runs), func(n int) bool { return x.runs[n].index > i }) - 1
}

// bytesAfter is the space of the records after entry i, rounded up to a run. The log may
// have been reset since the caller asked where it begins: i may lie below the base.
func (x *index) bytesAfter(i uint64) int64 {
	i = max(i, x.base().index)
	if i >= x.last {
		return 0
	}
	return x.bytes - x.runs[x.runOf(i+1)].before
}
