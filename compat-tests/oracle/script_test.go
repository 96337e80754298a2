package oracle

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/compat-tests/server"
)

// TestScript runs each file of testdata on a fresh pair of servers. What a file
// records is etcd's reply, and the server under test must give the same. To
// record anew: TARGET=etcd go test ./oracle -run TestScript -rewrite
//
// The commands; the input is the request in protobuf's text format:
//
//	range put delete txn compact grant revoke ttl leases members status alarm check keepalive
//	    a unary call (check is the health service's); keep-alives go over one stream
//	    repeat=N  the input counts N times, one after the other
//	    nest=N    (txn) the request is wrapped in N txns, each the only operation of the next
//	    fill=N    (put) the value is N bytes long
//	    as=U      on behalf of a user, with the last token that authenticate gave it
//	rangestream
//	    the messages merged into one
//	user-add, role-grant, ... (side.go has all)
//	watch stream=S [wait=N] [hasleader]
//	    sends a WatchRequest on stream S, opening it if it is new, and shows the
//	    next N responses (1 by default), sorted by watch
//	recv stream=S [wait=N]
//	    shows the next N responses
//	close stream=S
//	    says that no more requests follow on stream S
//	raw path=P
//	    a call with the input, in hexadecimal, instead of a message
//	http path=P [method=M] [sorted]
//	    an HTTP request to the client port; the reply's lines are sorted
//
// A header that holds the cluster's id, the member's id and the raft term is shown
// as {* revision: N}; another one field by field.
func TestScript(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Parallel()
		p, err := startSized(context.Background(), target, *members)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.close()) }()
		p.follow(t, path)
	})
}

// TestMembers runs the scripts of members/, on three members of each side: what only a
// cluster of several does (etcd T-101 to T-103). Its members are 1, 2 and 3 in requests and
// replies; the client speaks to 1, which follows. To record anew:
//
//	TARGET=etcd go test ./oracle -run TestMembers -rewrite
//
// insist=WORD of a command has it made until the error with that word is no more.
func TestMembers(t *testing.T) {
	target, err := server.TargetFromEnv()
	require.NoError(t, err)
	datadriven.Walk(t, "members", func(t *testing.T, path string) {
		p, err := startSized(context.Background(), target, 3)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.close()) }()
		p.follow(t, path)
	})
}

// follow runs a script.
func (p *pair) follow(t *testing.T, path string) {
	recorded := p.etcd.names == nil || !strings.HasPrefix(path, "testdata")
	var differences []string // told in the end: datadriven stops at the first failure
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		o := p.as(argument(t, d, "as", ""), func() outcome { return p.run(t, d) })
		if !o.same() {
			differences = append(differences, fmt.Sprintf("%s: %s\n%s\n(-etcd +ours)\n%s", d.Pos, d.Cmd, d.Input, diff(o)))
		}
		if !recorded { // on one member
			return d.Expected
		}
		return o.etcd
	})
	for _, difference := range differences {
		t.Error(difference)
	}
	p.requireQuiet(t)
}

// run executes one command on both sides.
func (p *pair) run(t *testing.T, d *datadriven.TestData) outcome {
	repeat := argument(t, d, "repeat", 1)
	input := strings.Repeat(d.Input+"\n", repeat)
	switch d.Cmd {
	case "watch":
		request := new(pb.WatchRequest)
		require.NoError(t, parse(input, request), d.Pos)
		return p.watch(t, d, request)
	case "recv":
		return p.watch(t, d, nil)
	case "http":
		return p.fetch(argument(t, d, "method", http.MethodGet), argument(t, d, "path", ""), d.HasArg("sorted"))
	case "raw":
		request, err := hex.DecodeString(strings.Join(strings.Fields(d.Input), ""))
		require.NoError(t, err, d.Pos)
		etcd, ours := on(p, func(s *side) string { return s.raw(argument(t, d, "path", ""), request) })
		return outcome{etcd: etcd, ours: ours}
	case "close":
		name := argument(t, d, "stream", "")
		o, _ := p.stream(name, nil, func(st *stream) watched { return watched{err: st.client.CloseSend()} })
		p.closed[name] = true
		return o
	case "keepalive":
		request := new(pb.LeaseKeepAliveRequest)
		require.NoError(t, parse(input, request), d.Pos)
		return p.call(d.Cmd, request)
	}
	m, known := methods[d.Cmd]
	require.True(t, known, "%s: no command is called %q", d.Pos, d.Cmd)
	request := m.request()
	require.NoError(t, parse(input, request), d.Pos)
	if put, ok := request.(*pb.PutRequest); ok {
		if fill := argument(t, d, "fill", 0); fill > 0 {
			put.Value = bytes.Repeat([]byte("x"), fill)
		}
	}
	for range argument(t, d, "nest", 0) {
		request = &pb.TxnRequest{Success: []*pb.RequestOp{{
			Request: &pb.RequestOp_RequestTxn{RequestTxn: request.(*pb.TxnRequest)},
		}}}
	}
	if text := argument(t, d, "insist", ""); text != "" {
		return p.insist(d.Cmd, request, text)
	}
	return p.call(d.Cmd, request)
}

// argument returns a command's argument, or the default.
func argument[T any](t *testing.T, d *datadriven.TestData, name string, value T) T {
	d.MaybeScanArgs(t, name, &value)
	return value
}

// watch sends the request, if there is one, and collects responses.
func (p *pair) watch(t *testing.T, d *datadriven.TestData, request *pb.WatchRequest) outcome {
	name, wait := argument(t, d, "stream", ""), argument(t, d, "wait", 1)
	require.NotEmpty(t, name, "%s: stream=", d.Pos)
	var md metadata.MD
	if d.HasArg("hasleader") {
		md = metadata.Pairs("hasleader", "true")
	}
	o, _ := p.stream(name, md, func(st *stream) (w watched) {
		if request != nil {
			if w.err = st.send(proto.Clone(request).(*pb.WatchRequest)); w.err != nil {
				return w
			}
		}
		deadline := time.After(patience)
		for range wait {
			response, err := st.next(deadline)
			if err != nil {
				w.err = err
				return w
			}
			w.responses = append(w.responses, response)
		}
		return w
	})
	return o
}

// fetch makes the HTTP request on both sides.
func (p *pair) fetch(method, path string, sorted bool) outcome {
	etcd, ours := on(p, func(s *side) string {
		code, contentType, body, err := s.fetch(method, path)
		if err != nil {
			return "error: " + err.Error()
		}
		if sorted {
			lines := strings.SplitAfter(body, "\n")
			slices.Sort(lines)
			body = strings.Join(lines, "")
		}
		return s.hideEndpoint(fmt.Sprintf("%s (%s)\n%q\n", code, contentType, body))
	})
	return outcome{etcd: etcd, ours: ours}
}

// requireQuiet requires that the watch streams hold nothing that the script has
// not taken. On each stream a refused watch is the mark up to which it looks.
func (p *pair) requireQuiet(t *testing.T) {
	mark := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{StartRevision: -1},
	}}
	for name := range p.etcd.streams {
		if p.closed[name] {
			continue // no mark can be set
		}
		o, responses := p.stream(name, nil, func(st *stream) (w watched) {
			if w.err = st.send(mark); w.err == nil {
				w.responses, w.err = st.until(func(r *pb.WatchResponse) bool { return r.Created && r.Canceled })
			}
			return w
		})
		require.Empty(t, diff(o), "stream %s is left with a difference", name)
		require.Len(t, responses, 1, "stream %s has more responses than the script takes:\n%s", name, fmt.Sprint(o.etcd))
	}
}
