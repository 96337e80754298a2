package zkclients

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/require"
)

// quiet keeps the client's log out of the test's.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

var open = zk.WorldACL(zk.PermAll)

// connectGo returns a go-zookeeper client with a session, closed when the test ends.
func connectGo(t *testing.T, endpoint string) *zk.Conn {
	t.Helper()
	conn, events, err := zk.Connect([]string{endpoint}, survivorTimeout, zk.WithLogger(quiet{}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	deadline := time.After(patience)
	for {
		select {
		case event := <-events:
			if event.State == zk.StateHasSession {
				return conn
			}
		case <-deadline:
			require.Fail(t, "no session")
		}
	}
}

// goRoot is a znode of the test's own.
func goRoot(t *testing.T, conn *zk.Conn) string {
	t.Helper()
	root, err := conn.Create(fmt.Sprintf("/%s-%x", t.Name(), rand.Uint64()), nil, 0, open)
	require.NoError(t, err)
	return root
}

func nextEvent(t *testing.T, events <-chan zk.Event) zk.Event {
	t.Helper()
	select {
	case event := <-events:
		require.NoError(t, event.Err)
		return event
	case <-time.After(patience):
		require.Fail(t, "no event")
		return zk.Event{}
	}
}

func TestGoBasics(t *testing.T) {
	conn := connectGo(t, shared.zk)
	root := goRoot(t, conn)
	path, err := conn.Create(root+"/a", []byte("1"), 0, open)
	require.NoError(t, err)
	require.Equal(t, root+"/a", path)
	_, err = conn.Create(root+"/a", nil, 0, open)
	require.ErrorIs(t, err, zk.ErrNodeExists)

	data, stat, err := conn.Get(path)
	require.NoError(t, err)
	require.Equal(t, "1", string(data))
	require.Equal(t, stat.Czxid, stat.Mzxid)
	set, err := conn.Set(path, []byte("22"), stat.Version)
	require.NoError(t, err)
	require.Equal(t, int32(1), set.Version)
	require.Equal(t, int32(2), set.DataLength)
	_, err = conn.Set(path, nil, stat.Version)
	require.ErrorIs(t, err, zk.ErrBadVersion)

	sequential, err := conn.Create(root+"/s-", nil, zk.FlagEphemeral|zk.FlagSequence, open)
	require.NoError(t, err)
	require.Equal(t, root+"/s-0000000001", sequential)
	protected, err := conn.CreateProtectedEphemeralSequential(root+"/p-", nil, open)
	require.NoError(t, err)
	_, stat, err = conn.Exists(protected)
	require.NoError(t, err)
	require.Equal(t, conn.SessionID(), stat.EphemeralOwner)
	container, err := conn.CreateContainer(root+"/container", nil, zk.FlagContainer, open)
	require.NoError(t, err)
	require.Equal(t, root+"/container", container)

	children, stat, err := conn.Children(root)
	require.NoError(t, err)
	require.Len(t, children, 4)
	require.Equal(t, int32(4), stat.NumChildren)
	acl, _, err := conn.GetACL(root)
	require.NoError(t, err)
	require.Equal(t, open, acl)
	synced, err := conn.Sync(root)
	require.NoError(t, err)
	require.Equal(t, root, synced)

	require.ErrorIs(t, conn.Delete(root, -1), zk.ErrNotEmpty)
	require.ErrorIs(t, conn.Delete(root+"/missing", -1), zk.ErrNoNode)
	require.NoError(t, conn.Delete(path, 1))
	exists, _, err := conn.Exists(path)
	require.NoError(t, err)
	require.False(t, exists)
}

func TestGoMulti(t *testing.T) {
	conn := connectGo(t, shared.zk)
	root := goRoot(t, conn)
	results, err := conn.Multi(
		&zk.CreateRequest{Path: root + "/a", Acl: open},
		&zk.SetDataRequest{Path: root + "/a", Data: []byte("1"), Version: 0},
		&zk.CheckVersionRequest{Path: root + "/a", Version: 1},
	)
	require.NoError(t, err)
	require.Len(t, results, 3)
	require.Equal(t, root+"/a", results[0].String)
	require.Equal(t, int32(1), results[1].Stat.Version)

	results, err = conn.Multi(
		&zk.DeleteRequest{Path: root + "/a", Version: -1},
		&zk.CheckVersionRequest{Path: root, Version: 9},
	)
	require.ErrorIs(t, err, zk.ErrBadVersion)
	require.Len(t, results, 2)
	exists, _, err := conn.Exists(root + "/a")
	require.NoError(t, err)
	require.True(t, exists)
}

func TestGoWatches(t *testing.T) {
	conn, other := connectGo(t, shared.zk), connectGo(t, shared.zk)
	root := goRoot(t, conn)
	exists, _, created, err := conn.ExistsW(root + "/a")
	require.NoError(t, err)
	require.False(t, exists)
	_, _, children, err := conn.ChildrenW(root)
	require.NoError(t, err)
	_, err = other.Create(root+"/a", nil, 0, open)
	require.NoError(t, err)
	require.Equal(t, zk.EventNodeCreated, nextEvent(t, created).Type)
	require.Equal(t, zk.EventNodeChildrenChanged, nextEvent(t, children).Type)

	_, _, changed, err := conn.GetW(root + "/a")
	require.NoError(t, err)
	_, err = other.Set(root+"/a", []byte("1"), -1)
	require.NoError(t, err)
	require.Equal(t, zk.EventNodeDataChanged, nextEvent(t, changed).Type)
	_, _, deleted, err := conn.GetW(root + "/a")
	require.NoError(t, err)
	require.NoError(t, other.Delete(root+"/a", -1))
	event := nextEvent(t, deleted)
	require.Equal(t, zk.EventNodeDeleted, event.Type)
	require.Equal(t, root+"/a", event.Path)
}

func TestGoLock(t *testing.T) {
	const callers, rounds = 4, 10
	root := goRoot(t, connectGo(t, shared.zk))
	var inside, entries atomic.Int32
	var wg sync.WaitGroup
	for range callers {
		lock := zk.NewLock(connectGo(t, shared.zk), root+"/lock", open)
		wg.Go(func() {
			for range rounds {
				if err := lock.Lock(); err != nil {
					t.Error(err)
					return
				}
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				entries.Add(1)
				inside.Add(-1)
				if err := lock.Unlock(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(callers*rounds), entries.Load())
}

func TestGoFourLetterWords(t *testing.T) {
	require.Equal(t, []bool{true}, zk.FLWRuok([]string{shared.zk}, patience))
	conn := connectGo(t, shared.zk)
	root := goRoot(t, conn)
	_, stat, err := conn.Get(root)
	require.NoError(t, err)

	stats, ok := zk.FLWSrvr([]string{shared.zk}, patience)
	require.Len(t, stats, 1)
	if shared.etcd == "" {
		t.Log("a real ZooKeeper prints a date that go-zookeeper does not read")
		require.ErrorContains(t, stats[0].Error, "unable to parse")
		return
	}
	require.True(t, ok)
	require.NoError(t, stats[0].Error)
	mode := zk.ModeStandalone
	if several() {
		mode = zk.ModeFollower
	}
	require.Equal(t, mode, stats[0].Mode)
	require.GreaterOrEqual(t, int64(stats[0].Counter)|int64(stats[0].Epoch)<<32, stat.Czxid)
	require.GreaterOrEqual(t, stats[0].NodeCount, int64(6)) // five of a fresh server
	require.GreaterOrEqual(t, stats[0].Connections, int64(1))
	require.Positive(t, stats[0].Received)
}
