package wire_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

var (
	writeOps = []wire.OpCode{
		wire.OpCreate, wire.OpCreate2, wire.OpCreateContainer, wire.OpCreateTTL,
		wire.OpDelete, wire.OpSetData, wire.OpCheck,
	}
	readOps   = []wire.OpCode{wire.OpGetData, wire.OpGetChildren}
	resultOps = []wire.OpCode{
		wire.OpCreate, wire.OpCreate2, wire.OpDelete, wire.OpSetData, wire.OpCheck,
		wire.OpGetData, wire.OpGetChildren, wire.OpError,
	}
	// records of the operations of a multi, and of their results
	opRecords = map[wire.OpCode]string{
		wire.OpCreate: "CreateRequest", wire.OpCreate2: "CreateRequest", wire.OpCreateContainer: "CreateRequest",
		wire.OpCreateTTL: "CreateTTLRequest", wire.OpDelete: "DeleteRequest", wire.OpSetData: "SetDataRequest",
		wire.OpCheck: "CheckVersionRequest", wire.OpGetData: "GetDataRequest", wire.OpGetChildren: "GetChildrenRequest",
	}
	resultRecords = map[wire.OpCode]string{
		wire.OpCreate: "CreateResponse", wire.OpCreate2: "Create2Response", wire.OpSetData: "SetDataResponse",
		wire.OpGetData: "GetDataResponse", wire.OpGetChildren: "GetChildrenResponse", wire.OpError: "ErrorResponse",
	}
)

// TestMultis writes multis by the layouts of the records in them, reads them, and
// writes them again.
func TestMultis(t *testing.T) {
	layout := parseLayouts()
	rapid.Check(t, func(t *rapid.T) {
		var request wire.MultiRequest
		var want []byte
		kinds := rapid.SampledFrom([][]wire.OpCode{writeOps, readOps}).Draw(t, "kinds")
		for range rapid.IntRange(0, 4).Draw(t, "ops") {
			var op wire.MultiOp
			fill(t, reflect.ValueOf(&op).Elem())
			op.Op = rapid.SampledFrom(kinds).Draw(t, "op")
			op.Flags = wire.CreateMode(rapid.Int32Range(0, 4).Draw(t, "flags"))
			if op.ACL == nil && op.Op != wire.OpCreateTTL {
				op.ACL = []wire.ACL{} // null is refused
			}
			want = (&wire.MultiHeader{Op: op.Op, Err: -1}).Append(want)
			want = encode(layout, want, opRecords[op.Op], reflect.ValueOf(op))
			request.Ops = append(request.Ops, op)
		}
		want = (&wire.MultiHeader{Op: wire.OpError, Done: true, Err: -1}).Append(want)
		reread(t, want, &request, &wire.MultiRequest{})
	})
	rapid.Check(t, func(t *rapid.T) {
		var response wire.MultiResponse
		var want []byte
		for range rapid.IntRange(0, 4).Draw(t, "results") {
			var result wire.MultiResult
			fill(t, reflect.ValueOf(&result).Elem())
			result.Op = rapid.SampledFrom(resultOps).Draw(t, "op")
			header := wire.MultiHeader{Op: result.Op}
			if result.Op == wire.OpError {
				header.Err = result.Err
			}
			want = header.Append(want)
			want = encode(layout, want, resultRecords[result.Op], reflect.ValueOf(result))
			response.Results = append(response.Results, result)
		}
		want = (&wire.MultiHeader{Op: wire.OpError, Done: true, Err: -1}).Append(want)
		reread(t, want, &response, &wire.MultiResponse{})
	})
}

func reread(t *rapid.T, want []byte, m, again message) {
	require.Equal(t, want, m.Append(nil))
	r := jute.NewReader(want)
	again.Decode(&r)
	require.NoError(t, r.Err())
	require.Empty(t, r.Rest())
	require.Equal(t, want, again.Append(nil))
}

func TestMultisThatAreRefused(t *testing.T) {
	multi := func(ops ...wire.MultiOp) []byte { return (&wire.MultiRequest{Ops: ops}).Append(nil) }
	create := func(op wire.OpCode, flags wire.CreateMode) wire.MultiOp {
		return wire.MultiOp{Op: op, Path: "/a", ACL: wire.OpenACLUnsafe, Flags: flags}
	}
	for name, c := range map[string]struct {
		body []byte
		err  error
	}{
		"none":                       {multi(), nil},
		"a create that has none":     {multi(create(wire.OpCreate, 7)), wire.ErrMulti},
		"negative flags":             {multi(create(wire.OpCreate2, -1)), wire.ErrMulti},
		"a TTL that is not given":    {multi(create(wire.OpCreate, wire.PersistentTTL)), wire.ErrMulti},
		"a container":                {multi(create(wire.OpCreate, wire.Container)), nil},
		"an ACL of null":             {multi(wire.MultiOp{Op: wire.OpCreate, Path: "/a"}), wire.ErrMulti},
		"a TTL create's is not seen": {multi(wire.MultiOp{Op: wire.OpCreateTTL, Path: "/a"}), nil},
		"a TTL create without":       {multi(create(wire.OpCreateTTL, 7)), nil},
		"reads with writes":          {multi(wire.MultiOp{Op: wire.OpGetData}, wire.MultiOp{Op: wire.OpDelete}), wire.ErrMulti},
		"writes with reads":          {multi(wire.MultiOp{Op: wire.OpDelete}, wire.MultiOp{Op: wire.OpGetChildren}), wire.ErrMulti},
		"an exists":                  {multi(wire.MultiOp{Op: wire.OpExists}), wire.ErrMulti},
		"a multi":                    {multi(wire.MultiOp{Op: wire.OpMulti}), wire.ErrMulti},
		"a delete of null":           {jute.AppendNull((&wire.MultiHeader{Op: wire.OpDelete}).Append(nil)), jute.ErrNull},
		"a setData of null":          {jute.AppendNull((&wire.MultiHeader{Op: wire.OpSetData}).Append(nil)), jute.ErrNull},
		"a check of null":            {jute.AppendNull((&wire.MultiHeader{Op: wire.OpCheck}).Append(nil)), jute.ErrNull},
		"no end":                     {multi()[:8], jute.ErrShort},
		"nothing":                    {nil, jute.ErrShort},
		"an operation that is short": {multi(wire.MultiOp{Op: wire.OpDelete, Path: "/a"})[:15], jute.ErrShort},
	} {
		r := jute.NewReader(c.body)
		var m wire.MultiRequest
		m.Decode(&r)
		require.ErrorIs(t, r.Err(), c.err, name)
	}
}

func TestMultiOpRuns(t *testing.T) {
	for _, c := range []struct {
		op    wire.OpCode
		flags wire.CreateMode
		runs  wire.OpCode
	}{
		{wire.OpCreate, wire.Ephemeral, wire.OpCreate},
		{wire.OpCreate, wire.Container, wire.OpCreateContainer},
		{wire.OpCreate2, wire.Container, wire.OpCreateContainer},
		{wire.OpCreate2, wire.Persistent, wire.OpCreate2},
		{wire.OpCreateContainer, wire.Persistent, wire.OpCreateContainer},
		{wire.OpCreateTTL, wire.PersistentTTL, wire.OpCreateTTL},
		{wire.OpCreateTTL, wire.PersistentSequential, wire.OpCreate},
		{wire.OpCreateTTL, 99, wire.OpCreate},
		{wire.OpDelete, wire.Container, wire.OpDelete},
	} {
		op := wire.MultiOp{Op: c.op, Flags: c.flags}
		require.Equal(t, c.runs, op.Runs(), "%v with flags %d", c.op, c.flags)
	}
}
