package httpfront

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// scriptedConn is a connection whose client has said all that it will, in pieces of
// the given size, and is silent then.
type scriptedConn struct {
	net.Conn
	said    *bytes.Reader
	piece   int
	written bytes.Buffer
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if c.said.Len() == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return c.said.Read(p[:min(len(p), c.piece)])
}

func (c *scriptedConn) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzSniff looks into whatever a client may say first: the server proper reads all
// of it, but for one acknowledgement of a greeting that was sent.
func FuzzSniff(f *testing.F) {
	for _, seed := range []string{
		"", "G", "GET / HTTP/1.1\r\n\r\n", preface, http2Start, grpcStart, curlStart, preface + "no frames",
		http2Start + frames(ack) + frames(request("")), http2Start + frames(request("")) + frames(ack) + "more",
		http2Start + frames(settings) + frames(ack) + frames(ack), preface[:len(preface)-1] + "x",
	} {
		f.Add([]byte(seed), byte(1))
		f.Add([]byte(seed), byte(255))
	}
	f.Fuzz(func(t *testing.T, said []byte, piece byte) {
		conn := &scriptedConn{said: bytes.NewReader(said), piece: int(piece) + 1}
		rest, spoken, err := sniff(conn, time.Second)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) { // a frame that is shorter than it says
				require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the connection never ends")
				require.Zero(t, conn.said.Len())
			}
			return
		}
		got, err := io.ReadAll(iotest.OneByteReader(rest))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		greeted := conn.written.Len() > 0
		if greeted {
			require.Equal(t, greeting, conn.written.String())
		}
		if !greeted || spoken == grpcCalls {
			require.Equal(t, string(said), string(got))
			return
		}
		require.Equal(t, withoutAck(said, got), string(got))
	})
}

// withoutAck is what a strict server is to read of what was said: without the first
// acknowledgement, and without the beginning of a frame's header that may be one.
// got, what it read, tells nothing but whether the acknowledgement was behind what
// the sniffer looked at.
func withoutAck(said, got []byte) string {
	for at := len(preface); ; {
		if len(said)-at < greetingSize {
			if len(got) == len(said) {
				return string(said) // read ahead, and not looked at again
			}
			return string(said[:at])
		}
		if said[at+3] == 4 && said[at+4]&1 != 0 {
			return string(said[:at]) + string(said[at+greetingSize:])
		}
		at = min(at+greetingSize+(int(said[at])<<16|int(said[at+1])<<8|int(said[at+2])), len(said))
	}
}

// FuzzGateway sends whatever body to every kind of path: the answer is JSON, one
// value a line, and never a broken connection.
func FuzzGateway(f *testing.F) {
	paths := []string{
		"/v3/kv/put", "/v3/kv/range", "/v3/kv/txn", "/v3/watch", "/v3/lease/keepalive", "/v3/lease/grant",
		"/v3/maintenance/snapshot", "/v3/auth/role/grant", "/v3beta/kv/put",
		"/v3/lock/lock", "/v3/lock/unlock", "/v3/election/campaign", "/v3/election/proclaim", "/v3/election/leader",
		"/v3/election/observe", "/v3/election/resign",
	}
	for i, seed := range []string{
		"", "{}", "null", `{"key":"Zm9v","value":"YmFy"}`, `{"key":"Zm9v","limit":"1","sort_order":"ASCEND"}`,
		`{"create_request":{"key":"AA==","filters":["NOPUT",1]}}`, `{"ID":"7"}{"ID":8} {"ID":`, `[[[[[[`, "\xff\xfe",
		`{"compare":[{"target":"VALUE","value":""}],"success":[{"request_txn":{"success":[{"request_put":{}}]}}]}`,
		`{"name":"YQ==","lease":"7","key":"YQ==","value":"Yg==","leader":{"name":"YQ==","key":"YQ==","rev":"1","lease":7}}`, `{"leader":[]}`,
		`{"perm":{"permType":2,"key":"` + "\x00" + `"}}`, `{"key":1e999,"a":"\ud800"}`,
	} {
		f.Add(byte(i), []byte(seed))
	}
	face := &fakeFace{
		put: func(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
			return &pb.PutResponse{Header: &pb.ResponseHeader{Revision: r.Lease}}, nil
		},
		fetch: func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
			return &pb.RangeResponse{Count: 1}, nil
		},
		watch: func(s pb.Watch_WatchServer) error { // unlike a real one it ends
			for {
				r, err := s.Recv()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if err := s.Send(&pb.WatchResponse{WatchId: r.GetCreateRequest().GetWatchId()}); err != nil {
					return err
				}
			}
		},
	}
	h, _ := face.handler(f)
	f.Fuzz(func(t *testing.T, path byte, body []byte) {
		w := post(h, paths[int(path)%len(paths)], string(body))
		require.Contains(t, []int{200, 400, 413, 429, 499, 501}, w.Code)
		if w.Code == http.StatusInternalServerError {
			t.Fatal(w.Body.String())
		}
		for line := range bytes.Lines(w.Body.Bytes()) {
			require.True(t, json.Valid(line), "%q", line)
		}
	})
}

// BenchmarkGateway takes a request from the HTTP handler to a face that does
// nothing, and back.
func BenchmarkGateway(b *testing.B) {
	value := bytes.Repeat([]byte("v"), 256)
	reply := &pb.PutResponse{Header: &pb.ResponseHeader{ClusterId: 1 << 60, MemberId: 1 << 61, Revision: 12345, RaftTerm: 2}}
	h, _ := (&fakeFace{
		put: func(context.Context, *pb.PutRequest) (*pb.PutResponse, error) { return reply, nil },
		fetch: func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
			return keyValues(1, value), nil
		},
	}).handler(b)
	run := func(name, path, body string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if w := post(h, path, body); w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
	request, err := json.Marshal(map[string]any{"key": []byte("/some/key/of/usual/length"), "value": value})
	require.NoError(b, err)
	run("put", "/v3/kv/put", string(request))
	run("range", "/v3/kv/range", `{"key":"L3NvbWUva2V5L29mL3VzdWFsL2xlbmd0aA=="}`)
}

func keyValues(n int, value []byte) *pb.RangeResponse {
	r := &pb.RangeResponse{
		Header: &pb.ResponseHeader{ClusterId: 1 << 60, MemberId: 1 << 61, Revision: 12345, RaftTerm: 2},
		Count:  int64(n),
	}
	for range n {
		r.Kvs = append(r.Kvs, &mvccpb.KeyValue{
			Key: []byte("/some/key/of/usual/length"), CreateRevision: 1000, ModRevision: 12345, Version: 7, Value: value,
		})
	}
	return r
}
