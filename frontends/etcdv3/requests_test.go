package etcdv3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/peer"

	"github.com/triglot/triglot/core"
)

// loggedEnd ends a call that took a time and returns the lines that came of it.
func loggedEnd(t *testing.T, warn time.Duration, level slog.Level, took time.Duration, req, resp any, stages core.Stages) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	f := &face{Config: Config{
		Slow:    Slow{Unary: warn},
		Metrics: NewMetrics(nil),
		Logger:  slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level})),
	}}
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 7}})
	ctx, c := begin(ctx, req)
	c.began = c.began.Add(-took)
	if told := core.StagesIn(ctx); told != nil {
		*told = stages
	}
	f.end(ctx, &c, req, resp, nil)
	var lines []map[string]any
	for _, text := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if text != "" {
			var line map[string]any
			require.NoError(t, json.Unmarshal([]byte(text), &line))
			lines = append(lines, line)
		}
	}
	return lines
}

func TestSlowRequestIsTold(t *testing.T) {
	stages := core.Stages{Queue: time.Millisecond, Log: 2 * time.Millisecond, Apply: 3 * time.Millisecond}
	put := &pb.PutRequest{Key: []byte("key\x00"), Value: []byte("hush"), Lease: 9}
	lines := loggedEnd(t, time.Second, slog.LevelInfo, 2*time.Second, put, &pb.PutResponse{}, stages)
	require.Len(t, lines, 1)
	line := lines[0]
	require.Equal(t, "request stats", line["msg"])
	require.Equal(t, "WARN", line["level"])
	require.Equal(t, "10.0.0.1:7", line["remote"])
	require.Equal(t, `key:"key\x00" value_size:4 lease:9`, line["request content"])
	require.EqualValues(t, 1, line["request count"])
	require.EqualValues(t, 14, line["request size"])
	require.EqualValues(t, time.Millisecond, line["queue"])
	require.EqualValues(t, 2*time.Millisecond, line["log"])
	require.EqualValues(t, 3*time.Millisecond, line["apply"])
	require.GreaterOrEqual(t, line["time spent"], float64(2*time.Second))
}

func TestWhichRequestsAreTold(t *testing.T) {
	get := &pb.RangeRequest{Key: []byte("k")}
	require.Empty(t, loggedEnd(t, time.Minute, slog.LevelInfo, time.Second, get, &pb.RangeResponse{}, core.Stages{}))
	require.Empty(t, loggedEnd(t, -1, slog.LevelInfo, time.Hour, get, &pb.RangeResponse{}, core.Stages{}))
	all := loggedEnd(t, time.Minute, slog.LevelDebug, time.Second, get, &encodedRange{count: 3}, core.Stages{})
	require.Len(t, all, 1)
	require.Equal(t, "DEBUG", all[0]["level"])
	require.EqualValues(t, 3, all[0]["response count"])
	require.NotContains(t, all[0], "queue")
}

func TestNoSecretIsTold(t *testing.T) {
	const secret = "swordfish"
	txn := &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: []byte("a"), Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Value{Value: []byte(secret)},
		}},
		Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("b"), Value: []byte(secret)}}},
			{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("c"), RangeEnd: []byte("d")}}},
		},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("e")}}}},
	}
	for _, req := range []any{
		txn,
		&pb.AuthenticateRequest{Name: "root", Password: secret},
		&pb.AuthUserAddRequest{Name: "root", Password: secret},
		&pb.AuthUserChangePasswordRequest{Name: "root", Password: secret},
	} {
		lines := loggedEnd(t, 1, slog.LevelInfo, time.Second, req, (*pb.TxnResponse)(nil), core.Stages{})
		require.Len(t, lines, 1)
		text, err := json.Marshal(lines)
		require.NoError(t, err)
		require.NotContains(t, string(text), secret)
	}
	require.Equal(t, `compare:<VALUE key:"a"> success:<put key:"b" value_size:9> success:<delete_range key:"c" range_end:"d"> failure:<range key:"e">`,
		summarize(txn, nil).content)
}

func TestLongRequestsAreCutShort(t *testing.T) {
	txn := &pb.TxnRequest{}
	for range 100 {
		txn.Compare = append(txn.Compare, &pb.Compare{Key: bytes.Repeat([]byte("k"), 1000)})
		txn.Success = append(txn.Success, &pb.RequestOp{
			Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: bytes.Repeat([]byte("k"), 1000)}},
		})
	}
	require.Less(t, len(summarize(txn, nil).content), 4<<10)
}

// A read that took longer than commands may to be applied is told and counted as etcd
// does, whatever became of it.
func TestSlowReadIsTold(t *testing.T) {
	var out bytes.Buffer
	counted := 0
	f := &face{Config: Config{
		Slow: Slow{Unary: -1, Read: 100 * time.Millisecond, OnRead: func() { counted++ }}, Metrics: NewMetrics(nil),
		Logger: slog.New(slog.NewJSONHandler(&out, nil)),
	}}
	end := func(took time.Duration, req, resp any, err error) map[string]any {
		out.Reset()
		ctx, c := begin(context.Background(), req)
		c.began = c.began.Add(-took)
		f.end(ctx, &c, req, resp, err)
		if out.Len() == 0 {
			return nil
		}
		var line map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &line))
		require.Equal(t, "WARN", line["level"])
		require.Equal(t, "apply request took too long", line["msg"])
		require.EqualValues(t, 100*time.Millisecond, line["expected-duration"])
		require.NotContains(t, out.String(), "hush")
		return line
	}
	kvs := []*mvccpb.KeyValue{{Key: []byte("a"), Value: []byte("hush")}}
	reply := newEncodedRange(t.Context(), &pb.RangeRequest{}, nil)
	require.NoError(t, reply.add(&core.KV{Key: []byte("a"), Value: []byte("hush"), Version: 1}))
	slow := time.Second
	line := end(slow, &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("b")}, reply, nil)
	require.Equal(t, "read-only range ", line["prefix"])
	require.Equal(t, `key:"a" range_end:"b"`, line["request"])
	require.Equal(t, "range_response_count:1 size:13", line["response"], "the version is two bytes")
	require.NotContains(t, line, "error")

	line = end(slow, &pb.RangeRequest{Key: []byte("a")}, (*encodedRange)(nil), core.Compacted)
	require.Empty(t, line["response"])
	require.Equal(t, core.Compacted.Error(), line["error"])

	txn := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("a")}}}}}
	line = end(slow, txn, &txnReply{TxnResponse: pb.TxnResponse{Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Kvs: kvs}}},
	}}}, nil)
	require.Equal(t, "read-only txn ", line["prefix"])
	require.Equal(t, `success:<range key:"a">`, line["request"])
	require.Equal(t, "responses:<range_response_count:1> size:17", line["response"])
	require.Equal(t, 3, counted)

	require.Nil(t, end(0, &pb.RangeRequest{}, (*encodedRange)(nil), nil), "a quick one")
	require.Nil(t, end(slow, &pb.PutRequest{}, (*pb.PutResponse)(nil), nil), "no read")
	require.Equal(t, 3, counted)
}

func TestRequestDurations(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := &face{Config: Config{Metrics: NewMetrics(reg), Logger: slog.New(slog.DiscardHandler)}}
	run := func(req any, err error) {
		ctx, c := begin(context.Background(), req)
		f.end(ctx, &c, req, nil, err)
	}
	run(&pb.PutRequest{}, nil)
	run(&pb.PutRequest{}, nil)
	run(&pb.PutRequest{}, errors.New("no"))
	run(&pb.PutRequest{}, core.LeaseNotFound)
	run(&pb.PutRequest{}, core.Timeout)
	run(&pb.RangeRequest{}, core.Compacted)
	run(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{}}}}, nil)
	run(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{}}}}}, nil)
	run(&pb.HashKVRequest{}, nil)
	run(&pb.HashKVRequest{}, errors.New("no"))
	run(&pb.StatusRequest{}, nil)

	families, err := reg.Gather()
	require.NoError(t, err)
	got := make(map[string]uint64)
	for _, family := range families {
		for _, m := range family.Metric {
			if m.Histogram.GetSampleCount() == 0 {
				continue
			}
			name := family.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			got[name] = m.Histogram.GetSampleCount()
		}
	}
	require.Equal(t, map[string]uint64{
		"etcd_server_request_duration_seconds true Put":         3,
		"etcd_server_request_duration_seconds false Put":        2,
		"etcd_server_request_duration_seconds false Range":      1,
		"etcd_server_range_duration_seconds false":              1,
		"etcd_server_request_duration_seconds true Txn":         1,
		"etcd_server_request_duration_seconds true ReadonlyTxn": 1,
		"etcd_mvcc_hash_rev_duration_seconds":                   1,
	}, got)
}

// BenchmarkTiming is what it costs to time a call that is not slow: 0.2 us of some 20
// for a put over gRPC.
func BenchmarkTiming(b *testing.B) {
	f := &face{Config: Config{Slow: Slow{Unary: time.Second}, Metrics: NewMetrics(nil), Logger: slog.New(slog.DiscardHandler)}}
	for _, bm := range []struct {
		name string
		req  any
	}{{"range", &pb.RangeRequest{}}, {"put", &pb.PutRequest{}}} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ctx, c := begin(context.Background(), bm.req)
				f.end(ctx, &c, bm.req, nil, nil)
			}
		})
	}
}
