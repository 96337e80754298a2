package core

// FromKey is the End that means "every key at or after Key": etcd's "\0".
var FromKey = []byte{0}

// Interval is a set of keys.
//
//	End empty        the single key Key
//	End = FromKey    all keys >= Key
//	otherwise        the half-open range [Key, End), empty if End <= Key
//
// The empty key is no key: an Interval whose Key is "\0" and whose End is
// FromKey is the whole key space (etcd T-14).
type Interval struct {
	Key, End []byte
}

// Single reports whether i names exactly one key.
func (i Interval) Single() bool { return len(i.End) == 0 }

// Unbounded reports whether i has no upper end.
func (i Interval) Unbounded() bool { return len(i.End) == 1 && i.End[0] == 0 }

// Contains reports whether key is in i.
func (i Interval) Contains(key []byte) bool {
	switch {
	case i.Single():
		return string(key) == string(i.Key)
	case i.Unbounded():
		return string(key) >= string(i.Key)
	default:
		return string(key) >= string(i.Key) && string(key) < string(i.End)
	}
}

// SortTarget is the field that a Range sorts by. The order of the constants is
// etcd's RangeRequest.SortTarget.
type SortTarget uint8

// The fields to sort by.
const (
	SortByKey SortTarget = iota
	SortByVersion
	SortByCreateRev
	SortByModRev
	SortByValue
)

// SortOrder is the direction of a Range. The order of the constants is etcd's
// RangeRequest.SortOrder.
type SortOrder uint8

// The directions. SortNone is key order, but see Range.SortOrder.
const (
	SortNone SortOrder = iota
	SortAscend
	SortDescend
)

// Range asks for the keys of an interval as of one revision.
type Range struct {
	Interval
	// Rev is the revision to read at; zero or less is the view's own.
	Rev Rev
	// Limit bounds the number of keys returned; zero or less is no limit.
	Limit int64
	// SortTarget and SortOrder order the result. With SortNone and a target
	// other than the key, the first Limit + 1 keys by key order are sorted
	// ascending and then cut to Limit: a quirk of etcd (T-13).
	SortTarget SortTarget
	SortOrder  SortOrder
	// KeysOnly leaves the values out; CountOnly leaves the keys out as well.
	KeysOnly  bool
	CountOnly bool
	// PageBytes ends the answer, as Limit does, at the key with which its keys and
	// values reach so many bytes (KV.Size); zero is no bound. Count is then that of
	// the keys in the answer, however many there are. It goes with key order and no
	// filter, and not into a transaction.
	PageBytes int
	// Grow, if it is set, is asked before an answer takes about so many bytes of
	// memory more, and ends the read with its error. It stays on this member.
	Grow func(bytes int) error
	// Each, if it is set, is given the keys of the answer, in their order, in place of
	// RangeResult.KVs. The KV is the next one's afterwards, and so may its key and value
	// be: they are to be used before Each returns. Its error ends the read. It stays on
	// this member, and does not go into a transaction.
	Each func(*KV) error
	// The filters keep keys whose revision lies within [Min, Max]; zero is no
	// bound. They do not affect Count (etcd T-11).
	MinModRev, MaxModRev       Rev
	MinCreateRev, MaxCreateRev Rev
}

// RangeResult is the answer to a Range.
type RangeResult struct {
	// KVs are the keys, in the order asked for; the caller owns the slice, the
	// elements are shared and immutable. With KeysOnly their values are nil. They are
	// none if the query has Each.
	KVs []*KV
	// Count is the number of keys in the interval, whatever Limit and the
	// filters are.
	Count int64
	// More says that Limit left keys out.
	More bool
}
