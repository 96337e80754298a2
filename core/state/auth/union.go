package auth

import (
	"bytes"
	"slices"
	"sort"

	"github.com/triglot/triglot/core"
)

// span is the keys [from, to); a nil to is no end.
type span struct{ from, to []byte }

func spanOf(in core.Interval) span {
	switch {
	case in.Single():
		return span{in.Key, append(slices.Clip(in.Key), 0)} // the next possible key
	case in.Unbounded():
		return span{from: in.Key}
	}
	return span{in.Key, in.End}
}

// endsBefore reports whether s ends before key, and not just at it.
func (s span) endsBefore(key []byte) bool { return s.to != nil && bytes.Compare(s.to, key) < 0 }

// union is a set of keys: spans in order that neither overlap nor touch.
type union []span

// unionOf takes over spans.
func unionOf(spans []span) union {
	slices.SortFunc(spans, func(a, b span) int { return bytes.Compare(a.from, b.from) })
	merged := spans[:0]
	for _, s := range spans {
		last := len(merged) - 1
		switch {
		case last < 0 || merged[last].endsBefore(s.from):
			merged = append(merged, s)
		case s.to == nil || merged[last].endsBefore(s.to):
			merged[last].to = s.to
		}
	}
	return merged
}

// covers reports whether all keys of an interval are in u, whichever spans they come
// from (etcd T-84). An interval without keys is judged by the key that it begins with.
func (u union) covers(in core.Interval) bool {
	at := sort.Search(len(u), func(i int) bool { return bytes.Compare(u[i].from, in.Key) > 0 }) - 1
	if at < 0 {
		return false
	}
	switch s := u[at]; {
	case s.to == nil:
		return true
	case bytes.Compare(in.Key, s.to) >= 0, in.Unbounded():
		return false
	default:
		return in.Single() || bytes.Compare(in.End, s.to) <= 0
	}
}
