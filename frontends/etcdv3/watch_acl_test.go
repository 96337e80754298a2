package etcdv3

import (
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/triglot/triglot/core"
)

// X11: the events of a watch are filtered one by one, and nothing else tells of those
// that are left out: neither an empty response nor a progress notification that fails to
// come.
func TestWatchFilter(t *testing.T) {
	open := core.Change{KV: &core.KV{Key: []byte("open"), ModRev: 42, CreateRev: 42, Version: 1}}
	secret := core.Change{KV: &core.KV{Key: []byte("secret"), ModRev: 42, CreateRev: 42, Version: 1, ACL: 7}}
	event := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("open"), ModRevision: 42, CreateRevision: 42, Version: 1}}

	onRig(t, "some", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("z")})
		r.called()
		r.created(1, 0)
		r.feed.deliveries <- core.Delivery{Watch: 1, Rev: 42, Changes: []core.Change{secret, open, secret}}
		r.sent(42, &pb.WatchResponse{Events: []*mvccpb.Event{event}})
	})

	onRig(t, "all", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("z"), ProgressNotify: true})
		r.called()
		r.created(1, 0)
		for range 3 {
			r.feed.deliveries <- core.Delivery{Watch: 1, Rev: 42, Changes: []core.Change{secret}}
			r.silent()
			pass(time.Minute + 10*time.Second)
			want := call{method: "progress", id: 1}
			if got := r.called(); got.method != want.method || got.id != want.id {
				r.Fatalf("%+v instead of %+v", got, want)
			}
		}
	})

	onRig(t, "fragments", func(r *rig) {
		r.create(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("z"), Fragment: true})
		r.called()
		r.created(1, 0)
		large := func(c core.Change) core.Change {
			kv := *c.KV
			kv.Value = make([]byte, 1<<20)
			return core.Change{KV: &kv}
		}
		r.feed.deliveries <- core.Delivery{Watch: 1, Rev: 42, Changes: []core.Change{large(secret), large(open), large(secret), large(open)}}
		shown := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("open"), Value: make([]byte, 1<<20), ModRevision: 42, CreateRevision: 42, Version: 1}}
		r.sent(42, &pb.WatchResponse{Fragment: true, Events: []*mvccpb.Event{shown}})
		r.sent(42, &pb.WatchResponse{Events: []*mvccpb.Event{shown}})
	})
}
