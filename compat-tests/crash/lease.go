package crash

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	leaseTTL   = 60 // seconds: longer than a life and its audit
	liveLeases = 5  // kept before the oldest is revoked
)

// lease is one that the keeper has asked for, with the key attached to it.
type lease struct {
	id  int64
	key string
	// unsure says that its grant or its revocation was not acknowledged.
	unsure bool
	// attached says that the key exists.
	attached bool
}

// leaseKeeper grants leases, attaches a key to each and revokes the oldest, one
// call at a time. It belongs to one goroutine while the server lives.
type leaseKeeper struct {
	nextID int64
	leases []*lease
	book   []*Write
}

func newLeaseKeeper() *leaseKeeper { return &leaseKeeper{nextID: 7_000_001} }

// run grants and revokes until the first error.
func (k *leaseKeeper) run(ctx context.Context, leases etcdserverpb.LeaseClient, kv etcdserverpb.KVClient, life *life) {
	k.book = nil
	for {
		if err := k.step(ctx, leases, kv, life); err != nil {
			life.failed("keeper of leases", err)
			return
		}
	}
}

func (k *leaseKeeper) step(ctx context.Context, leases etcdserverpb.LeaseClient, kv etcdserverpb.KVClient, life *life) error {
	l := &lease{id: k.nextID, key: fmt.Sprintf("%slease/%d", prefix, k.nextID), unsure: true}
	k.nextID++
	k.leases = append(k.leases, l)
	granted, err := leases.LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: l.id, TTL: leaseTTL})
	if err != nil {
		return err
	}
	l.unsure = false
	if granted.ID != l.id || granted.TTL != leaseTTL {
		life.report("lease %d of %d s was granted as %d of %d s", l.id, leaseTTL, granted.ID, granted.TTL)
	}
	attach := Effect{Key: l.key, Value: fmt.Sprintf("lease-%d", l.id)}
	resp, err := kv.Put(ctx, &etcdserverpb.PutRequest{Key: []byte(l.key), Value: []byte(attach.Value), Lease: l.id})
	k.settle(life, &Write{Effects: []Effect{attach}, Rev: resp.GetHeader().GetRevision()}, err)
	l.attached = err == nil
	if err != nil || len(k.leases) <= liveLeases {
		return err
	}
	oldest := k.leases[0]
	oldest.unsure = true
	revoked, err := leases.LeaseRevoke(ctx, &etcdserverpb.LeaseRevokeRequest{ID: oldest.id})
	if oldest.attached {
		k.settle(life, &Write{
			Effects: []Effect{{Key: oldest.key, Deleted: true}}, AtMost: revoked.GetHeader().GetRevision(),
		}, err)
	}
	if err == nil {
		k.leases = k.leases[1:]
	}
	return err
}

// settle books a write with its outcome.
func (k *leaseKeeper) settle(life *life, entry *Write, err error) {
	entry.Outcome = Unknown
	if err == nil {
		entry.Outcome = Acknowledged
		life.acknowledged(max(entry.Rev, entry.AtMost))
	}
	k.book = append(k.book, entry)
}

// check compares the leases of a server with the keeper's after the ledger has
// been audited, and forgets those whose outcome was unknown and that are gone. A
// lease and the key attached to it live and die together.
func (k *leaseKeeper) check(ctx context.Context, client etcdserverpb.LeaseClient, ledger *Ledger) []error {
	list, err := client.LeaseLeases(ctx, &etcdserverpb.LeaseLeasesRequest{})
	if err != nil {
		return []error{fmt.Errorf("list the leases: %w", err)}
	}
	var broken []error
	report := func(format string, args ...any) { broken = append(broken, fmt.Errorf(format, args...)) }
	listed := map[int64]bool{}
	for _, status := range list.Leases {
		listed[status.ID] = true
	}
	var kept []*lease
	for _, l := range k.leases {
		_, l.attached = ledger.Row(l.key)
		switch {
		case listed[l.id]:
			delete(listed, l.id)
			l.unsure = false
			kept = append(kept, l)
			for _, err := range checkLease(ctx, client, l) {
				report("lease %d: %w", l.id, err)
			}
		case !l.unsure:
			report("lease %d of %d s was granted, and is gone", l.id, leaseTTL)
		case l.attached:
			report("lease %d is gone, the key attached to it is not", l.id)
		}
	}
	for id := range listed {
		report("lease %d was revoked or never granted, and is there", id)
	}
	k.leases = kept
	return broken
}

func checkLease(ctx context.Context, client etcdserverpb.LeaseClient, l *lease) []error {
	status, err := client.LeaseTimeToLive(ctx, &etcdserverpb.LeaseTimeToLiveRequest{ID: l.id, Keys: true})
	if err != nil {
		return []error{err}
	}
	var broken []error
	if status.GrantedTTL != leaseTTL || status.TTL <= 0 || status.TTL > leaseTTL {
		broken = append(broken, fmt.Errorf("has %d s of %d s left", status.TTL, status.GrantedTTL))
	}
	want := 0
	if l.attached {
		want = 1
	}
	if len(status.Keys) != want || want == 1 && string(status.Keys[0]) != l.key {
		broken = append(broken, fmt.Errorf("has the keys %q, it must have %d", status.Keys, want))
	}
	return broken
}
