package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// runAsTriglot makes the test binary be the program that it tests.
	runAsTriglot = "TRIGLOT_TEST_IS_THE_PROGRAM"
	// runChildrenToo makes what that starts be it as well.
	runChildrenToo = "TRIGLOT_TEST_HAS_CHILDREN"
)

func TestMain(m *testing.M) {
	if os.Getenv(runAsTriglot) != "" {
		if os.Getenv(runChildrenToo) == "" {
			_ = os.Unsetenv(runAsTriglot) // it is a setting of the test, not of the program
		}
		main()
	}
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// running is the program as a process.
type running struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr lockedBuffer
	done           chan struct{} // closed when it has ended
}

// start runs the program in dir under the name args[0].
func start(t *testing.T, dir string, env []string, args ...string) *running {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	r := &running{t: t, done: make(chan struct{})}
	r.cmd = &exec.Cmd{Path: self, Args: withPeerPort(args), Dir: dir, Stdout: &r.stdout, Stderr: &r.stderr}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ETCD_") && !strings.HasPrefix(v, "TRIGLOT_") {
			r.cmd.Env = append(r.cmd.Env, v)
		}
	}
	r.cmd.Env = append(r.cmd.Env, append(env, runAsTriglot+"=1")...)
	require.NoError(t, r.cmd.Start())
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // its status is in ProcessState
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it may have ended
		<-r.done
		if t.Failed() {
			t.Logf("stdout of %v:\n%s\nstderr:\n%s", args, r.stdout.String(), r.stderr.String())
		}
	})
	return r
}

// withPeerPort adds a port for other members that is free, if the arguments start a member
// and name none: tests run side by side.
func withPeerPort(args []string) []string {
	serves := strings.HasSuffix(args[0], "etcd") || len(args) > 1 && (args[1] == "serve" || args[1] == "etcd")
	named := func(arg string) bool { return strings.HasPrefix(arg, "--listen-peer-urls") }
	if !serves || slices.ContainsFunc(args, named) {
		return args
	}
	return append(slices.Clip(args), "--listen-peer-urls=http://127.0.0.1:0")
}

// serving starts the program on a free port and waits until it serves. It returns
// the address as well.
func serving(t *testing.T, dir string, env []string, args ...string) (*running, string) {
	t.Helper()
	r := start(t, dir, env, args...)
	return r, r.address()
}

// address waits until the program serves, and returns the first address on which
// it does.
func (r *running) address() string {
	r.t.Helper()
	served := regexp.MustCompile(`serving client traffic .*address"?[=:]"?([^" \n]+)`)
	r.await(func() bool { return served.MatchString(r.stderr.String()) }, "it serves")
	return served.FindStringSubmatch(r.stderr.String())[1]
}

// await polls until a condition holds, or fails.
func (r *running) await(holds func() bool, what string) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		select {
		case <-r.done:
			require.True(r.t, holds(), "the program ended before %s", what)
			return
		case <-time.After(5 * time.Millisecond):
			require.True(r.t, time.Now().Before(deadline), "not in time: %s", what)
		}
	}
}

// exit waits for the end of the program and returns its status, -1 for a signal.
func (r *running) exit() int {
	r.t.Helper()
	select {
	case <-r.done:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		require.Fail(r.t, "the program does not end")
		return -1
	}
}

// signal sends a signal and returns how long the program then takes to end.
func (r *running) signal(sig os.Signal) time.Duration {
	r.t.Helper()
	sent := time.Now()
	require.NoError(r.t, r.cmd.Process.Signal(sig))
	r.exit()
	return time.Since(sent)
}

// stop ends the program as its supervisor would.
func (r *running) stop() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	require.Zero(r.t, r.cmd.ProcessState.ExitCode())
}

// lockedBuffer is a buffer that a process fills and a test reads.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// httpGet asks for a URL and returns the status and the body.
func httpGet(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// dial opens a gRPC connection whose messages are bytes: this package knows no
// protocol.
func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.WaitForReady(true)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.(*[]byte); ok {
		return *b, nil
	}
	return nil, errors.New("not bytes")
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return errors.New("not bytes")
	}
	*b = bytes.Clone(data)
	return nil
}

// fields encodes short strings as the fields 1, 2, … of a protobuf message.
func fields(values ...string) []byte {
	var b []byte
	for i, v := range values {
		b = append(b, byte(i+1)<<3|2, byte(len(v)))
		b = append(b, v...)
	}
	return b
}

func call(t *testing.T, conn *grpc.ClientConn, method string, request []byte) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var reply []byte
	require.NoError(t, conn.Invoke(ctx, method, &request, &reply))
	return string(reply)
}

func put(t *testing.T, conn *grpc.ClientConn, key, value string) {
	t.Helper()
	call(t, conn, "/etcdserverpb.KV/Put", fields(key, value))
}

// get returns the whole answer: a message that holds the value if there is one.
func get(t *testing.T, conn *grpc.ClientConn, key string) string {
	t.Helper()
	return call(t, conn, "/etcdserverpb.KV/Range", fields(key))
}
