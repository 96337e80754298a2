package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/backup/zksnap"
)

// realSnapshot is what a ZooKeeper 3.9.5 gave for GET /commands/snapshot.
func realSnapshot(t *testing.T) []byte {
	b, err := os.ReadFile(filepath.Join("..", "backup", "zksnap", "testdata", "zookeeper-3.9.5.snapshot"))
	require.NoError(t, err)
	return b
}

func restoreZnodes(t *testing.T, n *Node, b []byte) (core.Rev, error) {
	return n.Znodes().Restore(testContext(t), core.Principal{}, bytes.NewReader(b))
}

func znodesOf(t *testing.T, n *Node) (map[string]*zksnap.Node, zksnap.Header) {
	s, err := n.Znodes().Snapshot(testContext(t), core.Principal{Member: true})
	require.NoError(t, err)
	b, err := io.ReadAll(s.Body)
	require.NoError(t, err)
	require.NoError(t, s.Body.Close())
	return readSnapshot(t, b)
}

// sameZnodes requires that a snapshot shows what the other did, but for the revisions
// that changed data.
func sameZnodes(t testing.TB, want, got map[string]*zksnap.Node) {
	t.Helper()
	require.Len(t, got, len(want))
	for path, z := range want {
		require.Contains(t, got, path)
		if path == "/zookeeper/config" { // a store's own, but for its ACL
			require.Equal(t, z.ACL, got[path].ACL)
			continue
		}
		a, b := *z, *got[path]
		a.Mzxid, b.Mzxid = 0, 0
		a.Data, b.Data = append([]byte{}, a.Data...), append([]byte{}, b.Data...)
		require.Equal(t, a, b, path)
	}
}

// What a real ZooKeeper had is there after a restore, and after a restart; what there was
// is gone. The client of the session comes back with ZooKeeper's own password (N3).
func TestZnodeRestore(t *testing.T) {
	cfg := testConfig(t)
	n := startNode(t, cfg)
	mine := openSession(t, n, 7, time.Minute)
	require.NoError(t, createEphemeral(t, n, mine, "/mine"))
	put(t, n, "/zk/x/y", "gone")
	put(t, n, "elsewhere", "stays")
	var told recorder
	defer n.Sessions().Follow(told.tell)()
	want, header := readSnapshot(t, realSnapshot(t))
	rev, err := restoreZnodes(t, n, realSnapshot(t))
	require.NoError(t, err)
	require.Greater(t, rev, header.Zxid)
	require.Equal(t, []core.SessionRef{{ID: 7}}, told.heard())
	got, after := znodesOf(t, n)
	sameZnodes(t, want, got)
	require.Equal(t, header.Sessions, after.Sessions)
	require.Equal(t, "<none>", get(t, n, "/zk/x/y"))
	require.Equal(t, "stays", get(t, n, "elsewhere"))
	session := header.Sessions[0]
	password := zksnap.Password(session.ID)
	_, err = attach(t, n, session.ID, time.Minute, sha256.Sum256(nil))
	require.ErrorIs(t, err, core.SessionExpired)
	_, err = attach(t, n, session.ID, time.Minute, sha256.Sum256(password[:]))
	require.NoError(t, err)
	stopNode(t, n)

	n = startNode(t, cfg)
	defer stopNode(t, n)
	got, _ = znodesOf(t, n)
	sameZnodes(t, want, got)
}

// A snapshot of ZooKeeper whose revisions are far ahead, in pieces, and one of this store
// itself, in the other direction: revisions never go back (Z6).
func TestZnodeRestoreOfMany(t *testing.T) {
	var nodes []*zksnap.Node
	nodes = append(nodes, &zksnap.Node{Path: "/"})
	for i := range 1500 {
		nodes = append(nodes, &zksnap.Node{Path: fmt.Sprintf("/n%04d", i), Data: make([]byte, 1000), Stat: zksnap.Stat{Czxid: 5 << 32, Mzxid: 5<<32 + 1, Pzxid: 5 << 32}})
	}
	b := writtenSnapshot(t, 5<<32+7, nodes)
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	put(t, n, "/zk/a", "1")
	feed, err := n.Watch(testContext(t))
	require.NoError(t, err)
	defer feed.Close()
	all := core.WatchSpec{Interval: core.Interval{Key: []byte("/zk/a")}, Start: 1}
	feed.Add(1, all)
	mine, err := n.Znodes().Snapshot(testContext(t), core.Principal{})
	require.NoError(t, err)
	early, err := io.ReadAll(mine.Body)
	require.NoError(t, err)
	require.NoError(t, mine.Body.Close())
	rev, err := restoreZnodes(t, n, b)
	require.NoError(t, err)
	require.GreaterOrEqual(t, rev, core.Rev(5<<32+7+3), "more than one chunk")
	require.EqualValues(t, 1500+5, n.Znodes().Counts().Znodes)
	again, err := restoreZnodes(t, n, early)
	require.NoError(t, err)
	require.Greater(t, again, rev)
	require.Equal(t, "1", get(t, n, "/zk/a"))
	require.EqualValues(t, 1+5, n.Znodes().Counts().Znodes)
	require.Greater(t, put(t, n, "/zk/a", "2"), again)
	feed.Add(2, all)
	seen := map[core.WatchID][]string{} // along with the restore, and from behind the gap of revisions
	for len(seen[1]) < 4 || len(seen[2]) < 4 {
		d, err := feed.Next(testContext(t))
		require.NoError(t, err)
		for _, c := range d.Changes {
			seen[d.Watch] = append(seen[d.Watch], string(c.KV.Value))
		}
	}
	want := []string{"1", "", "1", "2"}
	require.Equal(t, map[core.WatchID][]string{1: want, 2: want}, seen)
	hash, err := n.HashKV(testContext(t), core.Principal{}, rev)
	require.NoError(t, err)
	_, err = n.Do(testContext(t), core.Principal{}, &core.Compact{Rev: rev - 100}) // in the gap
	require.NoError(t, err)
	compacted, err := n.HashKV(testContext(t), core.Principal{}, rev)
	require.NoError(t, err)
	require.Equal(t, hash.Hash, compacted.Hash)
}

func writtenSnapshot(t testing.TB, zxid core.Rev, nodes []*zksnap.Node, sessions ...zksnap.Session) []byte {
	var b bytes.Buffer
	w, err := zksnap.NewWriter(&b, zksnap.Header{Zxid: zxid, Sessions: sessions}, nil)
	require.NoError(t, err)
	for _, z := range nodes {
		require.NoError(t, w.Write(z))
	}
	_, err = w.Close()
	require.NoError(t, err)
	return b.Bytes()
}

// brokenOff fails after some bytes.
type brokenOff struct{ r io.Reader }

func (b brokenOff) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A file that is cut, damaged or none, or that the store cannot have, changes nothing.
func TestZnodeRestoreOfABadFile(t *testing.T) {
	cfg := testConfig(t)
	cfg.Limits.RequestBytes = 1 << 20
	n := startNode(t, cfg)
	defer stopNode(t, n)
	ref := openSession(t, n, 7, time.Minute)
	require.NoError(t, createEphemeral(t, n, ref, "/mine"))
	rev := put(t, n, "/zk/a", "1")
	b := realSnapshot(t)
	root := &zksnap.Node{Path: "/"}
	damaged := bytes.Clone(b)
	damaged[len(b)/2] ^= 1
	for name, one := range map[string]struct {
		r    io.Reader
		kind core.Kind
	}{
		"empty":      {strings.NewReader(""), core.InvalidArgument},
		"nonsense":   {strings.NewReader("nonsense"), core.InvalidArgument},
		"cut":        {bytes.NewReader(b[:len(b)-30]), core.InvalidArgument},
		"broken off": {brokenOff{bytes.NewReader(b)}, core.InvalidArgument},
		"damaged":    {bytes.NewReader(damaged), core.InvalidArgument},
		"no znodes":  {bytes.NewReader(writtenSnapshot(t, 1, nil)), core.InvalidArgument},
		"no root":    {bytes.NewReader(writtenSnapshot(t, 1, []*zksnap.Node{{Path: "/a"}})), core.InvalidArgument},
		"no parent":  {bytes.NewReader(writtenSnapshot(t, 1, []*zksnap.Node{root, {Path: "/a"}, {Path: "/ab/c"}})), core.InvalidArgument},
		"two roots":  {bytes.NewReader(writtenSnapshot(t, 1, []*zksnap.Node{root, root})), core.InvalidArgument},
		"a bad path": {bytes.NewReader(writtenSnapshot(t, 1, []*zksnap.Node{root, {Path: "/a\x01"}})), core.InvalidArgument},
		"too late":   {bytes.NewReader(writtenSnapshot(t, core.MaxRestoredZxid+1, []*zksnap.Node{root})), core.InvalidArgument},
		"a session":  {bytes.NewReader(writtenSnapshot(t, 1, []*zksnap.Node{root}, zksnap.Session{ID: 9})), core.InvalidArgument},
		"too large":  {bytes.NewReader(writtenSnapshot(t, 1, []*zksnap.Node{root, {Path: "/a", Data: make([]byte, 1<<20)}})), core.RequestTooLarge},
	} {
		_, err := n.Znodes().Restore(testContext(t), core.Principal{}, one.r)
		require.ErrorIs(t, err, one.kind, name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := n.Znodes().Restore(ctx, core.Principal{}, bytes.NewReader(b))
	require.ErrorIs(t, err, core.Canceled)
	alarm := &core.SetAlarm{Alarm: core.Alarm{Member: 1, Type: core.AlarmNoSpace}, On: true}
	_, err = n.Do(testContext(t), core.Principal{}, alarm)
	require.NoError(t, err)
	_, err = restoreZnodes(t, n, b)
	require.ErrorIs(t, err, core.NoSpace)
	require.Equal(t, rev, n.Status().Rev)
	require.Equal(t, "me", get(t, n, "/zk/mine"))
}

// Who is not root while authentication is on, or may not see what ACLs protect, restores
// nothing.
func TestZnodeRestoreNeedsRights(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	ref := openSession(t, n, 7, time.Minute)
	_, err := n.Do(testContext(t), core.Principal{IDs: core.Identities("").With("ip", "10.0.0.1")}, &core.ZnodeWrite{Session: ref, Ops: []core.ZnodeOp{
		{Path: "/secret", ACL: core.PackACL(core.ACLEntry{Perms: core.PermAll, Scheme: "ip", ID: "10.0.0.1"})},
	}})
	require.NoError(t, err)
	_, err = restoreZnodes(t, n, realSnapshot(t))
	require.ErrorIs(t, err, core.PermissionDenied)
	super := core.Principal{IDs: core.Identities("").With(core.SchemeSuper, "")}
	_, err = n.Znodes().Restore(testContext(t), super, bytes.NewReader(realSnapshot(t)))
	require.NoError(t, err)
	require.NotContains(t, func() map[string]*zksnap.Node { z, _ := znodesOf(t, n); return z }(), "/secret")
}

// A member that dies in the middle of a restore starts with what it had restored, and can
// be restored again; what the first restore would go on with comes too late.
func TestZnodeRestoreCutShort(t *testing.T) {
	want, header := readSnapshot(t, realSnapshot(t))
	for _, percent := range []int{0, 50, 100} {
		cfg := testConfig(t)
		n := startNode(t, cfg)
		put(t, n, "/zk/old/1", "x")
		ref := openSession(t, n, 7, time.Minute)
		require.NoError(t, createEphemeral(t, n, ref, "/old/e"))
		r := znodeRestore{n: n, id: 5}
		step := func(c core.ZnodeRestore) {
			_, more, err := r.step(testContext(t), &c)
			require.NoError(t, err)
			require.False(t, more)
		}
		step(core.ZnodeRestore{Step: core.ZnodeRestoreBegin, Zxid: header.Zxid})
		step(core.ZnodeRestore{Step: core.ZnodeRestoreClear})
		step(core.ZnodeRestore{Step: core.ZnodeRestoreFill, Znodes: []core.RestoredZnode{{Path: "/"}, {Path: "/half"}}})
		left := crashed(cfg, percent, 1)
		stopNode(t, n)

		n = startNode(t, left)
		require.Equal(t, "<none>", get(t, n, "/zk/old/1")) // when all of the log is applied
		got, _ := znodesOf(t, n)
		require.Contains(t, got, "/half")
		require.NotContains(t, got, "/old")
		_, err := restoreZnodes(t, n, realSnapshot(t))
		require.NoError(t, err)
		got, _ = znodesOf(t, n)
		sameZnodes(t, want, got)
		r.n = n
		_, _, err = r.step(testContext(t), &core.ZnodeRestore{Step: core.ZnodeRestoreFill, Znodes: []core.RestoredZnode{{Path: "/half"}}})
		require.ErrorIs(t, err, core.TooManyRequests)
		stopNode(t, n)
	}
}
