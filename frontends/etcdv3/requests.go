package etcdv3

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

// etcd's --warning-unary-request-duration and --warning-apply-duration.
const (
	defaultSlowUnary = 300 * time.Millisecond
	defaultSlowRead  = 100 * time.Millisecond
)

// unaryCall is a unary call under way: what is timed, counted and, if it was slow, told.
type unaryCall struct {
	began  time.Time
	kind   requestKind
	stages *core.Stages // of its command; nil if it makes none
}

// begin times a call. A handler must use the context that it returns.
func begin(ctx context.Context, req any) (context.Context, unaryCall) {
	c := unaryCall{kind: kindOf(req), began: time.Now()}
	if c.kind.writes() {
		ctx, c.stages = core.WithStages(ctx)
	}
	return ctx, c
}

// end counts a call. One that took longer than Slow.Unary is told of, in etcd's words,
// and any at debug level.
func (f *face) end(ctx context.Context, c *unaryCall, req, resp any, err error) {
	took := time.Since(c.began)
	f.Metrics.requests.observe(c.kind, took, c.carriedOut(err))
	level := slog.LevelDebug
	if (c.kind == kindRange || c.kind == kindReadonlyTxn) && f.Slow.Read > 0 && took > f.Slow.Read {
		f.Slow.OnRead()
		f.tellRead(ctx, c.kind, took, req, resp, err)
	}
	if f.Slow.Unary > 0 && took > f.Slow.Unary {
		level = slog.LevelWarn
	}
	if level == slog.LevelWarn || f.Logger.Enabled(ctx, level) {
		f.tell(ctx, level, c, took, req, resp)
	}
}

// carriedOut reports whether etcd counts a call as a success. Of a command that the
// state machine refused it does: it was replicated and applied.
func (c *unaryCall) carriedOut(err error) bool {
	if err == nil || !c.kind.writes() {
		return err == nil
	}
	switch core.KindOf(err) { //nolint:exhaustive // the others are of the state machine
	case core.Internal, core.Timeout, core.NoLeader, core.LeaderChanged, core.Stopped,
		core.Canceled, core.Deadline, core.TooManyRequests, core.RequestTooLarge:
		return false
	}
	return true
}

// tell logs one call: what it was about and where its time went, never a value nor
// anything secret.
func (f *face) tell(ctx context.Context, level slog.Level, c *unaryCall, took time.Duration, req, resp any) {
	remote := "No remote client info."
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		remote = p.Addr.String()
	}
	method, _ := grpc.Method(ctx)
	s := summarize(req, resp)
	attrs := []slog.Attr{
		slog.Time("start time", c.began),
		slog.Duration("time spent", took),
		slog.String("remote", remote),
		slog.String("response type", method),
		slog.Int64("request count", s.requests),
		slog.Int("request size", s.requestBytes),
		slog.Int64("response count", s.responses),
		slog.Int("response size", s.responseBytes),
		slog.String("request content", s.content),
	}
	if c.stages != nil && *c.stages != (core.Stages{}) {
		attrs = append(attrs, slog.Duration("queue", c.stages.Queue),
			slog.Duration("log", c.stages.Log), slog.Duration("apply", c.stages.Apply))
	}
	f.Logger.LogAttrs(ctx, level, "request stats", attrs...)
}

// tellRead logs a slow read as etcd does: what was asked for and how much came of it,
// never a value.
func (f *face) tellRead(ctx context.Context, kind requestKind, took time.Duration, req, resp any, err error) {
	prefix := "read-only range "
	if kind == kindReadonlyTxn {
		prefix = "read-only txn "
	}
	attrs := []slog.Attr{
		slog.Duration("took", took),
		slog.Duration("expected-duration", f.Slow.Read),
		slog.String("prefix", prefix),
		slog.String("request", summarize(req, nil).content),
		slog.String("response", describeRead(withoutHold(resp))),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	f.Logger.LogAttrs(ctx, slog.LevelWarn, "apply request took too long", attrs...)
}

// describeRead says how large the response of a read is; nothing of one that failed.
func describeRead(resp any) string {
	switch r := resp.(type) {
	case *encodedRange:
		if r != nil {
			return fmt.Sprintf("range_response_count:%d size:%d", r.keys, r.out.size())
		}
	case *pb.TxnResponse:
		if r != nil {
			counts := make([]string, len(r.Responses))
			for i, op := range r.Responses {
				counts[i] = fmt.Sprintf("range_response_count:%d", len(op.GetResponseRange().GetKvs()))
			}
			return fmt.Sprintf("responses:<%s> size:%d", strings.Join(counts, " "), proto.Size(r))
		}
	}
	return ""
}

// summary is what may be told of a request and its response: -1 is not known.
type summary struct {
	requests, responses         int64
	requestBytes, responseBytes int
	content                     string
}

func summarize(req, resp any) summary {
	resp = withoutHold(resp)
	s := summary{requestBytes: sizeOf(req), responseBytes: sizeOf(resp)}
	switch r := req.(type) {
	case *pb.RangeRequest:
		s.content = interval(r.Key, r.RangeEnd)
		if resp, ok := resp.(*encodedRange); ok && resp != nil {
			s.responses = resp.count
		}
	case *pb.PutRequest:
		s.requests = 1
		s.content = fmt.Sprintf("key:%s value_size:%d lease:%d", quoted(r.Key), len(r.Value), r.Lease)
	case *pb.DeleteRangeRequest:
		s.content = interval(r.Key, r.RangeEnd)
		if resp, ok := resp.(*pb.DeleteRangeResponse); ok && resp != nil {
			s.responses = resp.Deleted
		}
	case *pb.TxnRequest:
		ops := r.Failure
		if resp, ok := resp.(*pb.TxnResponse); ok && resp != nil && resp.Succeeded {
			ops = r.Success
		}
		s.requests = int64(len(ops))
		s.content = describeTxn(r)
	default:
		s = summary{-1, -1, -1, -1, ""}
	}
	return s
}

func sizeOf(message any) int {
	if r, ok := message.(*encodedRange); ok {
		if r == nil {
			return 0
		}
		return r.out.size()
	}
	if m, ok := message.(proto.Message); ok && m.ProtoReflect().IsValid() {
		return proto.Size(m)
	}
	return 0
}

const (
	// maxToldKey bounds what is told of a key, maxToldOps of a transaction.
	maxToldKey = 128
	maxToldOps = 8
)

func quoted(key []byte) string {
	if len(key) > maxToldKey {
		return fmt.Sprintf("%q... (%d bytes)", key[:maxToldKey], len(key))
	}
	return fmt.Sprintf("%q", key)
}

func interval(key, end []byte) string {
	if len(end) == 0 {
		return "key:" + quoted(key)
	}
	return "key:" + quoted(key) + " range_end:" + quoted(end)
}

// describeTxn names the keys that a transaction is about.
func describeTxn(t *pb.TxnRequest) string {
	var s strings.Builder
	for i, c := range t.Compare {
		if i == maxToldOps {
			s.WriteString("... ")
			break
		}
		fmt.Fprintf(&s, "compare:<%s %s> ", c.Target, interval(c.Key, c.RangeEnd))
	}
	describeOps(&s, "success", t.Success)
	describeOps(&s, "failure", t.Failure)
	return strings.TrimSuffix(s.String(), " ")
}

func describeOps(s *strings.Builder, branch string, ops []*pb.RequestOp) {
	for i, op := range ops {
		if i == maxToldOps {
			fmt.Fprintf(s, "%s:<%d more> ", branch, len(ops)-i)
			return
		}
		what := "txn"
		switch {
		case op.GetRequestRange() != nil:
			what = "range " + interval(op.GetRequestRange().Key, op.GetRequestRange().RangeEnd)
		case op.GetRequestPut() != nil:
			what = fmt.Sprintf("put key:%s value_size:%d", quoted(op.GetRequestPut().Key), len(op.GetRequestPut().Value))
		case op.GetRequestDeleteRange() != nil:
			what = "delete_range " + interval(op.GetRequestDeleteRange().Key, op.GetRequestDeleteRange().RangeEnd)
		}
		fmt.Fprintf(s, "%s:<%s> ", branch, what)
	}
}
