package state

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// benchRestricted has so many znodes below /zk/many that are protected, each fifth by a
// list of another owner, and as many keys elsewhere that are not.
func benchRestricted(b *testing.B, znodes int) guardRig {
	r := newGuardRig(b)
	b.Cleanup(r.close)
	const batch = 100
	r.must(owner, zkOp(core.ZnodeCreate, "/many", ""))
	var acls [5]core.ACL
	for i := range acls {
		acls[i] = core.PackACL(
			core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: "owner"},
			core.ACLEntry{Perms: core.PermAll, Scheme: "digest", ID: fmt.Sprint("other", i)},
		)
	}
	for at := 0; at < znodes; at += batch {
		c := &core.ZnodeWrite{Session: core.SessionRef{ID: 7, Epoch: 1}}
		for i := at; i < at+batch; i++ {
			c.Ops = append(c.Ops, core.ZnodeOp{Type: core.ZnodeCreate, Path: fmt.Sprintf("/many/%07d", i), ACL: acls[i%len(acls)]})
		}
		r.must(owner, c)
	}
	for i := range 1000 {
		r.must(owner, &core.Put{Key: fmt.Appendf(nil, "/zk/open/%03d", i), Value: make([]byte, 256)})
		r.must(owner, &core.Put{Key: fmt.Appendf(nil, "plain/%03d", i), Value: make([]byte, 256)})
	}
	return r
}

// BenchmarkGuard measures what ACLs cost etcd's callers, by how many znodes are
// protected.
func BenchmarkGuard(b *testing.B) {
	for _, znodes := range []int{0, 100, 100_000} {
		r := benchRestricted(b, znodes)
		read := func(name string, q core.Range) {
			b.Run(fmt.Sprintf("%s/protected=%d", name, znodes), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					v := r.as(owner)
					_, err := v.Range(context.Background(), &q)
					require.NoError(b, err)
					v.Close()
				}
			})
		}
		read("get", core.Range{Interval: core.Interval{Key: []byte("/zk/open/500")}})
		read("get outside", core.Range{Interval: core.Interval{Key: []byte("plain/500")}})
		read("list 1000", core.Range{Interval: in("/open/", "/open0")})
		read("count all", core.Range{Interval: in("/", "0"), CountOnly: true})
		b.Run(fmt.Sprintf("put/protected=%d", znodes), func(b *testing.B) {
			b.ReportAllocs()
			r.who = owner
			for b.Loop() {
				reply := r.apply(&core.Put{Key: []byte("/zk/open/500"), Value: make([]byte, 256)})
				require.NoError(b, reply[0].Err)
				r.commit()
			}
		})
	}
}
