package backup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/compat-tests/server"
)

// smallFile is a snapshot of a small etcd.
func smallFile(t *testing.T) string {
	t.Helper()
	etcd := start(t, server.Etcd, "")
	fill(t, connect(t, etcd, ""), 7, 60)
	return save(t, etcd, "")
}

// requireRefused restores a file and wants one line that says why it cannot be, the
// exit status that etcdutl has, and nothing left behind.
func requireRefused(t *testing.T, file, reason string, flags ...string) {
	t.Helper()
	dir := t.TempDir()
	r := run(t, "triglot", append([]string{"restore", file}, restoreFlags(dir, flags...)...)...)
	require.Equal(t, 1, r.status, r.errOut)
	require.Equal(t, 1, strings.Count(r.errOut, "\n"), r.errOut)
	require.Contains(t, r.errOut, reason)
	require.Contains(t, r.errOut, file)
	require.NotContains(t, r.errOut, "goroutine")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	theirs := run(t, "etcdutl", append([]string{"snapshot", "restore", file}, restoreFlags(t.TempDir(), flags...)...)...)
	require.Equal(t, 1, theirs.status, "etcdutl takes it")
}

// TestBadFiles: what etcdutl refuses is refused, in one line, and leaves nothing.
func TestBadFiles(t *testing.T) {
	good := smallFile(t)
	content, err := os.ReadFile(good)
	require.NoError(t, err)
	write := func(t *testing.T, b []byte) string {
		path := filepath.Join(t.TempDir(), "bad.db")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	for name, bad := range map[string]struct {
		content []byte
		reason  string
	}{
		"empty":           {nil, "empty"},
		"a hash alone":    {content[:32], "damaged"},
		"a text":          {[]byte(strings.Repeat("hello etcd\n", 100)), "without a hash"},
		"without hash":    {content[:len(content)-32], "without a hash"},
		"the hash cut":    {content[:len(content)-1], "without a hash"},
		"the pages cut":   {content[:len(content)-32-4096], "without a hash"},
		"512 bytes less":  {content[:len(content)-512], "damaged"},
		"4096 bytes less": {content[:len(content)-4096], "damaged"},
	} {
		t.Run(name, func(t *testing.T) { requireRefused(t, write(t, bad.content), bad.reason) })
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 4 {
		t.Run(fmt.Sprint("flipped ", i), func(t *testing.T) {
			b := append([]byte(nil), content...)
			b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
			requireRefused(t, write(t, b), "damaged: its SHA-256 is")
		})
	}
	t.Run("a directory", func(t *testing.T) { requireRefused(t, t.TempDir(), "a directory") })
	t.Run("nothing", func(t *testing.T) { requireRefused(t, filepath.Join(t.TempDir(), "no.db"), "no such file") })

	t.Run("without hash, as it is", func(t *testing.T) {
		restoreOurs(t, write(t, content[:len(content)-32]), "--skip-hash-check")
	})
	t.Run("cut, as it is", func(t *testing.T) {
		r := run(t, "triglot", append([]string{"restore", write(t, content[:8192]), "--skip-hash-check"}, restoreFlags(t.TempDir())...)...)
		require.Equal(t, 1, r.status)
		require.Contains(t, r.errOut, "damaged or cut short")
	})
}

// TestBadFlags: a mistake in what was asked for is told as such.
func TestBadFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "no.db")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"restore"}, "takes one file"},
		{[]string{"restore", file, file}, "takes one file"},
		{[]string{"restore", file, "--bump-revision", "5"}, "--bump-revision and --mark-compacted go together"},
		{[]string{"restore", file, "--mark-compacted"}, "--bump-revision and --mark-compacted go together"},
		{[]string{"restore", file, "--wal-dir", "x"}, "--wal-dir is not supported here"},
		{[]string{"restore", file, "--initial-cluster", "nonsense"}, "--initial-cluster"},
		{[]string{"restore", file, "--nonsense"}, "--nonsense"},
		{[]string{"snapshot", "status"}, "takes one file"},
		{[]string{"snapshot", "status", file, "-w", "yaml"}, "not one of simple, json, table"},
	} {
		r := run(t, "triglot", c.args...)
		require.Equal(t, 2, r.status, "%v: %s", c.args, r.errOut)
		require.Contains(t, r.errOut, c.want)
		require.Equal(t, 1, strings.Count(r.errOut, "\n"), r.errOut)
	}
}

// TestNotEmpty: what is there stays.
func TestNotEmpty(t *testing.T) {
	file := smallFile(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	require.NoError(t, os.MkdirAll(data, 0o700))
	mustRun(t, "triglot", append([]string{"restore", file}, restoreFlags(dir)...)...)
	before, err := os.ReadFile(filepath.Join(data, "member.json"))
	require.NoError(t, err)
	r := run(t, "triglot", append([]string{"restore", file}, restoreFlags(dir)...)...)
	require.Equal(t, 1, r.status)
	require.Contains(t, r.errOut, "is not empty")
	after, err := os.ReadFile(filepath.Join(data, "member.json"))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// TestStatus: what a file holds is told as etcdutl tells it.
func TestStatus(t *testing.T) {
	file := smallFile(t)
	for _, format := range []string{"simple", "json", "table"} {
		require.Equal(t, mustRun(t, "etcdutl", "snapshot", "status", file, "-w", format),
			mustRun(t, "triglot", "snapshot", "status", file, "-w", format))
	}
}

// TestUsedDirectory: of etcd's directories only one that nobody has run on is taken
// over; of the others the way back is told, and they stay as they are.
func TestUsedDirectory(t *testing.T) {
	file := smallFile(t)
	refuse := func(t *testing.T, dir, why string) {
		t.Helper()
		before := list(t, dir)
		_, err := server.Start(context.Background(), server.Options{Dir: dir, AdvertisePeerURL: peerURL, EtcdMode: true})
		require.ErrorContains(t, err, why)
		require.ErrorContains(t, err, "etcdctl snapshot save FILE")
		require.Equal(t, before, list(t, dir))
	}
	t.Run("used", func(t *testing.T) {
		dir := restoreTheirs(t, file)
		etcd := start(t, server.Etcd, dir)
		require.NoError(t, etcd.Terminate())
		refuse(t, dir, "etcd has run on it since it was restored")
	})
	t.Run("never restored", func(t *testing.T) {
		dir := t.TempDir()
		etcd := start(t, server.Etcd, dir)
		require.NoError(t, etcd.Terminate())
		refuse(t, dir, "etcd has run on it")
	})
	t.Run("no database", func(t *testing.T) {
		dir := restoreTheirs(t, file)
		require.NoError(t, os.Remove(filepath.Join(dir, "data", "member", "snap", "db")))
		refuse(t, dir, "has no member/snap/db")
	})
	t.Run("no log", func(t *testing.T) {
		dir := restoreTheirs(t, file)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "data", "member", "wal")))
		refuse(t, dir, "has no log in member/wal")
	})
	t.Run("a damaged database", func(t *testing.T) {
		dir := restoreTheirs(t, file)
		require.NoError(t, os.Truncate(filepath.Join(dir, "data", "member", "snap", "db"), 8192))
		refuse(t, dir, "damaged or cut short")
	})
}

// list is what a data directory holds, but for the lock.
func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "data"))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}
