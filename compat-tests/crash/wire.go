package crash

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

// send makes the call that the request stands for: a plain one if it has one
// step and no guard, else a transaction.
func (r request) send(ctx context.Context, kv etcdserverpb.KVClient) (answer, error) {
	if len(r.guards) > 0 || len(r.then) != 1 {
		return r.sendTxn(ctx, kv)
	}
	step := r.then[0]
	a := answer{taken: true, read: make([]readResult, 1)}
	switch step.kind {
	case stepGet:
		resp, err := kv.Range(ctx, &etcdserverpb.RangeRequest{Key: keyOf(r.group, step.key)})
		if err != nil {
			return answer{}, err
		}
		a.rev, a.read[0] = resp.Header.Revision, resultOfGet(resp)
	case stepPut:
		resp, err := kv.Put(ctx, &etcdserverpb.PutRequest{Key: keyOf(r.group, step.key), Value: []byte(step.value)})
		if err != nil {
			return answer{}, err
		}
		a.rev = resp.Header.Revision
	case stepDelete:
		resp, err := kv.DeleteRange(ctx, &etcdserverpb.DeleteRangeRequest{Key: keyOf(r.group, step.key)})
		if err != nil {
			return answer{}, err
		}
		a.rev, a.read[0].deleted = resp.Header.Revision, resp.Deleted
	}
	return a, nil
}

func (r request) sendTxn(ctx context.Context, kv etcdserverpb.KVClient) (answer, error) {
	txn := &etcdserverpb.TxnRequest{Success: r.ops(r.then), Failure: r.ops(r.otherwise)}
	for _, g := range r.guards {
		txn.Compare = append(txn.Compare, g.compare(r.group))
	}
	resp, err := kv.Txn(ctx, txn)
	if err != nil {
		return answer{}, err
	}
	branch := r.branch(resp.Succeeded)
	if len(resp.Responses) != len(branch) {
		return answer{}, fmt.Errorf("a transaction of %d operations has %d responses", len(branch), len(resp.Responses))
	}
	a := answer{taken: resp.Succeeded, rev: resp.Header.Revision, read: make([]readResult, len(branch))}
	for i, step := range branch {
		switch step.kind {
		case stepGet:
			a.read[i] = resultOfGet(resp.Responses[i].GetResponseRange())
		case stepDelete:
			a.read[i].deleted = resp.Responses[i].GetResponseDeleteRange().GetDeleted()
		case stepPut:
		}
	}
	return a, nil
}

// compare is a guard on the wire. No value equals that of an absent key, so
// absence is compared by the create revision.
func (g guard) compare(group int) *etcdserverpb.Compare {
	c := &etcdserverpb.Compare{Key: keyOf(group, g.key), Result: etcdserverpb.Compare_EQUAL}
	if g.value == "" {
		c.Target, c.TargetUnion = etcdserverpb.Compare_CREATE, &etcdserverpb.Compare_CreateRevision{}
	} else {
		c.Target, c.TargetUnion = etcdserverpb.Compare_VALUE, &etcdserverpb.Compare_Value{Value: []byte(g.value)}
	}
	return c
}

// ops are the operations of a branch on the wire.
func (r request) ops(branch []step) []*etcdserverpb.RequestOp {
	var ops []*etcdserverpb.RequestOp
	for _, step := range branch {
		key, op := keyOf(r.group, step.key), &etcdserverpb.RequestOp{}
		switch step.kind {
		case stepGet:
			op.Request = &etcdserverpb.RequestOp_RequestRange{RequestRange: &etcdserverpb.RangeRequest{Key: key}}
		case stepPut:
			op.Request = &etcdserverpb.RequestOp_RequestPut{
				RequestPut: &etcdserverpb.PutRequest{Key: key, Value: []byte(step.value)},
			}
		case stepDelete:
			op.Request = &etcdserverpb.RequestOp_RequestDeleteRange{
				RequestDeleteRange: &etcdserverpb.DeleteRangeRequest{Key: key},
			}
		}
		ops = append(ops, op)
	}
	return ops
}

func resultOfGet(resp *etcdserverpb.RangeResponse) readResult {
	if len(resp.GetKvs()) == 0 {
		return readResult{}
	}
	return readResult{row: Row{Value: string(resp.Kvs[0].Value), ModRev: resp.Kvs[0].ModRevision}}
}
