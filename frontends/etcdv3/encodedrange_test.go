package etcdv3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/core"
)

// drawnRange is an answer encoded key by key, and the message that it stands for.
func drawnRange(t *rapid.T, budget *rangeBudget) (*encodedRange, proto.Message) {
	e := newEncodedRange(context.Background(), &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}, budget)
	e.stream = rapid.Bool().Draw(t, "stream")
	fill(t, e.header.ProtoReflect())
	resp := &pb.RangeResponse{
		Header: proto.Clone(&e.header).(*pb.ResponseHeader),
		More:   rapid.Bool().Draw(t, "more"), Count: rapid.Int64().Draw(t, "count"),
	}
	header := &e.header
	if e.stream && rapid.Bool().Draw(t, "not the last") {
		resp.Header, resp.More, resp.Count, header = nil, false, 0, nil
	}
	e.begin()
	var lent core.KV
	for range rapid.IntRange(0, 60).Draw(t, "keys") {
		kv := drawKV(t, "kv", true)
		if rapid.IntRange(0, 20).Draw(t, "a large one") == 0 {
			kv.Value = bytes.Repeat([]byte{'L'}, rapid.IntRange(60<<10, 400<<10).Draw(t, "large"))
		}
		resp.Kvs = append(resp.Kvs, kvOf(kv))
		// The key and the value are lent, as the engine's are.
		lent = *kv
		lent.Key, lent.Value = bytes.Clone(kv.Key), bytes.Clone(kv.Value)
		if err := e.add(&lent); err != nil {
			t.Fatal(err)
		}
		clear(lent.Key)
		clear(lent.Value)
	}
	if n := len(resp.Kvs); e.keys != int64(n) || e.stream && n > 0 && !bytes.Equal(e.last, resp.Kvs[n-1].Key) {
		t.Fatalf("%d keys, the last %q", e.keys, e.last)
	}
	e.end(resp.More, resp.Count, header)
	if e.stream {
		return e, &pb.RangeStreamResponse{RangeResponse: resp}
	}
	return e, resp
}

// checkEncodedRange: what is encoded key by key is to the byte what proto makes of the
// message; a large one has a part of the budget until it has been sent.
func checkEncodedRange(t *rapid.T) {
	budget := newRangeBudget(1 << 30)
	e, resp := drawnRange(t, budget)
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(resp)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(e.out.front) + e.out.size(); got != len(want) {
		t.Fatalf("the size is %d, not %d", got, len(want))
	}
	if rapid.Bool().Draw(t, "as a message first") {
		if !proto.Equal(resp, e) {
			t.Fatal("it is another message")
		}
		if e.out.size() != 0 || e.out.full != nil {
			t.Fatal("the encoding is kept beside the message")
		}
	}
	data, err := testCodec.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if got := data.Materialize(); !bytes.Equal(want, got) {
		t.Fatalf("want %.300x\ngot  %.300x", want, got)
	}
	if len(want) > freeRangeBytes+largeBuffer && budget.left() == budget.total {
		t.Fatal("a large answer was not counted")
	}
	if taken := budget.total - budget.left(); taken > int64(2*len(want)+largeBuffer) {
		t.Fatalf("%d bytes took %d of the budget", len(want), taken)
	}
	data.Free()
	if budget.left() != budget.total {
		t.Fatal("not given back when it was sent")
	}
}

func TestEncodedRangesAgreeWithProto(t *testing.T) { rapid.Check(t, checkEncodedRange) }

func FuzzEncodedRange(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkEncodedRange)) }

// A single large value is sent as it lies in the store, and no part of the budget.
func TestSingleKeysAreEncodedAsProto(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := newRangeBudget(0)
		kv := drawKV(t, "kv", true)
		if rapid.IntRange(0, 3).Draw(t, "a large one") == 0 {
			kv.Value = bytes.Repeat([]byte{'L'}, rapid.IntRange(60<<10, 3<<20).Draw(t, "large"))
		}
		e := newEncodedRange(context.Background(), &pb.RangeRequest{Key: kv.Key}, budget)
		fill(t, e.header.ProtoReflect())
		e.begin()
		if err := e.add(kv); err != nil {
			t.Fatal(err)
		}
		resp := &pb.RangeResponse{Header: proto.Clone(&e.header).(*pb.ResponseHeader), Count: 1}
		resp.Kvs = append(resp.Kvs, kvOf(kv))
		e.end(false, 1, &e.header)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(resp)
		if err != nil {
			t.Fatal(err)
		}
		data, err := testCodec.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := data.Materialize(); !bytes.Equal(want, got) {
			t.Fatalf("want %.300x\ngot  %.300x", want, got)
		}
		data.Free()
	})
}

// What is gathered before it is encoded is counted once, and an answer that fails gives
// back what it has.
func TestEncodedRangesAreCounted(t *testing.T) {
	budget := newRangeBudget(10 << 20)
	value := bytes.Repeat([]byte{'v'}, 60<<10)
	e := newEncodedRange(t.Context(), &pb.RangeRequest{Key: []byte("k"), RangeEnd: []byte("l")}, budget)
	for range 100 {
		require.NoError(t, e.query.Grow(len(value)))
	}
	gathered := budget.left()
	require.Less(t, gathered, budget.total-5<<20)
	for range 90 {
		require.NoError(t, e.query.Each(&core.KV{Key: []byte("k"), Value: value, Version: 1}))
	}
	require.Equal(t, gathered, budget.left())
	var err error
	for i := 0; i < 1000 && err == nil; i++ {
		err = e.query.Each(&core.KV{Key: []byte("k"), Value: value, Version: 1})
	}
	require.Equal(t, errRangeTooLarge, e.drop(err))
	require.Equal(t, budget.total, budget.left())

	failed := errors.New("the disk gave up")
	require.Equal(t, failed, newEncodedRange(t.Context(), &pb.RangeRequest{}, budget).drop(failed))
}

// Calls that run side by side, and use each other's memory again, get their own answers.
func TestRangesSideBySide(t *testing.T) {
	s := startServer(t)
	const keys = 120
	value := func(i int) string { return strings.Repeat(fmt.Sprintf("%03d/", i), 1+i*i) } // up to 56 KiB
	for i := range keys {
		s.put(fmt.Sprintf("k%03d", i), value(i))
	}
	ctx := s.ctx()
	read := func(from, to int, r *pb.RangeRequest) error {
		got, err := s.kv.Range(ctx, r)
		if err != nil {
			return err
		}
		if len(got.Kvs) != to-from || got.Count != int64(to-from) {
			return fmt.Errorf("%d keys from %d to %d", len(got.Kvs), from, to)
		}
		for i, kv := range got.Kvs {
			if string(kv.Key) != fmt.Sprintf("k%03d", from+i) || string(kv.Value) != value(from+i) {
				return fmt.Errorf("key %d is %q with %.20q", from+i, kv.Key, kv.Value)
			}
		}
		return nil
	}
	var readers sync.WaitGroup
	for reader := range 8 {
		readers.Go(func() {
			for round := range 40 {
				from := (reader*31 + round*17) % keys
				to := min(keys, from+1+round%20)
				r := &pb.RangeRequest{Key: fmt.Appendf(nil, "k%03d", from), RangeEnd: fmt.Appendf(nil, "k%03d", to)}
				if round%4 == 0 {
					to, r.RangeEnd = from+1, nil
				}
				if err := read(from, to, r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Wait()
}
