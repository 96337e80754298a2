package oracle

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// aliases maps a lease id that a server has drawn itself to a number that both
// sides share.
type aliases map[int64]int64

// firstAlias is the alias of the first lease id that a server draws; the next
// ones follow.
const firstAlias = 9_000_001

// learn notes the id of a grant that asked for none.
func (a aliases) learn(id int64) {
	if _, known := a[id]; !known && id != 0 {
		a[id] = firstAlias + int64(len(a))
	}
}

// replace puts aliases for the ids of leases in m and in all it holds.
func (a aliases) replace(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for i := range v.List().Len() {
				a.replace(v.List().Get(i).Message())
			}
		case f.Kind() == protoreflect.MessageKind:
			a.replace(v.Message())
		case f.Kind() == protoreflect.Int64Kind && (f.Name() == "lease" || f.Name() == "ID"):
			if alias, ok := a[v.Int()]; ok {
				m.Set(f, protoreflect.ValueOfInt64(alias))
			}
		}
		return true
	})
}

// An allowance is a difference between the two sides that is no error.
type allowance struct {
	// why says what differs and why that is right; shown to users in
	// docs/compat/etcd.md.
	why string
	// apply makes the two messages equal where the allowance covers them. The
	// messages are copies.
	apply func(etcd, ours proto.Message)
}

// longestSeed is how many seconds a seed, and so a lease of one, may take.
const longestSeed = 600

// allowances is the whole list. A difference that is not covered here fails.
var allowances = []allowance{
	{
		why: "LeaseTimeToLive: the remaining seconds may differ by one, as the two servers do not share a clock tick",
		apply: func(etcd, ours proto.Message) {
			e, o := both[*pb.LeaseTimeToLiveResponse](etcd, ours)
			if e == nil || e.TTL < 0 || o.TTL < 0 || e.TTL >= e.GrantedTTL || o.TTL >= o.GrantedTTL {
				return
			}
			// A replay of the script need not take the same time either, nor a busy machine.
			if abs(e.TTL-o.TTL) <= 1 && e.GrantedTTL-e.TTL <= longestSeed {
				e.TTL, o.TTL = e.GrantedTTL-1, e.GrantedTTL-1
			}
		},
	},
	{
		why: "LeaseTimeToLive: etcd lists the keys of a lease in no order",
		apply: func(etcd, ours proto.Message) {
			if e, o := both[*pb.LeaseTimeToLiveResponse](etcd, ours); e != nil {
				sortKeys(e.Keys)
				sortKeys(o.Keys)
			}
		},
	},
	{
		why: "Status: the texts in errors come from a protobuf library that puts one or two spaces, depending on the build",
		apply: func(etcd, ours proto.Message) {
			if e, o := both[*pb.StatusResponse](etcd, ours); e != nil {
				for _, texts := range [][]string{e.Errors, o.Errors} {
					for i := range texts {
						texts[i] = strings.Join(strings.Fields(texts[i]), " ")
					}
				}
			}
		},
	},
	{
		why: "Status: sizes and log indexes describe the engine, which is not etcd's",
		apply: func(etcd, ours proto.Message) {
			e, o := both[*pb.StatusResponse](etcd, ours)
			if e == nil || o.DbSizeInUse > o.DbSize || o.RaftAppliedIndex > o.RaftIndex {
				return
			}
			hide(&e.DbSize, &o.DbSize)
			hide(&e.DbSizeInUse, &o.DbSizeInUse)
			hide(&e.RaftIndex, &o.RaftIndex)
			hide(&e.RaftAppliedIndex, &o.RaftAppliedIndex)
		},
	},
}

// malformed is the allowance for what is no message: the words for it are those
// of the transport and protobuf libraries, and change with their versions.
var malformed = regexp.MustCompile(`^grpc: (error unmarshalling request|failed to unmarshal the received message): .*`)

// errorText shows an error as a client sees it.
func errorText(err *status.Status) string {
	text := malformed.ReplaceAllString(err.Message(), "grpc: (malformed)")
	return fmt.Sprintf("error: %s %s\n", err.Code(), text)
}

// lastStates is the allowance for watches. Where etcd lets a txn put and delete
// the same key (testdata/txn_overlap.txt), it sends both events; a revision here
// leaves the key's last state only. It leaves out, in place, every event that is
// followed by another one of the same key and revision.
func lastStates(r *pb.WatchResponse) {
	type change struct {
		key string
		rev int64
	}
	last := make(map[change]int)
	for i, e := range r.Events {
		last[change{string(e.Kv.GetKey()), e.Kv.GetModRevision()}] = i
	}
	kept := r.Events[:0]
	for i, e := range r.Events {
		if last[change{string(e.Kv.GetKey()), e.Kv.GetModRevision()}] == i {
			kept = append(kept, e)
		}
	}
	r.Events = kept
}

// both returns the two messages as Ms, or zero values if they are not.
func both[M proto.Message](etcd, ours proto.Message) (M, M) {
	e, okE := etcd.(M)
	o, okO := ours.(M)
	if okE && okO {
		return e, o
	}
	var none M
	return none, none
}

func abs(n int64) int64 { return max(n, -n) }

func sortKeys(keys [][]byte) {
	slices.SortFunc(keys, func(a, b []byte) int { return cmp.Compare(string(a), string(b)) })
}

// hide puts 1 for numbers that must be set but may have any value.
func hide[T int64 | uint64](etcd, ours *T) {
	if *etcd != 0 && *ours != 0 {
		*etcd, *ours = 1, 1
	}
}

// hideEndpoint replaces a side's own address.
func (s *side) hideEndpoint(text string) string {
	return s.names.hide(strings.ReplaceAll(text, s.endpoint, "ENDPOINT"))
}
