package zkclients

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// survivorTimeout is the survivor's session timeout: 20 ticks, the most there is.
const survivorTimeout = 20 * tick

// TestSessionSurvivesTheServer kills the server twice under a Java client with
// ephemerals and watches. The second time the client is cut off before, so that it
// misses changes.
func TestSessionSurvivesTheServer(t *testing.T) {
	s := startT(t)
	between := startProxy(t, s.zk)
	client := startSurvivor(t, s, between.endpoint())
	client.expect("state SyncConnected")
	client.tell("create")
	client.expect("create done")
	client.tell("look")
	session := client.expectPrefix("look ")
	require.True(t, strings.HasSuffix(session, " all"), session)

	client.tell("arm")
	client.expect("arm done")
	require.NoError(t, s.kill())
	client.expect("state Disconnected")
	require.NoError(t, s.restart(context.Background()))
	client.expect("state SyncConnected")
	client.tell("look")
	client.expect("look " + session)

	// What happens now fires the watches of before.
	other := connectGo(t, s.zk)
	change(t, other)
	client.expectEvents(1)

	undo(t, other)
	client.tell("arm")
	client.expect("arm done")
	between.cut()
	client.expect("state Disconnected")
	change(t, other)
	require.NoError(t, s.kill())
	require.NoError(t, s.restart(context.Background()))
	_, err := connectGo(t, s.zk).Set("/survivor/set", []byte("changed again"), -1)
	require.NoError(t, err)
	between.mend()
	client.expect("state SyncConnected")
	client.expectEvents(2)
	client.tell("look")
	client.expect("look " + session)

	client.tell("close")
	client.expectPrefix("close done")
	exists, _, err := connectGo(t, s.zk).Exists("/survivor/e")
	require.NoError(t, err)
	require.False(t, exists, "close takes the ephemerals")
}

// change does what the survivor's watches wait for, all but one.
func change(t *testing.T, conn *zk.Conn) {
	t.Helper()
	_, err := conn.Set("/survivor/set", []byte("changed"), -1)
	require.NoError(t, err)
	require.NoError(t, conn.Delete("/survivor/deleted", -1))
	_, err = conn.Create("/survivor/created", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
	_, err = conn.Create("/survivor/parent/child", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
}

// undo takes change back, so that it can happen again.
func undo(t *testing.T, conn *zk.Conn) {
	t.Helper()
	require.NoError(t, conn.Delete("/survivor/created", -1))
	require.NoError(t, conn.Delete("/survivor/parent/child", -1))
	_, err := conn.Create("/survivor/deleted", nil, 0, zk.WorldACL(zk.PermAll))
	require.NoError(t, err)
}

// survivor is a running triglot.Survivor.
type survivor struct {
	t     *testing.T
	in    io.Writer
	lines chan string // its output; closed at its end
}

func startSurvivor(t *testing.T, s *target, endpoint string) *survivor {
	t.Helper()
	cmd := java(t, s, 2*time.Minute, "triglot.Survivor", endpoint, fmt.Sprint(survivorTimeout.Milliseconds()))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string, 1000)
	go func() { // ends with the program's output
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // its end of input ends it, if its close has not
		for range lines {
		}
		require.NoError(t, cmd.Wait())
	})
	return &survivor{t: t, in: in, lines: lines}
}

func (s *survivor) tell(command string) {
	s.t.Helper()
	_, err := fmt.Fprintln(s.in, command)
	require.NoError(s.t, err)
}

func (s *survivor) next() string {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			require.NoError(s.t, errEnded)
		}
		return line
	case <-time.After(patience):
		require.Fail(s.t, "the survivor says nothing")
		return ""
	}
}

func (s *survivor) expect(want string) {
	s.t.Helper()
	require.Equal(s.t, want, s.next())
}

// expectPrefix returns what follows the prefix.
func (s *survivor) expectPrefix(prefix string) string {
	s.t.Helper()
	line := s.next()
	for strings.HasPrefix(line, "state ") { // a close tells of its own disconnect
		line = s.next()
	}
	require.True(s.t, strings.HasPrefix(line, prefix), "want %q..., got %q", prefix, line)
	return strings.TrimPrefix(line, prefix)
}

// expectEvents takes the events of change, in its order or, if they were missed
// and told later, in any.
func (s *survivor) expectEvents(round int) {
	s.t.Helper()
	want := []string{
		"event NodeDataChanged /survivor/set",
		"event NodeDeleted /survivor/deleted",
		"event NodeCreated /survivor/created",
		"event NodeChildrenChanged /survivor/parent",
	}
	var got []string
	for range want {
		got = append(got, s.next())
	}
	if round > 1 {
		sort.Strings(want)
		sort.Strings(got)
	}
	require.Equal(s.t, want, got)
}
