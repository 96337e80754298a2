package main

import (
	"encoding/binary"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/triglot/triglot/compat-tests/server"
)

func startNullT(t *testing.T, name, protocol string) string {
	t.Helper()
	s, err := startNull(name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.stop()) })
	return s.endpoints(protocol)
}

func TestNullServers(t *testing.T) {
	for _, name := range []string{nullName, nullTuned} {
		conn, err := grpc.NewClient("passthrough:///"+startNullT(t, name, etcdProtocol), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		kv := etcdserverpb.NewKVClient(conn)
		put, err := kv.Put(t.Context(), &etcdserverpb.PutRequest{Key: []byte("k"), Value: []byte("v")})
		require.NoError(t, err)
		require.Equal(t, int64(1), put.Header.Revision)
		got, err := kv.Range(t.Context(), &etcdserverpb.RangeRequest{Key: []byte("k")})
		require.NoError(t, err)
		require.Equal(t, "v", string(got.Kvs[0].Value))
		got, err = kv.Range(t.Context(), &etcdserverpb.RangeRequest{Key: []byte("x")})
		require.NoError(t, err)
		require.Empty(t, got.Kvs)
	}
}

// TestNullServersAreAsTriglotIs ties what null servers set to what Triglot does.
func TestNullServersAreAsTriglotIs(t *testing.T) {
	root, err := server.Root()
	require.NoError(t, err)
	options := constantsOf(t, filepath.Join(root, "frontends", "etcdv3", "options.go"))
	resources := constantsOf(t, filepath.Join(root, "cmd", "triglot", "resources.go"))
	require.Equal(t, options["streamWindow"], strconv.Itoa(nullStreamWindow))
	require.Equal(t, options["connWindow"], strconv.Itoa(nullConnWindow))
	require.Equal(t, options["streamWorkers"], strconv.Itoa(nullWorkers))
	require.Equal(t, options["ioBuffer"], strconv.Itoa(nullBuffer))
	require.Equal(t, resources["gcPercent"], strconv.Itoa(nullGCPercent))
	own, err := os.ReadFile("default.pgo")
	require.NoError(t, err)
	theirs, err := os.ReadFile(filepath.Join(root, "cmd", "triglot", "default.pgo"))
	require.NoError(t, err)
	require.Equal(t, theirs, own, "the compiler optimizes both by the same profile")
}

// constantsOf are the constants of a source file that need no other ones, by name.
func constantsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	require.NoError(t, err)
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, is := n.(*ast.ValueSpec)
		if !is {
			return true
		}
		for i, value := range spec.Values {
			if is, err := types.Eval(files, nil, token.NoPos, types.ExprString(value)); err == nil && is.Value != nil {
				found[spec.Names[i].Name] = is.Value.ExactString()
			}
		}
		return false
	})
	return found
}

// zkTester speaks ZooKeeper's protocol frame by frame.
type zkTester struct {
	t    *testing.T
	conn net.Conn
}

func dialNullZK(t *testing.T) *zkTester {
	t.Helper()
	conn, err := net.Dial("tcp", startNullT(t, zkNullName, zkProtocol))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	z := &zkTester{t, conn}
	greeting := make([]byte, 4+8+4+8) // version, last zxid, timeout, session
	binary.BigEndian.PutUint32(greeting[12:], 30_000)
	answer := z.exchange(append(appendField(greeting, make([]byte, 16)), 0))
	require.Equal(t, uint32(30_000), binary.BigEndian.Uint32(answer[4:]))
	return z
}

func (z *zkTester) exchange(frame []byte) []byte {
	z.t.Helper()
	_, err := z.conn.Write(appendField(nil, frame))
	require.NoError(z.t, err)
	head := make([]byte, 4)
	_, err = io.ReadFull(z.conn, head)
	require.NoError(z.t, err)
	answer := make([]byte, binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(z.conn, answer)
	require.NoError(z.t, err)
	return answer
}

// call makes a request and returns the code and the body of its answer.
func (z *zkTester) call(op uint32, body []byte) (int32, []byte) {
	z.t.Helper()
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 9}, op)
	answer := z.exchange(append(request, body...))
	require.Equal(z.t, []byte{0, 0, 0, 9}, answer[:4])
	return int32(binary.BigEndian.Uint32(answer[12:])), answer[16:]
}

func zkCreateBody(path, value string) []byte {
	b := appendField(appendField(nil, path), value)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 31)
	b = appendField(appendField(b, "world"), "anyone")
	return append(b, 0, 0, 0, 0)
}

func zkSetBody(path, value string) []byte {
	return append(appendField(appendField(nil, path), value), 0xff, 0xff, 0xff, 0xff)
}

const statSize = 68

func TestNullZooKeeper(t *testing.T) {
	z := dialNullZK(t)
	read := func(path string) []byte { return append(appendField(nil, path), 0) }
	code, body := z.call(zkGetData, read("/a"))
	require.Equal(t, int32(zkNoNode), code, "a get that finds nothing must not count as one")
	require.Empty(t, body)
	code, body = z.call(zkCreate, zkCreateBody("/a", "one"))
	require.Zero(t, code)
	require.Equal(t, appendField(nil, "/a"), body)
	code, body = z.call(zkSetData, zkSetBody("/a", "two"))
	require.Zero(t, code)
	require.Len(t, body, statSize)
	code, body = z.call(zkGetData, read("/a"))
	require.Zero(t, code)
	require.Equal(t, appendField(nil, "two"), body[:7])
	require.Len(t, body, 7+statSize)

	var multi []byte
	for _, part := range []struct {
		op   uint32
		body []byte
	}{
		{zkCheck, append(appendField(nil, "/a"), 0, 0, 0, 1)},
		{zkSetData, zkSetBody("/a", "three")},
		{zkCreate, zkCreateBody("/a/b", "")},
		{zkCreate2, zkCreateBody("/a/c", "")},
		{zkDelete, append(appendField(nil, "/a/b"), 0xff, 0xff, 0xff, 0xff)},
	} {
		multi = binary.BigEndian.AppendUint32(multi, part.op)
		multi = append(append(multi, 0, 0xff, 0xff, 0xff, 0xff), part.body...)
	}
	multi = append(multi, 0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff)
	code, body = z.call(zkMulti, multi)
	require.Zero(t, code)
	const header = 9
	require.Len(t, body, 5*header+statSize+2*(4+4)+statSize+header)
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff}, body[len(body)-header:])

	code, body = z.call(zkGetChildren, read("/a"))
	require.Zero(t, code)
	require.Equal(t, appendField([]byte{0, 0, 0, 1}, "c"), body)
	_, body = z.call(zkGetChildren2, read("/"))
	require.Len(t, body, len(appendField([]byte{0, 0, 0, 1}, "a"))+statSize)
	code, _ = z.call(zkExists, read("/b"))
	require.Equal(t, int32(zkNoNode), code)
	code, body = z.call(11, nil)
	require.Zero(t, code)
	require.Empty(t, body, "a ping")
}
