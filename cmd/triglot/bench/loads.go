package bench

import (
	"context"
	"slices"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/etcdload"
	"github.com/triglot/triglot/cmd/triglot/bench/httpload"
	"github.com/triglot/triglot/cmd/triglot/bench/zkload"
)

// protocol is one that servers speak.
type protocol struct {
	name, port string
	loads      []string
	open       func(ctx context.Context, r *run, load string) (drive.Load, error)
}

// protocols are all; without --protocol the first counts that has the load.
var protocols = []protocol{
	{
		name: "etcd", port: "2379", open: openEtcd,
		loads: []string{
			"put", "get", "sget", "mix", "range", "range-stream", "count", "txn", "delete",
			"watch-latency", "watch-fanout", "watch-keys", "watch-catchup", "lease-keepalive",
		},
	},
	{
		name: "zookeeper", port: "2181", open: openZK,
		loads: []string{"create", "set", "get", "mix", "get-children", "multi", "ephemeral-churn", "session-storm", "watch-storm"},
	},
	{name: "http", port: "2379", open: openHTTP, loads: []string{"put", "get", "mix"}},
}

// stamped are the loads that write the time into the value.
var stamped = []string{"watch-latency", "watch-fanout", "watch-keys"}

// fillName is what the load that fills is called, in every protocol.
const fillName = "fill"

func protocolOf(name string) *protocol {
	for i := range protocols {
		if protocols[i].name == name {
			return &protocols[i]
		}
	}
	return nil
}

func allLoads() []string {
	var all []string
	for i := range protocols {
		all = append(all, protocols[i].loads...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func openEtcd(ctx context.Context, r *run, load string) (drive.Load, error) {
	o := r.options
	return etcdload.New(ctx, load, etcdload.Config{
		Endpoints: o.endpoints, Connections: o.connections, Clients: o.pace.Clients, Keys: r.keys, Ops: o.pace.Ops,
		ReadShare: o.readShare, Limit: o.limit, Watchers: o.watch.watchers, Streams: o.watch.streams,
		FromRevision: o.watch.fromRevision, Behind: o.watch.behind, Record: &r.record, Note: r.note, Fail: r.fail,
	})
}

func openZK(ctx context.Context, r *run, load string) (drive.Load, error) {
	o := r.options
	return zkload.New(ctx, load, zkload.Config{
		Endpoints: o.endpoints, Connections: o.connections, Keys: r.keys,
		ReadShare: o.readShare, Watchers: o.watch.watchers, Record: &r.record,
	})
}

func openHTTP(ctx context.Context, r *run, load string) (drive.Load, error) {
	o := r.options
	return httpload.New(ctx, load, httpload.Config{
		Endpoints: o.endpoints, Connections: o.connections, Keys: r.keys, ReadShare: o.readShare,
	})
}
