package inproc

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// What etcd's gRPC server takes by default, and what it takes beyond the limit that
// the store sets (etcd T-02).
const (
	defaultMaxRequestBytes = 1536 << 10
	requestOverhead        = 512 << 10
)

// Config tunes a Channel. The zero value is ready to use.
type Config struct {
	// MaxRequestBytes is the store's limit on an encoded command; the channel
	// refuses messages of 512 KiB more, as gRPC does. Zero is 1.5 MiB.
	MaxRequestBytes uint
	// Transferred is told the sizes that messages have when they are encoded, as a gRPC
	// server would count them: requests are received, replies sent. It is called by many
	// goroutines; nil is not.
	Transferred func(received, sent int)
	// Logger gets a line for each handler that panics; nil is slog.Default.
	Logger *slog.Logger
}

// Channel carries calls to the services that are registered with it. Once they
// all are, it is safe for concurrent use.
type Channel struct {
	cfg     Config
	methods map[string]method // by full name, "/package.Service/Method"
	life    context.Context   // ends, with a cause, when the channel is closed
	end     context.CancelCauseFunc

	// mu guards what follows, so that no handler starts once Close waits.
	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup // the goroutines of streaming handlers
}

var (
	_ grpc.ServiceRegistrar    = (*Channel)(nil)
	_ grpc.ClientConnInterface = (*Channel)(nil)
)

// method is how a method is served: one of the two is set.
type method struct {
	impl   any
	unary  grpc.MethodHandler
	stream grpc.StreamHandler
}

// errClosed ends the streams of a closed channel. Its text is etcd's.
var errClosed = status.Error(codes.Unavailable, "etcdserver: server stopped")

// New makes a Channel without services.
func New(cfg Config) *Channel {
	if cfg.MaxRequestBytes == 0 {
		cfg.MaxRequestBytes = defaultMaxRequestBytes
	}
	if cfg.Transferred == nil {
		cfg.Transferred = func(int, int) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	c := &Channel{cfg: cfg, methods: make(map[string]method)}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c
}

// RegisterService offers the methods of a service. All registrations come before
// the first call. It panics if a method has been registered already.
func (c *Channel) RegisterService(desc *grpc.ServiceDesc, impl any) {
	add := func(name string, m method) {
		full := "/" + desc.ServiceName + "/" + name
		if _, dup := c.methods[full]; dup {
			panic("inproc: registered twice: " + full)
		}
		c.methods[full] = m
	}
	for _, m := range desc.Methods {
		add(m.MethodName, method{impl: impl, unary: m.Handler})
	}
	for _, s := range desc.Streams {
		add(s.StreamName, method{impl: impl, stream: s.Handler})
	}
}

// Close ends every stream with the error that a stopped server gives, and waits
// for the handlers. Unary calls are their callers' and go on; new ones fail.
func (c *Channel) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end(errClosed)
	c.handlers.Wait()
}

// Invoke makes a unary call. The handler runs on the caller's goroutine: the call
// ends when it returns, which is why a handler has to heed its context.
func (c *Channel) Invoke(ctx context.Context, name string, args, reply any, opts ...grpc.CallOption) error {
	m := c.methods[name]
	if m.unary == nil {
		return unknown(name)
	}
	request, response := args.(proto.Message), reply.(proto.Message)
	if err := c.accept(request); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return endOf(ctx)
	}
	if c.life.Err() != nil {
		return errClosed
	}
	call := newCall(name)
	serve, cancel := context.WithCancel(serverContext(ctx, call))
	defer cancel()
	decode := func(into any) error { return move(into.(proto.Message), request) }
	var result any
	err := c.guard(name, func() (err error) {
		result, err = m.unary(m.impl, serve, decode, nil)
		return err
	})
	call.report(opts)
	if err != nil {
		return wireError(err)
	}
	if err := move(response, result.(proto.Message)); err != nil {
		return err
	}
	c.cfg.Transferred(0, proto.Size(response))
	return nil
}

// guard runs a handler and makes an error of a panic: what one request broke
// must not take the process from under all others.
func (c *Channel) guard(name string, handle func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.cfg.Logger.Error("a handler panicked", "method", name, "panic", v, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "the handler of this method panicked")
		}
	}()
	return handle()
}

// accept counts a request, or refuses it as grpc-go's server would.
func (c *Channel) accept(request proto.Message) error {
	limit := int(c.cfg.MaxRequestBytes) + requestOverhead
	n := proto.Size(request)
	if n > limit {
		return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", n, limit)
	}
	c.cfg.Transferred(n, 0)
	return nil
}

// unknown is the error for a method that is not registered.
func unknown(name string) error {
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	return status.Errorf(codes.Unimplemented, "unknown method %s for service %s", method, service)
}

// wireError is a handler's error as a client behind a network would see it.
func wireError(err error) error {
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	return status.FromContextError(err).Err()
}

// endOf is the error of a call whose context has ended. A cause that is a status
// is what the caller wants to be told.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		if _, ok := cause.(interface{ GRPCStatus() *status.Status }); ok {
			return cause
		}
	}
	return status.FromContextError(ctx.Err()).Err()
}

// move makes dst the message that src is, without copying what it refers to. src
// may not be used again.
func move(dst, src proto.Message) error {
	if err := sameType(dst, src); err != nil {
		return err
	}
	to, from := dst.ProtoReflect(), src.ProtoReflect()
	from.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(field, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return nil
}

// sameType refuses a message of another type than the one that it is to fill.
func sameType(dst, src proto.Message) error {
	if dst.ProtoReflect().Descriptor() == src.ProtoReflect().Descriptor() {
		return nil
	}
	return status.Errorf(codes.Internal, "a %T was expected where there is a %T", dst, src)
}

// call is the part of a call that unary ones and streams have in common: its name
// and the metadata that the handler sets.
type call struct {
	name string

	// mu guards what follows.
	mu              sync.Mutex
	header, trailer metadata.MD
}

func newCall(name string) *call { return &call{name: name} }

// serverContext is the handler's context for a call that is made with ctx.
func serverContext(ctx context.Context, call grpc.ServerTransportStream) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	ctx = metadata.NewIncomingContext(ctx, md) // even if empty: what ctx came in with is not meant for the handler
	return grpc.NewContextWithServerTransportStream(ctx, call)
}

// Method, SetHeader, SendHeader and SetTrailer make a call what grpc.Method and
// its like look for in a handler's context.
func (c *call) Method() string { return c.name }

func (c *call) SetHeader(md metadata.MD) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = metadata.Join(c.header, md)
	return nil
}

func (c *call) SendHeader(md metadata.MD) error { return c.SetHeader(md) }

func (c *call) SetTrailer(md metadata.MD) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trailer = metadata.Join(c.trailer, md)
	return nil
}

// report gives the caller the metadata that it asked for.
func (c *call) report(opts []grpc.CallOption) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, opt := range opts {
		switch o := opt.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = c.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = c.trailer
		}
	}
}
