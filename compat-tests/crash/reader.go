package crash

import (
	"context"
	"fmt"
	"math/rand/v2"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// reader reads whole groups while they are written: every other time
// linearizably, else from whatever the server has.
type reader struct {
	id      int
	writers []*writer
}

// run reads until the first error.
func (r *reader) run(ctx context.Context, kv etcdserverpb.KVClient, life *life) {
	random := rand.New(rand.NewPCG(uint64(r.id), 0))
	var last int64 // the highest revision that this reader has been shown
	for i := 0; ; i++ {
		group := r.writers[random.IntN(len(r.writers))]
		serializable := i%2 == 1
		// What was acknowledged before the read began.
		groupRev, newest := group.groupRev.Load(), life.newest.Load()
		resp, err := kv.Range(ctx, &etcdserverpb.RangeRequest{
			Key: []byte(group.groupPrefix()), RangeEnd: endOf(group.groupPrefix()), Serializable: serializable,
		})
		if err != nil {
			life.failed(fmt.Sprintf("reader %d", r.id), err)
			return
		}
		who := fmt.Sprintf("reader %d of %s at revision %d", r.id, group.groupPrefix(), resp.Header.Revision)
		if resp.Header.Revision < last {
			life.report("%s: had been shown revision %d before", who, last)
		}
		last = max(last, resp.Header.Revision)
		life.learned(last)
		if n := len(resp.Kvs); n != 0 && n != groupKeys {
			life.report("%s: a torn transaction: %d of %d keys", who, n, groupKeys)
		}
		for _, kv := range resp.Kvs {
			if first := resp.Kvs[0]; kv.ModRevision != first.ModRevision || string(kv.Value) != string(first.Value) {
				life.report("%s: a torn transaction: %s=%s@%d but %s=%s@%d", who,
					first.Key, token(string(first.Value)), first.ModRevision, kv.Key, token(string(kv.Value)), kv.ModRevision)
			}
		}
		if serializable {
			continue
		}
		if resp.Header.Revision < newest {
			life.report("%s: a stale read: revision %d was known before it began", who, newest)
		}
		if len(resp.Kvs) > 0 && resp.Kvs[0].ModRevision < groupRev {
			life.report("%s: a stale read: shows revision %d, %d was acknowledged before it began", who, resp.Kvs[0].ModRevision, groupRev)
		}
	}
}
