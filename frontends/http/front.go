package httpfront

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	"github.com/triglot/triglot/core"
)

// defaultRequestTimeout is what etcd allows a request with its default election
// timeout: 5 s and twice 1 s (etcd T-04).
const defaultRequestTimeout = 7 * time.Second

// Limits of a connection. There is none on the time that a reply takes: a watch
// goes on for as long as its client listens.
const (
	headerTimeout  = 30 * time.Second
	idleTimeout    = 5 * time.Minute
	maxHeaderBytes = 64 << 10
	// maxStreams bounds the requests that are open at a time on an HTTP/2
	// connection. Watches stay open, so it is more than net/http's 250.
	maxStreams = 1000
)

// Config says what a Front serves.
type Config struct {
	Store   core.Store
	Cluster core.Cluster
	// Version is the version of etcd that /version speaks of, such as "3.7.3".
	Version string
	// RequestTimeout bounds the reads of the health checks; zero is 7 s.
	RequestTimeout time.Duration
	// Metrics is what /metrics shows. The counters of the health checks are
	// registered in it. Nil is an empty registry.
	Metrics *prometheus.Registry
	// Gateway leads to the etcd face, such as an inproc.Channel with which it is
	// registered; the JSON gateway is served below /v3/ then. Nil serves none
	// (--enable-grpc-gateway=false).
	Gateway grpc.ClientConnInterface
	// Calls serves the gRPC calls that come over a connection which began with something
	// else, such as a *grpc.Server. Nil serves none.
	Calls http.Handler
	// MaxRequestBytes is the store's limit on an encoded command, from which the
	// limit on a request's body follows; zero is 1.5 MiB.
	MaxRequestBytes uint
	// Auth says whether authentication is on, which matters with ClientCertAuth
	// (--client-cert-auth): then the gateway refuses certificates with a common name.
	// Nil is off.
	Auth           core.Auth
	ClientCertAuth bool
	// Origins are the origins that a browser may call from, Hosts the names that the
	// Host header of a request without TLS may hold. Empty, or an element "*", allows
	// all.
	Origins, Hosts []string
	// Debug is served to whoever reaches a client address.
	Debug Debug
	// Overview is served at StatusPath. Nil is not.
	Overview core.Overview
	// Logger gets a line for each failed health check; nil discards.
	Logger *slog.Logger
}

// Debug says what is served of the process itself.
type Debug struct {
	// Pprof serves profiles below /debug/pprof/ (--enable-pprof, or --log-level=debug),
	// Traces grpc-go's traces at /debug/requests and /debug/events (--log-level=debug).
	Pprof, Traces bool
}

// Front answers plain HTTP for one member. It is safe for concurrent use.
type Front struct {
	cfg    Config
	health healthMetrics
}

// New makes a Front. It panics if Config.Metrics has the counters of another
// Front already.
func New(cfg Config) *Front {
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, defaultRequestTimeout)
	cfg.MaxRequestBytes = cmp.Or(cfg.MaxRequestBytes, defaultMaxRequestBytes)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	return &Front{cfg: cfg, health: newHealthMetrics(cfg.Metrics)}
}

// ClientHandler serves the paths that etcd has on its client port.
func (f *Front) ClientHandler() http.Handler {
	mux := http.NewServeMux()
	f.handleProbes(mux)
	mux.HandleFunc("/version", f.serveVersion)
	f.handleStatus(mux, f.caller)
	f.handleDebug(mux)
	if f.cfg.Gateway != nil {
		mux.Handle("/v3/", newGateway(f.cfg.Gateway, f.cfg.MaxRequestBytes))
	}
	return f.guard(fromBeta(mux))
}

// MetricsHandler serves the paths that etcd has on --listen-metrics-urls: the
// metrics and the health checks.
func (f *Front) MetricsHandler() http.Handler {
	mux := http.NewServeMux()
	f.handleProbes(mux)
	return mux
}

// MemberHandler serves StatusPath to those whom the member takes for itself.
func (f *Front) MemberHandler() http.Handler {
	mux := http.NewServeMux()
	f.handleStatus(mux, func(*http.Request) (core.Principal, error) { return core.Principal{Member: true}, nil })
	return mux
}

func (f *Front) handleProbes(mux *http.ServeMux) {
	mux.Handle("/metrics", promhttp.InstrumentMetricHandler(f.cfg.Metrics, promhttp.HandlerFor(f.cfg.Metrics, promhttp.HandlerOpts{})))
	mux.HandleFunc("/health", f.serveHealth)
	f.handleChecks(mux, "livez", f.livezChecks())
	f.handleChecks(mux, "readyz", f.readyzChecks())
}

// NewServer wraps a handler of this package in an http.Server with its limits.
// What goes wrong with a single connection is logged at debug level.
//
// It speaks HTTP/1 and, to clients that begin with it, HTTP/2 without TLS.
func NewServer(h http.Handler, logger *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		Handler:           h,
		ConnContext:       withTLSState,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// onlyGet refuses every method but GET, as etcd does, HEAD included. It reports
// whether the request may go on.
func onlyGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return true
	}
	w.Header().Set("Allow", http.MethodGet)
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	return false
}
