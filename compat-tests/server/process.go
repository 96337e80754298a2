package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyTimeout = 30 * time.Second      // a cold start on a busy machine, unless Options says otherwise
	stopTimeout  = 10 * time.Second      // SIGTERM to exit
	pollInterval = 10 * time.Millisecond // of /health
)

// Options say how to start a server. The zero value starts Triglot with default
// flags in a fresh temporary directory.
type Options struct {
	// Target is the server; empty means Triglot.
	Target Target
	// Binary is the path of the executable; empty means Binary(Target).
	Binary string
	// Dir holds the data directory and the log. Empty means a temporary one,
	// removed by Stop. A given directory is kept, and its data is used.
	Dir string
	// AdvertisePeerURL is the peer URL that the member advertises; empty means the
	// one it listens on. A lone member never dials it, but its id and the
	// cluster's are derived from it.
	AdvertisePeerURL string
	// EtcdMode starts Triglot as "triglot etcd": etcd's defaults hold then. etcd
	// itself knows no other mode.
	EtcdMode bool
	// PKI has the server serve clients by TLS, and want a certificate of them; nil
	// is plain HTTP.
	PKI *PKI
	// Args are further flags, in etcd's spelling; they come last.
	Args []string
	// ReadyTimeout is how long a start may take; 0 is 30 s.
	ReadyTimeout time.Duration
	// Env are further environment variables, as "NAME=value".
	Env []string
}

// Process is one running server. It is safe for use by one goroutine.
type Process struct {
	options    Options
	dir        string
	temporary  bool // dir is removed by Stop
	clientPort int
	peerPort   int
	zkPort     int

	run *Run // nil once ended
}

// Start runs a server and returns once it answers /health. The caller ends it
// with Stop or Kill.
func Start(ctx context.Context, o Options) (*Process, error) {
	if o.Target == "" {
		o.Target = Triglot
	}
	if o.Binary == "" {
		path, err := Binary(string(o.Target))
		if err != nil {
			return nil, err
		}
		o.Binary = path
	}
	p := &Process{options: o, dir: o.Dir}
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "compat-"+string(o.Target)+"-")
		if err != nil {
			return nil, err
		}
		p.dir, p.temporary = dir, true
	}
	const attempts = 5 // a port can be lost to another process
	var err error
	for range attempts {
		if err = p.startOnFreePorts(ctx); err == nil || !PortTaken(p.Log()) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.cleanUp())
	}
	return p, nil
}

func (p *Process) startOnFreePorts(ctx context.Context) error {
	var err error
	if p.clientPort, err = FreePort(); err != nil {
		return err
	}
	if p.peerPort, err = FreePort(); err != nil {
		return err
	}
	if p.zkPort, err = FreePort(); err != nil {
		return err
	}
	if err := os.Remove(p.LogPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return p.Restart(ctx)
}

// Restart runs the server again, after Stop on a given directory or after Kill:
// same flags, same ports, same data. The log goes on in the same file.
func (p *Process) Restart(ctx context.Context) error {
	if p.run != nil {
		return errors.New("the server is still running")
	}
	log, err := os.OpenFile(p.LogPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.options.Binary, p.args()...)
	cmd.Dir = p.dir
	cmd.Env = append(cleanEnv(), p.options.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	run, err := NewRun(cmd)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	p.run = run
	if err := log.Close(); err != nil { // the child has its own copy
		return errors.Join(err, p.Kill())
	}
	if err := p.waitReady(ctx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w; end of its log:\n%s", p.options.Target, err, p.LogTail()), p.Kill())
	}
	return nil
}

func (p *Process) args() []string {
	peer := p.options.AdvertisePeerURL
	if peer == "" {
		peer = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(p.peerPort))
	}
	args := []string{
		"--name", "m1",
		"--data-dir", filepath.Join(p.dir, "data"),
		"--listen-client-urls", p.URL(),
		"--advertise-client-urls", p.URL(),
		"--listen-peer-urls", "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(p.peerPort)),
		"--initial-advertise-peer-urls", peer,
		"--initial-cluster", "m1=" + peer,
		"--log-level", "warn",
	}
	if p.options.Target == Triglot {
		mode := "serve"
		if p.options.EtcdMode {
			mode = "etcd"
		} else {
			args = append(args, "--zk-listen", p.ZKEndpoint(), "--zk-4lw-whitelist=*")
		}
		args = append([]string{mode}, args...)
	}
	if p.options.PKI != nil {
		args = append(args, p.options.PKI.ServerArgs()...)
	}
	return append(args, p.options.Args...)
}

// cleanEnv is this process's environment without the variables that either
// server would read.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ETCD_") && !strings.HasPrefix(v, "TRIGLOT_") && !strings.HasPrefix(v, "ETCDCTL_") {
			env = append(env, v)
		}
	}
	return env
}

func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.options.ReadyTimeout, readyTimeout))
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	if pki := p.options.PKI; pki != nil {
		var err error
		if transport.TLSClientConfig, err = pki.ClientConfig("client"); err != nil {
			return err
		}
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Second}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		last = healthy(ctx, client, p.URL()+"/health")
		select {
		case <-p.run.Done():
			return fmt.Errorf("ended at start: %w", p.run.Err())
		default:
		}
		if last == nil {
			return nil
		}
		select {
		case <-p.run.done:
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", last)
		case <-ticker.C:
		}
	}
}

func healthy(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"health":"true"`) {
		return fmt.Errorf("/health answers %s: %s", response.Status, body)
	}
	return nil
}

// Endpoint is the client address, as host:port.
func (p *Process) Endpoint() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.clientPort))
}

// ZKEndpoint is the address for ZooKeeper clients, as host:port. Only Triglot has
// one, and not in etcd mode.
func (p *Process) ZKEndpoint() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.zkPort))
}

// URL is the client address, as http://host:port or https://host:port.
func (p *Process) URL() string {
	if p.options.PKI != nil {
		return "https://" + p.Endpoint()
	}
	return "http://" + p.Endpoint()
}

// Target is the server that runs.
func (p *Process) Target() Target { return p.options.Target }

// DataDir is the server's data directory.
func (p *Process) DataDir() string { return filepath.Join(p.dir, "data") }

// LogPath is the file that holds the server's output of all runs.
func (p *Process) LogPath() string { return filepath.Join(p.dir, "log") }

// Log is the server's output so far; empty if there is none.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.LogPath())
	if err != nil {
		return "" // the directory is gone after Stop
	}
	return string(text)
}

// LogTail is the end of the server's output, for the report of a failure.
func (p *Process) LogTail() string { return Tail(p.Log(), 40) }

// PID is the process id of the current run, 0 if none.
func (p *Process) PID() int {
	if p.run == nil {
		return 0
	}
	return p.run.PID()
}

// Done is closed when the current run ends, by itself or not. It must not be
// called between Kill and Restart.
func (p *Process) Done() <-chan struct{} { return p.run.done }

// Signal sends a signal to the current run.
func (p *Process) Signal(s syscall.Signal) error {
	if p.run == nil {
		return errors.New("the server is not running")
	}
	select {
	case <-p.run.done:
		return fmt.Errorf("the server has ended: %w", p.run.Err())
	default:
		return syscall.Kill(p.run.pid, s)
	}
}

// Kill ends the run with SIGKILL and waits for its end. The data stays for
// Restart; call Stop in the end. It is no error if the run has ended already.
func (p *Process) Kill() error {
	if p.run == nil {
		return nil
	}
	run := p.run
	p.run = nil
	return run.Kill()
}

// Terminate ends the run with SIGTERM and waits. An exit code other than 0, an
// end by itself or a stop that takes over ten seconds is an error; in the last
// case the run is killed. etcd, which dies of the signal once it has cleaned up,
// is not blamed for that.
func (p *Process) Terminate() error {
	if p.run == nil {
		return nil
	}
	run := p.run
	if err := p.Signal(syscall.SIGTERM); err != nil {
		p.run = nil
		return err
	}
	select {
	case <-run.done:
		p.run = nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s: still running %s after SIGTERM", p.options.Target, stopTimeout), p.Kill())
	}
	var exit *exec.ExitError
	if errors.As(run.err, &exit) {
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() && s.Signal() == syscall.SIGTERM {
			return nil
		}
	}
	return run.err
}

// Stop ends the run like Terminate and removes a temporary directory. An error
// shows the end of the server's log. Stop may be called twice.
func (p *Process) Stop() error {
	err := p.Terminate()
	if err != nil {
		err = fmt.Errorf("stop %s: %w; end of its log:\n%s", p.options.Target, err, p.LogTail())
	}
	return errors.Join(err, p.cleanUp())
}

func (p *Process) cleanUp() error {
	if !p.temporary {
		return nil
	}
	return os.RemoveAll(p.dir)
}
