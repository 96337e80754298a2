package server

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// What other packages need to run servers of another kind (zkserver).

// FreePort returns a loopback port on which nothing listens right now.
func FreePort() (int, error) { return freePort() }

// LockFile takes an exclusive lock on a file, which it makes if need be. The
// kernel drops the lock if this process dies.
func LockFile(path string) (unlock func() error, err error) { return lockFile(path) }

// Tail is the last lines of a text.
func Tail(text string, lines int) string { return tail(text, lines) }

// Run is one run of a command. The kernel ends it if this process dies first.
type Run struct{ child *child }

// NewRun starts a command.
func NewRun(cmd *exec.Cmd) (*Run, error) {
	cmd.SysProcAttr = dieWithParent()
	c, err := spawn(cmd)
	if err != nil {
		return nil, err
	}
	return &Run{child: c}, nil
}

// PID is the process id.
func (r *Run) PID() int { return r.child.pid }

// Done is closed when the run has ended.
func (r *Run) Done() <-chan struct{} { return r.child.done }

// Err says how the run ended; it must not be called before Done is closed. It is
// never nil: a server is not expected to end.
func (r *Run) Err() error { return exitError(r.child.err) }

// Kill ends the run with SIGKILL and waits for its end. It is no error if the run
// has ended already.
func (r *Run) Kill() error {
	err := r.signal(syscall.SIGKILL)
	<-r.child.done
	return err
}

// Terminate ends the run with SIGTERM and waits. A run that takes over ten seconds
// is killed, which is an error.
func (r *Run) Terminate() error {
	if err := r.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-r.child.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("process %d still runs %s after SIGTERM", r.PID(), stopTimeout), r.Kill())
	}
}

func (r *Run) signal(s syscall.Signal) error {
	select {
	case <-r.child.done:
		return nil
	default:
	}
	if err := syscall.Kill(r.child.pid, s); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
