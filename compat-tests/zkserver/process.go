package zkserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/compat-tests/server"
)

const (
	readyTimeout = 30 * time.Second      // a cold start on a busy machine
	pollInterval = 10 * time.Millisecond // of srvr
	askTimeout   = 10 * time.Second      // of a four-letter word, once the server serves
	// pollTimeout bounds one poll. A word that comes before the server has its
	// database is now and then never answered.
	pollTimeout = 250 * time.Millisecond
)

// Options say how to start a server. The zero value starts a standalone one with
// ZooKeeper's own defaults in a fresh temporary directory, with the AdminServer
// off and all four-letter words on.
type Options struct {
	// Dir holds the configuration, the data directory and the log. Empty means a
	// temporary one, removed by Stop. A given directory is kept, and its data is used.
	Dir string
	// TickTime is ZooKeeper's tickTime, in whole milliseconds; zero means its default,
	// 2 s. Sessions live at least 2 ticks.
	TickTime time.Duration
	// NoSync leaves out the sync of the log: enough if only the process dies.
	NoSync bool
	// Config are further lines of zoo.cfg; they come last.
	Config []string
	// JVM are further arguments of java, before the main class; Triglot gets them in
	// SERVER_JVMFLAGS.
	JVM []string
	// ID is the server's number in an ensemble, whose servers Config names; they have to be
	// started at the same time. Zero is a standalone server.
	ID int
	// Port is where clients are served; zero is a free one.
	Port int
	// Triglot runs this repository's "triglot zookeeper" on the same zoo.cfg instead.
	// Of JVM it takes the properties (-D); NoSync says nothing to it.
	Triglot bool
}

// Process is one running server. It is safe for use by one goroutine.
type Process struct {
	options   Options
	dir       string
	temporary bool // dir is removed by Stop
	port      int
	run       *server.Run // nil once ended
}

// Start runs a server and returns once it serves. The caller ends it with Stop.
func Start(ctx context.Context, o Options) (*Process, error) {
	p := &Process{options: o, dir: o.Dir}
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "compat-zookeeper-")
		if err != nil {
			return nil, err
		}
		p.dir, p.temporary = dir, true
	}
	const attempts = 5 // a port can be lost to another process
	var err error
	for range attempts {
		if err = p.startOnFreePort(ctx); err == nil || !server.PortTaken(p.Log()) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.cleanUp())
	}
	return p, nil
}

func (p *Process) startOnFreePort(ctx context.Context) error {
	var err error
	if p.port = p.options.Port; p.port == 0 {
		if p.port, err = server.FreePort(); err != nil {
			return err
		}
	}
	if err := os.Remove(p.LogPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return p.Restart(ctx)
}

// Restart runs the server again after Kill or Terminate: same options, same port,
// same data. The log goes on in the same file.
func (p *Process) Restart(ctx context.Context) error {
	if p.run != nil {
		return errors.New("the server is still running")
	}
	program, err := p.program()
	if err != nil {
		return err
	}
	if err := p.writeConfig(); err != nil {
		return err
	}
	log, err := os.OpenFile(p.LogPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Dir = p.dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TRIGLOT_") })
	if p.options.Triglot {
		cmd.Env = append(cmd.Env, "SERVER_JVMFLAGS="+strings.Join(p.options.JVM, " "))
	}
	cmd.Stdout, cmd.Stderr = log, log
	run, err := server.NewRun(cmd)
	if err = errors.Join(err, log.Close()); err != nil { // the child has its own copy
		return err
	}
	p.run = run
	if err := p.waitReady(ctx); err != nil {
		return errors.Join(fmt.Errorf("zookeeper: %w; end of its log:\n%s", err, p.LogTail()), p.Kill())
	}
	return nil
}

func (p *Process) writeConfig() error {
	if p.options.ID != 0 {
		if err := os.MkdirAll(p.DataDir(), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.DataDir(), "myid"), []byte(strconv.Itoa(p.options.ID)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(p.configPath(), []byte(p.config()), 0o644)
}

func (p *Process) config() string {
	tick := p.options.TickTime
	if tick == 0 {
		tick = 2 * time.Second
	}
	lines := []string{
		"clientPort=" + strconv.Itoa(p.port),
		"clientPortAddress=127.0.0.1",
		"dataDir=" + p.DataDir(),
		"tickTime=" + strconv.FormatInt(tick.Milliseconds(), 10),
		"maxClientCnxns=0",
		"admin.enableServer=false",
		"4lw.commands.whitelist=*",
	}
	return strings.Join(append(lines, p.options.Config...), "\n") + "\n"
}

// program is what runs the server, with its arguments.
func (p *Process) program() ([]string, error) {
	if p.options.Triglot {
		binary, err := server.Binary(string(server.Triglot))
		properties := slices.DeleteFunc(slices.Clone(p.options.JVM), func(arg string) bool { return !strings.HasPrefix(arg, "-D") })
		return append([]string{binary, "zookeeper", p.configPath()}, properties...), err
	}
	classpath, err := Classpath()
	return append([]string{"java"}, p.args(classpath)...), err
}

// args starts a small virtual machine: it starts in half a second.
func (p *Process) args(classpath string) []string {
	args := []string{"-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", classpath}
	if p.options.NoSync {
		args = append(args, "-Dzookeeper.forceSync=no", "-Dzookeeper.preAllocSize=1024")
	}
	args = append(args, p.options.JVM...)
	return append(args, MainServer, p.configPath())
}

// waitReady asks srvr until it names the server's mode.
func (p *Process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		answer, err := p.ask("srvr", pollTimeout)
		if err == nil && strings.Contains(answer, "Mode: ") && strings.Contains(answer, "Mode: standalone") == (p.options.ID == 0) {
			return nil
		}
		select {
		case <-p.run.Done():
			return fmt.Errorf("ended at start: %w", p.run.Err())
		case <-ctx.Done():
			return fmt.Errorf("not ready: srvr says %q: %w", answer, errors.Join(err, ctx.Err()))
		case <-ticker.C:
		}
	}
}

// Ask sends a four-letter word and returns the whole answer.
func (p *Process) Ask(word string) (answer string, err error) { return p.ask(word, askTimeout) }

func (p *Process) ask(word string, timeout time.Duration) (answer string, err error) {
	deadline := time.Now().Add(timeout)
	conn, err := net.DialTimeout("tcp", p.Endpoint(), timeout)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}

// Endpoint is the client address, as host:port.
func (p *Process) Endpoint() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// DataDir is the server's data directory.
func (p *Process) DataDir() string { return filepath.Join(p.dir, "data") }

// LogPath is the file that holds the server's output of all runs.
func (p *Process) LogPath() string { return filepath.Join(p.dir, "log") }

func (p *Process) configPath() string { return filepath.Join(p.dir, "zoo.cfg") }

// Log is the server's output so far; empty if there is none.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.LogPath())
	if err != nil {
		return "" // the directory is gone after Stop
	}
	return string(text)
}

// LogTail is the end of the server's output, for the report of a failure.
func (p *Process) LogTail() string { return server.Tail(p.Log(), 40) }

// PID is the process id of the current run, 0 if none.
func (p *Process) PID() int {
	if p.run == nil {
		return 0
	}
	return p.run.PID()
}

// Kill ends the run with SIGKILL and waits for its end. The data stays for
// Restart; call Stop in the end. It is no error if the run has ended already.
func (p *Process) Kill() error { return p.end((*server.Run).Kill) }

// Terminate ends the run with SIGTERM and waits for its end, like Kill.
func (p *Process) Terminate() error { return p.end((*server.Run).Terminate) }

func (p *Process) end(how func(*server.Run) error) error {
	if p.run == nil {
		return nil
	}
	run := p.run
	p.run = nil
	return how(run)
}

// Stop ends the run like Terminate and removes a temporary directory. An error
// shows the end of the server's log. Stop may be called twice.
func (p *Process) Stop() error {
	if p.run != nil {
		select {
		case <-p.run.Done():
			return errors.Join(fmt.Errorf("zookeeper has ended: %w; end of its log:\n%s", p.run.Err(), p.LogTail()), p.cleanUp())
		default:
		}
	}
	return errors.Join(p.Terminate(), p.cleanUp())
}

func (p *Process) cleanUp() error {
	if !p.temporary {
		return nil
	}
	return os.RemoveAll(p.dir)
}
