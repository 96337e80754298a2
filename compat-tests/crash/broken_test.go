package crash

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// brokenKV gives answers that a right server would not give; with none left it
// is dead.
type brokenKV struct {
	etcdserverpb.KVClient
	ranges  []*etcdserverpb.RangeResponse
	puts    []*etcdserverpb.PutResponse
	deletes []*etcdserverpb.DeleteRangeResponse
	txns    []*etcdserverpb.TxnResponse
}

var errDead = errors.New("dead")

func take[T any](answers *[]T) (T, error) {
	if len(*answers) == 0 {
		var none T
		return none, errDead
	}
	first := (*answers)[0]
	*answers = (*answers)[1:]
	return first, nil
}

func (b *brokenKV) Range(context.Context, *etcdserverpb.RangeRequest, ...grpc.CallOption) (*etcdserverpb.RangeResponse, error) {
	return take(&b.ranges)
}

func (b *brokenKV) Put(context.Context, *etcdserverpb.PutRequest, ...grpc.CallOption) (*etcdserverpb.PutResponse, error) {
	return take(&b.puts)
}

func (b *brokenKV) DeleteRange(context.Context, *etcdserverpb.DeleteRangeRequest, ...grpc.CallOption) (*etcdserverpb.DeleteRangeResponse, error) {
	return take(&b.deletes)
}

func (b *brokenKV) Txn(context.Context, *etcdserverpb.TxnRequest, ...grpc.CallOption) (*etcdserverpb.TxnResponse, error) {
	return take(&b.txns)
}

func header(rev int64) *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{Revision: rev}
}

// group answers a read of a group with rows of these values and revisions.
func group(rev int64, rows ...Row) *etcdserverpb.RangeResponse {
	resp := &etcdserverpb.RangeResponse{Header: header(rev)}
	for _, row := range rows {
		resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte("k"), Value: []byte(row.Value), ModRevision: row.ModRev})
	}
	return resp
}

func whole(rev int64, row Row) *etcdserverpb.RangeResponse { return group(rev, row, row, row, row) }

func TestReaderReports(t *testing.T) {
	for name, c := range map[string]struct {
		answers []*etcdserverpb.RangeResponse
		want    string
	}{
		"a transaction torn by keys":     {[]*etcdserverpb.RangeResponse{group(9, Row{"a", 9}, Row{"a", 9})}, "torn transaction: 2 of 4 keys"},
		"a transaction torn by values":   {[]*etcdserverpb.RangeResponse{group(9, Row{"a", 9}, Row{"a", 9}, Row{"b", 9}, Row{"a", 9})}, "torn transaction: k=a@9 but k=b@9"},
		"a transaction torn by revision": {[]*etcdserverpb.RangeResponse{group(9, Row{"a", 9}, Row{"a", 9}, Row{"a", 9}, Row{"a", 8})}, "torn transaction: k=a@9 but k=a@8"},
		"a stale revision":               {[]*etcdserverpb.RangeResponse{whole(6, Row{"a", 5})}, "stale read: revision 7 was known"},
		"a stale row":                    {[]*etcdserverpb.RangeResponse{whole(9, Row{"a", 4})}, "stale read: shows revision 4, 5 was acknowledged"},
		"a revision that goes back":      {[]*etcdserverpb.RangeResponse{whole(9, Row{"a", 5}), whole(8, Row{"a", 5})}, "had been shown revision 9 before"},
		"an error":                       {nil, "error while the server was alive: dead"},
	} {
		t.Run(name, func(t *testing.T) {
			life := newLife(100)
			life.learned(7)
			w := newWriter(0, 1)
			w.groupRev.Store(5)
			(&reader{writers: []*writer{w}}).run(t.Context(), &brokenKV{ranges: c.answers}, life)
			requireBroken(t, life.broken, c.want)
		})
	}
	life := newLife(100)
	life.learned(7)
	life.doomed.Store(true)
	w := newWriter(0, 1)
	w.groupRev.Store(5)
	right := []*etcdserverpb.RangeResponse{whole(7, Row{"a", 5}), whole(7, Row{"a", 5}), group(8)}
	(&reader{writers: []*writer{w}}).run(t.Context(), &brokenKV{ranges: right}, life)
	require.Empty(t, life.broken, "what is right, and the error of a dead server")
	require.Equal(t, int64(8), life.newest.Load())
}

func TestWriterReports(t *testing.T) {
	life := newLife(100)
	w := newWriter(0, 1)
	w.maxBytes = 100
	w.revs = map[string]int64{"k": 5, w.group(0): 6}
	kv := &brokenKV{
		puts:    []*etcdserverpb.PutResponse{{Header: header(7), PrevKv: &mvccpb.KeyValue{ModRevision: 4}}},
		deletes: []*etcdserverpb.DeleteRangeResponse{{Header: header(7)}},
		txns:    []*etcdserverpb.TxnResponse{{Header: header(7)}},
	}
	require.NoError(t, w.put(t.Context(), kv, life, "k"))
	requireBroken(t, life.broken, "found the key at revision 4, it must be at 5")
	require.NoError(t, w.delete(t.Context(), kv, life, "k"))
	requireBroken(t, life.broken, "since revision 7, deleted 0 keys")
	require.Error(t, w.txn(t.Context(), kv, life, false))
	requireBroken(t, life.broken, "the guard of a transaction failed")
	require.ErrorIs(t, w.put(t.Context(), kv, life, "k"), errDead)

	var outcomes []Outcome
	for _, entry := range w.book {
		outcomes = append(outcomes, entry.Outcome)
	}
	require.Equal(t, []Outcome{Acknowledged, Acknowledged, Absent, Unknown}, outcomes)
	require.Equal(t, int64(7), w.book[0].Rev)
}

// leases is a server's idea of its leases.
type leases struct {
	etcdserverpb.LeaseClient
	statuses map[int64]*etcdserverpb.LeaseTimeToLiveResponse
}

func (l leases) LeaseLeases(context.Context, *etcdserverpb.LeaseLeasesRequest, ...grpc.CallOption) (*etcdserverpb.LeaseLeasesResponse, error) {
	resp := &etcdserverpb.LeaseLeasesResponse{}
	for id := range l.statuses {
		resp.Leases = append(resp.Leases, &etcdserverpb.LeaseStatus{ID: id})
	}
	return resp, nil
}

func (l leases) LeaseTimeToLive(_ context.Context, r *etcdserverpb.LeaseTimeToLiveRequest, _ ...grpc.CallOption) (*etcdserverpb.LeaseTimeToLiveResponse, error) {
	return l.statuses[r.ID], nil
}

func TestKeeperReports(t *testing.T) {
	// The ledger knows of a key for lease 1, and for lease 3, whose revocation had
	// no answer.
	ledger := NewLedger(1)
	ledger.rows = map[string]Row{"k1": {"v", 2}, "k3": {"v", 3}}
	alive := func(keys ...string) *etcdserverpb.LeaseTimeToLiveResponse {
		resp := &etcdserverpb.LeaseTimeToLiveResponse{TTL: 59, GrantedTTL: leaseTTL}
		for _, key := range keys {
			resp.Keys = append(resp.Keys, []byte(key))
		}
		return resp
	}
	for name, c := range map[string]struct {
		statuses map[int64]*etcdserverpb.LeaseTimeToLiveResponse
		want     string
	}{
		"a lease that is gone":       {map[int64]*etcdserverpb.LeaseTimeToLiveResponse{3: alive("k3")}, "lease 1 of 60 s was granted, and is gone"},
		"a lease that is back":       {map[int64]*etcdserverpb.LeaseTimeToLiveResponse{1: alive("k1"), 3: alive("k3"), 9: alive()}, "lease 9 was revoked or never granted"},
		"a lease that has run out":   {map[int64]*etcdserverpb.LeaseTimeToLiveResponse{1: {TTL: -1}, 3: alive("k3")}, "lease 1: has -1 s of 0 s left"},
		"a lease without its key":    {map[int64]*etcdserverpb.LeaseTimeToLiveResponse{1: alive(), 3: alive("k3")}, "lease 1: has the keys [], it must have 1"},
		"a key that lost its lease":  {map[int64]*etcdserverpb.LeaseTimeToLiveResponse{1: alive("k1")}, "lease 3 is gone, the key attached to it is not"},
		"a lease with another's key": {map[int64]*etcdserverpb.LeaseTimeToLiveResponse{1: alive("k3"), 3: alive("k3")}, `lease 1: has the keys ["k3"]`},
	} {
		t.Run(name, func(t *testing.T) {
			k := &leaseKeeper{leases: []*lease{{id: 1, key: "k1"}, {id: 2, key: "k2", unsure: true}, {id: 3, key: "k3", unsure: true}}}
			requireBroken(t, k.check(t.Context(), leases{statuses: c.statuses}, ledger), c.want)
		})
	}
	k := &leaseKeeper{leases: []*lease{{id: 1, key: "k1"}, {id: 2, key: "k2", unsure: true}, {id: 3, key: "k3", unsure: true}}}
	right := leases{statuses: map[int64]*etcdserverpb.LeaseTimeToLiveResponse{1: alive("k1"), 3: alive("k3")}}
	require.Empty(t, k.check(t.Context(), right, ledger))
	require.Len(t, k.leases, 2, "the one that was never granted is forgotten")
}
