package crash

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	ownKeys   = 5 // of a writer, written one at a time
	groupKeys = 4 // of a writer, written together by transactions
)

// writer writes keys that nobody else writes, one call at a time, and books what
// it did. It belongs to one goroutine while the server lives.
type writer struct {
	id     int
	random *rand.Rand
	// written counts the values made, over all lives: each is unique.
	written int
	// maxBytes bounds the length of the values of this life.
	maxBytes int
	// revs holds the revision of each key of the writer that exists.
	revs map[string]int64
	// book has the writes of this life, in order.
	book []*Write
	// groupRev is the revision of the group's last acknowledged write: readers
	// must not see an older one.
	groupRev atomic.Int64
}

func newWriter(id int, seed uint64) *writer {
	return &writer{id: id, random: rand.New(rand.NewPCG(seed, uint64(id)))}
}

func (w *writer) name() string        { return fmt.Sprintf("writer %d", w.id) }
func (w *writer) own(i int) string    { return fmt.Sprintf("%sown/%d/%d", prefix, w.id, i) }
func (w *writer) groupPrefix() string { return fmt.Sprintf("%sgroup/%d/", prefix, w.id) }
func (w *writer) group(i int) string  { return fmt.Sprintf("%s%d", w.groupPrefix(), i) }

// start begins a life with what the ledger says of the writer's keys.
func (w *writer) start(ledger *Ledger, maxBytes int) {
	w.book, w.revs, w.maxBytes = nil, map[string]int64{}, maxBytes
	for i := range ownKeys {
		if row, found := ledger.Row(w.own(i)); found {
			w.revs[w.own(i)] = row.ModRev
		}
	}
	for i := range groupKeys {
		if row, found := ledger.Row(w.group(i)); found {
			w.revs[w.group(i)] = row.ModRev
		}
	}
	w.groupRev.Store(w.revs[w.group(0)])
}

// run writes until the first error.
func (w *writer) run(ctx context.Context, kv etcdserverpb.KVClient, life *life) {
	for {
		if err := w.step(ctx, kv, life); err != nil {
			life.failed(w.name(), err)
			return
		}
	}
}

// step makes one write.
func (w *writer) step(ctx context.Context, kv etcdserverpb.KVClient, life *life) error {
	key := w.own(w.random.IntN(ownKeys))
	switch choice := w.random.IntN(10); {
	case choice < 2 && w.revs[key] != 0:
		return w.delete(ctx, kv, life, key)
	case choice < 6:
		return w.put(ctx, kv, life, key)
	default:
		return w.txn(ctx, kv, life, choice == 6 && w.revs[w.group(0)] != 0)
	}
}

// value makes a value that no other write has, of a random length below limit.
func (w *writer) value(limit int) []byte {
	w.written++
	value := fmt.Appendf(nil, "w%d-%d ", w.id, w.written)
	return append(value, bytes.Repeat([]byte{'x'}, w.random.IntN(limit))...)
}

// enter books a write before it is sent.
func (w *writer) enter(effects ...Effect) *Write {
	entry := &Write{Effects: effects}
	w.book = append(w.book, entry)
	return entry
}

// settle books the answer, or that there was none.
func (w *writer) settle(entry *Write, life *life, header *etcdserverpb.ResponseHeader, err error) {
	if err != nil {
		entry.Outcome = Unknown
		return
	}
	entry.Outcome, entry.Rev = Acknowledged, header.Revision
	for _, e := range entry.Effects {
		if e.Deleted {
			delete(w.revs, e.Key)
		} else {
			w.revs[e.Key] = entry.Rev
		}
	}
	life.acknowledged(entry.Rev)
}

func (w *writer) put(ctx context.Context, kv etcdserverpb.KVClient, life *life, key string) error {
	value := w.value(w.maxBytes)
	entry := w.enter(Effect{Key: key, Value: digest(value)})
	resp, err := kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte(key), Value: value, PrevKv: true})
	if err == nil && resp.PrevKv.GetModRevision() != w.revs[key] {
		life.report("%s: a put of %s at revision %d found the key at revision %d, it must be at %d",
			w.name(), key, resp.Header.Revision, resp.PrevKv.GetModRevision(), w.revs[key])
	}
	w.settle(entry, life, resp.GetHeader(), err)
	return err
}

func (w *writer) delete(ctx context.Context, kv etcdserverpb.KVClient, life *life, key string) error {
	entry := w.enter(Effect{Key: key, Deleted: true})
	resp, err := kv.DeleteRange(ctx, &etcdserverpb.DeleteRangeRequest{Key: []byte(key)})
	if err == nil && resp.Deleted != 1 {
		life.report("%s: a delete of %s, which is there since revision %d, deleted %d keys", w.name(), key, w.revs[key], resp.Deleted)
	}
	w.settle(entry, life, resp.GetHeader(), err)
	return err
}

// txn gives all keys of the group one value, or deletes them all, guarded by the
// revision that the group must have.
func (w *writer) txn(ctx context.Context, kv etcdserverpb.KVClient, life *life, remove bool) error {
	request := &etcdserverpb.TxnRequest{Compare: []*etcdserverpb.Compare{{
		Key: []byte(w.group(0)), Target: etcdserverpb.Compare_MOD, Result: etcdserverpb.Compare_EQUAL,
		TargetUnion: &etcdserverpb.Compare_ModRevision{ModRevision: w.revs[w.group(0)]},
	}}}
	entry := w.enter()
	if remove {
		request.Success = append(request.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestDeleteRange{
			RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: []byte(w.groupPrefix()), RangeEnd: endOf(w.groupPrefix())},
		}})
	}
	value := w.value(w.maxBytes / groupKeys)
	for i := range groupKeys {
		effect := Effect{Key: w.group(i), Deleted: remove}
		if !remove {
			effect.Value = digest(value)
			request.Success = append(request.Success, &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestPut{
				RequestPut: &etcdserverpb.PutRequest{Key: []byte(effect.Key), Value: value},
			}})
		}
		entry.Effects = append(entry.Effects, effect)
	}
	resp, err := kv.Txn(ctx, request)
	if err == nil && !resp.Succeeded {
		life.report("%s: the guard of a transaction failed: %s is not at revision %d, though nobody else writes it",
			w.name(), w.group(0), w.revs[w.group(0)])
		entry.Outcome = Absent
		return fmt.Errorf("guard failed")
	}
	w.settle(entry, life, resp.GetHeader(), err)
	if err == nil {
		w.groupRev.Store(entry.Rev)
	}
	return err
}
