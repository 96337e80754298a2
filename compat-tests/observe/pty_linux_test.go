package observe

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// openPTY returns both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	var locked, number int32
	ioctl := func(request uintptr, value *int32) {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value)))
		require.Zero(t, errno)
	}
	ioctl(syscall.TIOCSPTLCK, &locked)
	ioctl(syscall.TIOCGPTN, &number)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	return master, slave
}

// TestTerminal runs a server under a terminal, as test rigs do that read its output
// line by line: what it has to say comes at once.
func TestTerminal(t *testing.T) {
	forBoth(t, func(t *testing.T, target server.Target) {
		master, slave := openPTY(t)
		args, _ := flags(t, t.TempDir())
		cmd := command(t, target, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		r, err := server.NewRun(cmd)
		require.NoError(t, err)
		require.NoError(t, slave.Close())
		lines := make(chan string, 10_000)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(master); s.Scan(); { // until both ends are closed
				lines <- s.Text()
			}
		}()
		t.Cleanup(func() {
			require.NoError(t, r.Terminate())
			for range lines { // to its end
			}
			require.NoError(t, master.Close())
		})
		deadline := time.After(20 * time.Second)
		for {
			select {
			case line, ok := <-lines:
				require.True(t, ok, "it ended")
				if strings.Contains(line, ready) {
					return
				}
			case <-deadline:
				require.Fail(t, "it does not say that it is ready")
			}
		}
	})
}
