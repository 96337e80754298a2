package server

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Run is one run of a command. The kernel ends it if this process dies first. Its
// goroutine starts the command, waits for it and closes done.
type Run struct {
	pid  int
	done chan struct{}
	err  error // how it ended; valid once done is closed
}

// NewRun starts a command, on a goroutine that keeps its thread until the command
// has ended, as dieWithParent requires.
func NewRun(cmd *exec.Cmd) (*Run, error) {
	cmd.SysProcAttr = dieWithParent()
	r := &Run{done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		r.pid = cmd.Process.Pid
		started <- nil
		r.err = cmd.Wait()
		close(r.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return r, nil
}

// PID is the process id.
func (r *Run) PID() int { return r.pid }

// Done is closed when the run has ended.
func (r *Run) Done() <-chan struct{} { return r.done }

// Err says how the run ended; it must not be called before Done is closed. It is
// never nil: a server is not expected to end.
func (r *Run) Err() error { return exitError(r.err) }

// Kill ends the run with SIGKILL and waits for its end. It is no error if the run
// has ended already.
func (r *Run) Kill() error {
	err := r.signal(syscall.SIGKILL)
	<-r.done
	return err
}

// Terminate ends the run with SIGTERM and waits. A run that takes over ten seconds
// is killed, which is an error.
func (r *Run) Terminate() error {
	if err := r.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-r.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("process %d still runs %s after SIGTERM", r.PID(), stopTimeout), r.Kill())
	}
}

func (r *Run) signal(s syscall.Signal) error {
	select {
	case <-r.done:
		return nil
	default:
	}
	if err := syscall.Kill(r.pid, s); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// exitError makes a clean exit an error too: a server is not expected to end.
func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Tail is the last lines of a text.
func Tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
