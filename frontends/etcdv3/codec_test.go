package etcdv3

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"
)

var testCodec = codec{metrics: NewMetrics(nil)}

// fill sets every field of m to something drawn, or leaves it out. It works by
// reflection, so a field that a newer version of etcd's API adds is set too and
// an encoder that does not know it fails the test.
func fill(t *rapid.T, m protoreflect.Message) {
	bytesGen := rapid.SliceOfN(rapid.Byte(), 0, 200)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !rapid.Bool().Draw(t, string(fd.Name())) {
			continue
		}
		scalar := func() protoreflect.Value {
			switch fd.Kind() {
			case protoreflect.BoolKind:
				return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
			case protoreflect.EnumKind:
				return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32().Draw(t, "enum")))
			case protoreflect.Int64Kind:
				return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
			case protoreflect.Uint64Kind:
				return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
			case protoreflect.BytesKind:
				return protoreflect.ValueOfBytes(bytesGen.Draw(t, "bytes"))
			case protoreflect.StringKind:
				return protoreflect.ValueOfString(rapid.String().Draw(t, "string"))
			default:
				t.Fatalf("field %s is of a kind that this test does not know: %v", fd.FullName(), fd.Kind())
				panic("unreachable")
			}
		}
		switch {
		case fd.IsList() && fd.Message() != nil:
			list := m.Mutable(fd).List()
			for range rapid.IntRange(0, 3).Draw(t, "elements") {
				fill(t, list.AppendMutable().Message())
			}
		case fd.IsList():
			t.Fatalf("field %s is a list that this test does not know", fd.FullName())
		case fd.Message() != nil:
			fill(t, m.Mutable(fd).Message())
		default:
			m.Set(fd, scalar())
		}
	}
}

func TestEncodersAgreeWithProto(t *testing.T) {
	for _, empty := range []proto.Message{&pb.PutResponse{}, &pb.TxnResponse{}, &pb.WatchResponse{}} {
		t.Run(string(empty.ProtoReflect().Descriptor().Name()), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := empty.ProtoReflect().New()
				fill(t, m)
				want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
				if err != nil {
					t.Fatal(err)
				}
				sent := m.Interface()
				if txn, ok := sent.(*pb.TxnResponse); ok {
					reply := new(txnReply)
					proto.Merge(&reply.TxnResponse, txn)
					sent = reply
				}
				data, err := testCodec.Marshal(sent)
				if err != nil {
					t.Fatal(err)
				}
				if got := data.Materialize(); !bytes.Equal(want, got) {
					t.Fatalf("want %x\ngot  %x", want, got)
				}
				data.Free()
			})
		})
	}
}

// The sizes decide where watch responses are cut, so they must be exact.
func TestSizesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		event := &mvccpb.Event{}
		fill(t, event.ProtoReflect())
		if want, got := proto.Size(event), sizeEvent(event); want != got {
			t.Fatalf("event: want %d, got %d", want, got)
		}
		watch := &pb.WatchResponse{}
		fill(t, watch.ProtoReflect())
		if want, got := proto.Size(watch), sizeWatchResponse(watch); want != got {
			t.Fatalf("watch response: want %d, got %d", want, got)
		}
	})
}

// checkDecode decodes b as proto does and as the codec does, and compares.
func checkDecode(t testing.TB, b []byte, want, got proto.Message) {
	t.Helper()
	wantErr := proto.Unmarshal(b, want)
	// In two parts, as a message may come.
	half := len(b) / 2
	data := mem.BufferSlice{mem.SliceBuffer(b[:half]), mem.SliceBuffer(b[half:])}
	gotErr := testCodec.Unmarshal(data, got)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("%x: proto's error: %v; ours: %v", b, wantErr, gotErr)
	}
	if wantErr != nil {
		return
	}
	dropUnknown(want.ProtoReflect())
	if !proto.Equal(want, got) { // cmp.Diff takes minutes for transactions within transactions
		t.Fatalf("%x\nwant %v\ngot  %v", b, want, got)
	}
}

// dropUnknown takes the unknown fields out of m and what is in it.
func dropUnknown(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				dropUnknown(v.List().Get(i).Message())
			}
		default:
			dropUnknown(v.Message())
		}
		return true
	})
}

func TestDecodersAgreeWithProto(t *testing.T) {
	for _, empty := range []proto.Message{&pb.PutRequest{}, &pb.RangeRequest{}, &pb.TxnRequest{}, &pb.DeleteRangeRequest{}} {
		t.Run(string(empty.ProtoReflect().Descriptor().Name()), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := empty.ProtoReflect().New()
				fill(rt, m)
				b, err := proto.Marshal(m.Interface())
				if err != nil {
					rt.Fatal(err)
				}
				checkDecode(t, b, m.New().Interface(), m.New().Interface())
			})
		})
	}
}

// seeds are messages that are odd in one way each.
func seeds() map[string][]byte {
	field := func(num protowire.Number, typ protowire.Type, value ...byte) []byte {
		return append(protowire.AppendTag(nil, num, typ), value...)
	}
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	key := field(1, protowire.BytesType, 1, 'k')
	return map[string][]byte{
		"empty":                  {},
		"key":                    key,
		"empty key":              field(1, protowire.BytesType, 0),
		"key twice, last empty":  cat(key, field(1, protowire.BytesType, 0)),
		"key twice":              cat(key, field(1, protowire.BytesType, 2, 'l', 'm')),
		"key as a number":        field(1, protowire.VarintType, 7),
		"number as bytes":        field(3, protowire.BytesType, 1, 'x'),
		"number as fixed64":      field(3, protowire.Fixed64Type, 1, 2, 3, 4, 5, 6, 7, 8),
		"number twice":           cat(field(3, protowire.VarintType, 1), field(3, protowire.VarintType, 2)),
		"negative number":        field(3, protowire.VarintType, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"number too long":        field(3, protowire.VarintType, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2),
		"number cut off":         field(3, protowire.VarintType, 0x80),
		"bool of many bits":      field(4, protowire.VarintType, 0x80, 0x02),
		"enum beyond 32 bits":    field(5, protowire.VarintType, 0x81, 0x80, 0x80, 0x80, 0x10),
		"bytes cut off":          field(1, protowire.BytesType, 5, 'k'),
		"length too large":       field(1, protowire.BytesType, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"unknown field":          cat(field(99, protowire.BytesType, 1, 'x'), key),
		"unknown fixed32":        cat(field(99, protowire.Fixed32Type, 1, 2, 3, 4), key),
		"unknown group":          cat(field(99, protowire.StartGroupType), key, field(99, protowire.EndGroupType), key),
		"group never ended":      field(99, protowire.StartGroupType),
		"group never begun":      field(99, protowire.EndGroupType),
		"known field as a group": cat(field(1, protowire.StartGroupType), field(1, protowire.EndGroupType)),
		"field number too large": {0xe8, 0x81, 0xc4, 0xc4, 0x30, 0x30},
		"field number zero":      {0x02, 0x00},
		"wire type six":          {0x0e, 0x00},
		"tag cut off":            {0x80},
		"tag too large":          {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"tag in too many bytes":  {0x8a, 0x80, 0x00, 0x01, 'k'},
	}
}

func TestDecodeOddities(t *testing.T) {
	for name, b := range seeds() {
		t.Run(name, func(t *testing.T) {
			checkDecode(t, b, &pb.PutRequest{}, &pb.PutRequest{})
			checkDecode(t, b, &pb.RangeRequest{}, &pb.RangeRequest{})
			checkDecode(t, b, &pb.DeleteRangeRequest{}, &pb.DeleteRangeRequest{})
			checkDecode(t, b, &pb.TxnRequest{}, &pb.TxnRequest{})
			// As a compare, as an operation, and as a request of each kind within one.
			checkDecode(t, within(b, 1), &pb.TxnRequest{}, &pb.TxnRequest{})
			checkDecode(t, within(b, 2), &pb.TxnRequest{}, &pb.TxnRequest{})
			for kind := range protowire.Number(5) {
				checkDecode(t, within(b, kind, 2), &pb.TxnRequest{}, &pb.TxnRequest{})
			}
		})
	}
}

// within is b as the first of the fields, that as the next, and so on.
func within(b []byte, fields ...protowire.Number) []byte {
	for _, num := range fields {
		b = protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	return b
}

// A field of a oneof that occurs twice in a row is one message; another in between
// begins it anew.
func TestDecodeMergesOperations(t *testing.T) {
	key, lease := within([]byte("k"), 1), []byte{3 << 3, 7}
	put, del := func(b []byte) []byte { return within(b, 2) }, within(key, 3)
	for name, op := range map[string][]byte{
		"two puts":            slices.Concat(put(key), put(lease)),
		"a delete in between": slices.Concat(put(key), del, put(lease)),
		"two transactions":    slices.Concat(within(within(put(key), 2), 4), within(within(del, 2), 4)),
		"two ranges":          slices.Concat(within([]byte{5 << 3, 1, 6 << 3, 2}, 1), within(lease, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			checkDecode(t, within(op, 3), &pb.TxnRequest{}, &pb.TxnRequest{})
		})
	}
}

// Messages may lie as deep in each other as in proto, and no deeper.
func TestDecodeDepth(t *testing.T) {
	for _, leaf := range []protowire.Number{2, 4} {
		for _, depth := range []int{maxNesting - 3, maxNesting - 2, maxNesting - 1, maxNesting, maxNesting + 1} {
			b := within(nil, leaf)
			for i := 1; i < depth; i++ {
				b = within(b, protowire.Number(2+2*((i+1)%2)))
			}
			var want, got pb.TxnRequest
			wantErr := proto.Unmarshal(b, &want)
			err := testCodec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &got)
			require.Equal(t, wantErr == nil, err == nil, "%d at depth %d: %v, %v", leaf, depth, wantErr, err)
		}
	}
}

func FuzzDecodeTxn(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
		f.Add(within(b, 1))
		f.Add(within(b, 2, 2))
		f.Add(within(b, 1, 3))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b, &pb.TxnRequest{}, &pb.TxnRequest{}) })
}

func FuzzDecodePut(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b, &pb.PutRequest{}, &pb.PutRequest{}) })
}

func FuzzDecodeRange(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b, &pb.RangeRequest{}, &pb.RangeRequest{}) })
}

// A decoded request keeps nothing of the buffer it came in, which gRPC reuses.
func TestDecodeCopies(t *testing.T) {
	b, err := proto.Marshal(&pb.PutRequest{Key: []byte("key"), Value: []byte("value")})
	require.NoError(t, err)
	var got pb.PutRequest
	require.NoError(t, testCodec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &got))
	clear(b)
	require.Equal(t, "key", string(got.Key))
	require.Equal(t, "value", string(got.Value))
	require.Equal(t, len(got.Key), cap(got.Key), "appending to the key would write into the value")
}

// Messages without a codec of their own, and other things.
func TestCodecOfOtherMessages(t *testing.T) {
	c := testCodec
	want := &pb.LeaseGrantResponse{ID: 7, TTL: 5, Header: &pb.ResponseHeader{Revision: 3}}
	data, err := c.Marshal(want)
	require.NoError(t, err)
	got := &pb.LeaseGrantResponse{ID: 1, Error: "stale"}
	require.NoError(t, c.Unmarshal(data, got))
	require.Empty(t, cmp.Diff(want, got, protocmp.Transform()))
	data.Free()

	_, err = c.Marshal("no message")
	require.ErrorContains(t, err, "string")
	require.ErrorContains(t, c.Unmarshal(nil, "no message"), "string")
	require.Error(t, c.Unmarshal(mem.BufferSlice{mem.SliceBuffer{0x80}}, got))
}

// Buffers of every size class carry their message and survive being freed and
// used again.
func TestCodecBuffers(t *testing.T) {
	c := testCodec
	for _, size := range []int{0, 1, 1000, smallBuffer - 100, smallBuffer, smallBuffer + 1, 5000, 1 << 20, 2 << 20} {
		want := &pb.PutResponse{PrevKv: &mvccpb.KeyValue{Key: []byte("k"), Value: bytes.Repeat([]byte{'v'}, size)}}
		for range 2 {
			data, err := c.Marshal(want)
			require.NoError(t, err)
			var got pb.PutResponse
			require.NoError(t, proto.Unmarshal(data.Materialize(), &got))
			require.True(t, proto.Equal(want, &got), "of %d bytes", size)
			data.Free()
		}
	}
}

func TestCodecCountsBytes(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := codec{metrics: NewMetrics(reg)}
	data, err := c.Marshal(&pb.PutResponse{Header: &pb.ResponseHeader{Revision: 1}})
	require.NoError(t, err)
	var got pb.PutRequest
	require.NoError(t, c.Unmarshal(mem.BufferSlice{mem.SliceBuffer{0x0a, 0x01, 'k'}}, &got))
	counts := scrape(t, reg)
	require.InDelta(t, 4, counts["etcd_network_client_grpc_sent_bytes_total"], 0)
	require.InDelta(t, 3, counts["etcd_network_client_grpc_received_bytes_total"], 0)
	data.Free()
}
