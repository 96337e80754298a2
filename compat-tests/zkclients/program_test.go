package zkclients

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// errEnded is why a line of a program's output does not come any more.
var errEnded = errors.New("the program has ended")

// program is a running program that talks in lines.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // what it prints; closed at its end
	seen  []string    // the lines taken so far
}

// startProgram starts a command, whose end of input ends it when the test ends.
func startProgram(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	p := &program{t: t, cmd: cmd, in: in, lines: make(chan string, 10_000)}
	go func() { // ends with the program's output
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.in.Close() // closed already if the program was asked to end
		for range p.lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Logf("%s: %v", cmd.Path, err) // it may have been killed
		}
	})
	return p
}

// kill ends a program that does not end by itself.
func (p *program) kill() {
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Logf("%s: %v", p.cmd.Path, err)
	}
}

// tell writes a line to the program.
func (p *program) tell(line string) {
	p.t.Helper()
	_, err := fmt.Fprintln(p.in, line)
	require.NoError(p.t, err)
}

// next is the next line that the program prints.
func (p *program) next() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			require.NoError(p.t, errEnded, strings.Join(p.seen, "\n"))
		}
		p.seen = append(p.seen, line)
		return line
	case <-time.After(patience):
		require.Fail(p.t, "the program says nothing more", strings.Join(p.seen, "\n"))
		return ""
	}
}

func (p *program) expect(want string) {
	p.t.Helper()
	require.Equal(p.t, want, p.next())
}

// await returns the next line that contains the text, and passes over the others.
func (p *program) await(text string) string {
	p.t.Helper()
	for {
		if line := p.next(); strings.Contains(line, text) {
			return line
		}
	}
}

// until returns the lines up to the one that contains the text.
func (p *program) until(text string) []string {
	p.t.Helper()
	var lines []string
	for {
		lines = append(lines, p.next())
		if strings.Contains(lines[len(lines)-1], text) {
			return lines
		}
	}
}
