package etcdv3

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// scrape returns the value of every counter, and the number of observations of
// every histogram, by its name and labels.
func scrape(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += "," + l.GetName() + "=" + l.GetValue()
			}
			values[name] = m.Counter.GetValue() + float64(m.Histogram.GetSampleCount())
		}
	}
	return values
}

type nullStream struct {
	grpc.ServerStream
	err error
}

func (s nullStream) SendMsg(any) error { return s.err }
func (s nullStream) RecvMsg(any) error { return s.err }

func TestCallsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	var fail error
	desc := NewMetrics(reg).instrument(grpc.ServiceDesc{
		ServiceName: "pkg.Svc",
		Methods: []grpc.MethodDesc{{
			MethodName: "Do",
			Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				return "reply", fail
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName: "Flow", ClientStreams: true, ServerStreams: true,
			Handler: func(_ any, ss grpc.ServerStream) error {
				for range 3 {
					_ = ss.SendMsg(nil)
				}
				return ss.RecvMsg(nil)
			},
		}, {
			StreamName: "Down", ServerStreams: true,
			Handler: func(any, grpc.ServerStream) error { return status.Error(codes.Code(99), "no such code") },
		}},
	})
	for _, fail = range []error{nil, nil, status.Error(codes.NotFound, "gone")} {
		resp, err := desc.Methods[0].Handler(nil, t.Context(), nil, nil)
		require.Equal(t, "reply", resp)
		require.Equal(t, fail, err)
	}
	require.NoError(t, desc.Streams[0].Handler(nil, nullStream{}))
	require.Error(t, desc.Streams[0].Handler(nil, nullStream{err: status.Error(codes.Canceled, "")}))
	require.Error(t, desc.Streams[1].Handler(nil, nullStream{}))

	got := scrape(t, reg)
	for metric, want := range map[string]float64{
		"grpc_server_started_total,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary":                             3,
		"grpc_server_msg_received_total,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary":                        3,
		"grpc_server_msg_sent_total,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary":                            2,
		"grpc_server_handled_total,grpc_code=OK,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary":                2,
		"grpc_server_handled_total,grpc_code=NotFound,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary":          1,
		"grpc_server_handled_total,grpc_code=Internal,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary":          0,
		"grpc_server_started_total,grpc_method=Flow,grpc_service=pkg.Svc,grpc_type=bidi_stream":                     2,
		"grpc_server_msg_sent_total,grpc_method=Flow,grpc_service=pkg.Svc,grpc_type=bidi_stream":                    3,
		"grpc_server_msg_received_total,grpc_method=Flow,grpc_service=pkg.Svc,grpc_type=bidi_stream":                1,
		"grpc_server_handled_total,grpc_code=Canceled,grpc_method=Flow,grpc_service=pkg.Svc,grpc_type=bidi_stream":  1,
		"grpc_server_handled_total,grpc_code=Unknown,grpc_method=Down,grpc_service=pkg.Svc,grpc_type=server_stream": 1,
	} {
		value, ok := got[metric]
		require.True(t, ok, "%s is missing", metric)
		require.InDelta(t, want, value, 0, metric)
	}
}

func TestCallsAreTimed(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	m.TimeCalls(reg)
	failing := status.Error(codes.NotFound, "gone")
	desc := m.instrument(grpc.ServiceDesc{
		ServiceName: "pkg.Svc",
		Methods: []grpc.MethodDesc{{
			MethodName: "Do",
			Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				return nil, failing
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName: "Snapshot", ServerStreams: true,
			Handler: func(any, grpc.ServerStream) error { return failing },
		}},
	})
	_, err := desc.Methods[0].Handler(nil, t.Context(), nil, nil)
	require.Equal(t, failing, err)
	require.Equal(t, failing, desc.Streams[0].Handler(nil, nullStream{}))
	failing = nil
	require.NoError(t, desc.Streams[0].Handler(nil, nullStream{}))

	got := scrape(t, reg)
	require.InDelta(t, 1, got["grpc_server_handling_seconds,grpc_method=Do,grpc_service=pkg.Svc,grpc_type=unary"], 0)
	require.InDelta(t, 2, got["grpc_server_handling_seconds,grpc_method=Snapshot,grpc_service=pkg.Svc,grpc_type=server_stream"], 0)
	require.InDelta(t, 1, got["etcd_disk_backend_snapshot_duration_seconds"], 0, "of those that succeed")
}

// Clients choose the versions they claim; a hostile one cannot fill the memory
// with them.
func TestClientVersionsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	for i := range 1000 {
		m.unaryClients.inc(fmt.Sprint("v", i))
	}
	m.unaryClients.inc("v0")
	m.streamClients.inc("v0")
	got := scrape(t, reg)
	require.InDelta(t, 2, got["etcd_server_client_requests_total,client_api_version=v0,type=unary"], 0)
	require.InDelta(t, 1, got["etcd_server_client_requests_total,client_api_version=v0,type=stream"], 0)
	require.InDelta(t, 1000-maxClientVersions, got["etcd_server_client_requests_total,client_api_version=other,type=unary"], 0)
}
