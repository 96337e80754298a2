package zkclients

import (
	"context"
	"fmt"
	"sort"
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
	s := startT(t, tick)
	between := startProxy(t, s.zk)
	client := startProgram(t, java(t, s, 2*time.Minute,
		"triglot.Survivor", between.endpoint(), fmt.Sprint(survivorTimeout.Milliseconds())))
	client.expect("state SyncConnected")
	client.tell("create")
	client.expect("create done")
	client.tell("look")
	session := client.next()
	require.Regexp(t, `^look [0-9a-f]+ all$`, session)

	client.tell("arm")
	client.expect("arm done")
	require.NoError(t, s.kill())
	client.expect("state Disconnected")
	require.NoError(t, s.restart(context.Background()))
	client.expect("state SyncConnected")
	client.tell("look")
	client.expect(session)

	// What happens now fires the watches of before.
	other := connectGo(t, s.zk)
	change(t, other)
	expectChange(client, false)

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
	expectChange(client, true)
	client.tell("look")
	client.expect(session)

	client.tell("close")
	client.await("close done")
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

// expectChange takes the events of change, in its order or, if they were missed
// and are told later, in any.
func expectChange(client *program, missed bool) {
	client.t.Helper()
	want := []string{
		"event NodeDataChanged /survivor/set",
		"event NodeDeleted /survivor/deleted",
		"event NodeCreated /survivor/created",
		"event NodeChildrenChanged /survivor/parent",
	}
	var got []string
	for range want {
		got = append(got, client.next())
	}
	if missed {
		sort.Strings(want)
		sort.Strings(got)
	}
	require.Equal(client.t, want, got)
}
