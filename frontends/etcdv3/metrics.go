package etcdv3

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Metrics are the face's metrics, under etcd's names. One is meant for a
// process: it is shared by Config and ServerConfig.
type Metrics struct {
	sentBytes, receivedBytes    prometheus.Counter
	unaryClients, streamClients *clientCounter
	watch                       watchMetrics
	requests                    *requestMetrics
	calls                       *callCollector
	// handling times the calls of each method; nil does not.
	handling *prometheus.HistogramVec
}

// watchMetrics time the sending of watch responses.
type watchMetrics struct {
	control, progress prometheus.Histogram
	events, perEvent  *evenHistogram
	eventCount        prometheus.Counter
}

// sent counts responses with events, all of which together took so long: each counts as
// if it had taken as long as the others.
func (m *watchMetrics) sent(responses, events int, took time.Duration) {
	m.eventCount.Add(float64(events))
	m.events.observe(responses, took/time.Duration(responses))
	m.perEvent.observe(responses, took/time.Duration(events))
}

// NewMetrics makes the metrics and registers them with reg, unless it is nil. It
// panics if reg has metrics of these names already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	clients := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "etcd_server_client_requests_total",
		Help: "The total number of client requests per client version.",
	}, []string{"type", "client_api_version"})
	m := &Metrics{
		sentBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_network_client_grpc_sent_bytes_total",
			Help: "The total number of bytes sent to grpc clients.",
		}),
		receivedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "etcd_network_client_grpc_received_bytes_total",
			Help: "The total number of bytes received from grpc clients.",
		}),
		unaryClients:  newClientCounter(clients.MustCurryWith(prometheus.Labels{"type": "unary"})),
		streamClients: newClientCounter(clients.MustCurryWith(prometheus.Labels{"type": "stream"})),
		watch: watchMetrics{
			events:   newEvenHistogram(watchHistogram("watch_stream_duration", "sending one response with events")),
			perEvent: newEvenHistogram(watchHistogram("watch_stream_duration_per_event", "sending one event")),
			control:  prometheus.NewHistogram(watchHistogram("control_stream_duration", "sending one response without events")),
			progress: prometheus.NewHistogram(watchHistogram("progress_duration", "asking for the progress notifications that are due")),
			eventCount: prometheus.NewCounter(prometheus.CounterOpts{
				Name: "etcd_debugging_mvcc_events_total",
				Help: "Events sent to watches.",
			}),
		},
		requests: newRequestMetrics(),
		calls:    newCallCollector(),
	}
	if reg != nil {
		reg.MustRegister(m.sentBytes, m.receivedBytes, clients, m.calls,
			m.watch.events, m.watch.perEvent, m.watch.control, m.watch.progress, m.watch.eventCount)
		reg.MustRegister(m.requests.collectors()...)
	}
	return m
}

func watchHistogram(name, what string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name:    "etcd_debugging_server_watch_send_loop_" + name + "_seconds",
		Help:    "The time in seconds of " + what + " in a watch's send loop.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14), // 1 ms to 8.2 s
	}
}

// TimeCalls has the calls of each method timed, the time of a stream being that until
// its end, and registers the histograms with reg (--metrics=extensive). It must be
// called before the face is registered.
func (m *Metrics) TimeCalls(reg prometheus.Registerer) {
	m.handling = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "grpc_server_handling_seconds",
		Help:    "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
		Buckets: prometheus.DefBuckets,
	}, []string{"grpc_type", "grpc_service", "grpc_method"})
	reg.MustRegister(m.handling)
}

// orDiscard returns m, or metrics that nobody reads.
func (m *Metrics) orDiscard() *Metrics {
	if m == nil {
		return NewMetrics(nil)
	}
	return m
}

// Transferred counts bytes of messages that do not come by the codec of ServerOptions.
func (m *Metrics) Transferred(received, sent int) {
	m.receivedBytes.Add(float64(received))
	m.sentBytes.Add(float64(sent))
}

// maxClientVersions bounds the versions told apart, as clients choose them.
const maxClientVersions = 64

// clientCounter counts requests by the version that the client claims.
type clientCounter struct {
	byVersion atomic.Pointer[map[string]prometheus.Counter] // replaced, never changed
	mu        sync.Mutex                                    // serialises replacing it
	vec       *prometheus.CounterVec
}

func newClientCounter(vec *prometheus.CounterVec) *clientCounter {
	c := &clientCounter{vec: vec}
	c.byVersion.Store(&map[string]prometheus.Counter{})
	return c
}

func (c *clientCounter) inc(version string) {
	n := (*c.byVersion.Load())[version]
	if n == nil {
		n = c.add(version)
	}
	n.Inc()
}

func (c *clientCounter) add(version string) prometheus.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.byVersion.Load()
	if n := known[version]; n != nil {
		return n
	}
	if len(known) >= maxClientVersions {
		return c.vec.WithLabelValues("other")
	}
	grown := maps.Clone(known)
	grown[version] = c.vec.WithLabelValues(version)
	c.byVersion.Store(&grown)
	return grown[version]
}

// callStats counts the calls of one method. For a unary method the messages
// follow from the calls: each has one request, and a reply if it succeeds.
type callStats struct {
	labels         []string // type, service, method
	unary          bool
	started        atomic.Uint64
	received, sent atomic.Uint64 // streams only
	handled        [maxCode + 1]atomic.Uint64
}

const maxCode = codes.Unauthenticated // the last code there is

func (s *callStats) done(err error) {
	code := status.Code(err)
	if code > maxCode {
		code = codes.Unknown
	}
	s.handled[code].Add(1)
}

// callCollector exports the counts of all methods as go-grpc-prometheus does.
type callCollector struct {
	startedDesc, receivedDesc, sentDesc, handledDesc *prometheus.Desc

	mu      sync.Mutex
	methods []*callStats
}

func newCallCollector() *callCollector {
	method := []string{"grpc_type", "grpc_service", "grpc_method"}
	desc := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc("grpc_server_"+name, help, labels, nil)
	}
	return &callCollector{
		startedDesc:  desc("started_total", "Total number of RPCs started on the server.", method),
		receivedDesc: desc("msg_received_total", "Total number of RPC stream messages received on the server.", method),
		sentDesc:     desc("msg_sent_total", "Total number of gRPC stream messages sent by the server.", method),
		handledDesc: desc("handled_total",
			"Total number of RPCs completed on the server, regardless of success or failure.",
			append(method[:len(method):len(method)], "grpc_code")),
	}
}

// Describe implements prometheus.Collector.
func (c *callCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.startedDesc
	ch <- c.receivedDesc
	ch <- c.sentDesc
	ch <- c.handledDesc
}

// Collect implements prometheus.Collector.
func (c *callCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	methods := c.methods
	c.mu.Unlock()
	for _, s := range methods {
		counter := func(desc *prometheus.Desc, n uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
		}
		started, received, sent := s.started.Load(), s.received.Load(), s.sent.Load()
		if s.unary {
			received, sent = started, s.handled[codes.OK].Load()
		}
		counter(c.startedDesc, started, s.labels...)
		counter(c.receivedDesc, received, s.labels...)
		counter(c.sentDesc, sent, s.labels...)
		for code := range s.handled {
			counter(c.handledDesc, s.handled[code].Load(),
				append(s.labels[:len(s.labels):len(s.labels)], codes.Code(code).String())...)
		}
	}
}

// add returns what counts the calls of a method, one for all the registrars that
// the face is registered with.
func (c *callCollector) add(kind, service, method string) *callStats {
	labels := []string{kind, service, method}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.methods {
		if slices.Equal(s.labels, labels) {
			return s
		}
	}
	s := &callStats{labels: labels, unary: kind == "unary"}
	c.methods = append(c.methods[:len(c.methods):len(c.methods)], s)
	return s
}

// instrument returns desc with handlers that count. What a method counts with is
// found here, once.
func (m *Metrics) instrument(desc grpc.ServiceDesc) grpc.ServiceDesc {
	desc.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
	for i := range desc.Methods {
		d := &desc.Methods[i]
		d.Handler = countedUnary(d.Handler, m.calls.add("unary", desc.ServiceName, d.MethodName))
		if m.handling != nil {
			d.Handler = timedUnary(d.Handler, m.handling.WithLabelValues("unary", desc.ServiceName, d.MethodName))
		}
	}
	desc.Streams = append([]grpc.StreamDesc(nil), desc.Streams...)
	for i := range desc.Streams {
		d := &desc.Streams[i]
		kind := "server_stream"
		switch {
		case d.ClientStreams && d.ServerStreams:
			kind = "bidi_stream"
		case d.ClientStreams:
			kind = "client_stream"
		}
		d.Handler = countedStream(d.Handler, m.calls.add(kind, desc.ServiceName, d.StreamName))
		if d.StreamName == "Snapshot" {
			d.Handler = timedStream(d.Handler, m.requests.backup, false)
		}
		if m.handling != nil {
			d.Handler = timedStream(d.Handler, m.handling.WithLabelValues(kind, desc.ServiceName, d.StreamName), true)
		}
	}
	return desc
}

func countedUnary(handle grpc.MethodHandler, stats *callStats) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		stats.started.Add(1)
		resp, err := handle(srv, ctx, decode, intercept)
		stats.done(err)
		return resp, err
	}
}

func countedStream(handle grpc.StreamHandler, stats *callStats) grpc.StreamHandler {
	return func(srv any, ss grpc.ServerStream) error {
		stats.started.Add(1)
		err := handle(srv, &streamCounter{ServerStream: ss, stats: stats})
		stats.done(err)
		return err
	}
}

func timedUnary(handle grpc.MethodHandler, took prometheus.Observer) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		start := time.Now()
		resp, err := handle(srv, ctx, decode, intercept)
		took.Observe(time.Since(start).Seconds())
		return resp, err
	}
}

// timedStream times the streams that succeed, or all.
func timedStream(handle grpc.StreamHandler, took prometheus.Observer, all bool) grpc.StreamHandler {
	return func(srv any, ss grpc.ServerStream) error {
		start := time.Now()
		err := handle(srv, ss)
		if err == nil || all {
			took.Observe(time.Since(start).Seconds())
		}
		return err
	}
}

// streamCounter counts the messages of a stream.
type streamCounter struct {
	grpc.ServerStream
	stats *callStats
}

func (s *streamCounter) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.stats.sent.Add(1)
	}
	return err
}

func (s *streamCounter) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.stats.received.Add(1)
	}
	return err
}
