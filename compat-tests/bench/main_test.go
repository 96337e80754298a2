package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func flagsOf(line string) (*config, error) { return parseFlags(strings.Fields(line), io.Discard) }

func TestFlagsThatMakeNoSense(t *testing.T) {
	for _, line := range []string{
		"-pairs 0", "-tries 0", "-scale 0", "-scale 2", "-dance", "extra",
		"-short -pairs 2", "-short -scale 0.5", "-short -only put", "-short -against X", "-short -list", "-short -pgo X",
		"-page -against X -out Y", "-page -scale 0.5 -out X", "-page -only put", "-page -list",
		"-page -triglot X", "-page -pairs 3", "-page -out -", "-against X -out Y", "-scale 0.5 -out Y", "-pgo X -profile Y",
	} {
		_, err := flagsOf(line)
		require.Error(t, err, "%v", line)
	}
	_, err := flagsOf("-short -against X")
	require.ErrorContains(t, err, "-against does not go with -short")
	c, err := flagsOf("-only ^zookeeper/ -scale 0.01")
	require.NoError(t, err)
	chosen, err := c.cells()
	require.NoError(t, err)
	require.Equal(t, "zookeeper", chosen[0].Protocol)
	require.Less(t, chosen[0].Ops, 1000)
}

// TestWhatIsPutOnAPage shows which runs write one: that of the project is of this tree and of seven
// pairs.
func TestWhatIsPutOnAPage(t *testing.T) {
	for line, want := range map[string]bool{
		"":                            true,
		"-only put":                   true,
		"-pairs 9 -again":             true,
		"-page":                       true,
		"-out -":                      false,
		"-pairs 3":                    false,
		"-pairs 3 -out X":             true,
		"-triglot X":                  false,
		"-triglot X -out Y":           true,
		"-page -triglot X -out Y":     true,
		"-page -pairs 2 -out Y":       true,
		"-against X":                  false,
		"-scale 0.5":                  false,
		"-scale 0.01 -out - -tries 1": false,
	} {
		c, err := flagsOf(line)
		require.NoError(t, err, line)
		require.Equal(t, want, c.pages(), line)
	}
}

// atBench is a folder of results, with a binary that was built and a directory that was filled by
// others, and the flags that name it.
func atBench(t *testing.T, line string) *config {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("ETCD_BIN", filepath.Join(dir, "etcd"))
	for _, name := range []string{"etcd", "mine", "triglot-0123", "filled/triglot-0123-etcd-1000000/FILLED"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(name), 0o755))
	}
	c, err := flagsOf(line + " -dir " + dir + " -triglot " + filepath.Join(dir, "mine"))
	require.NoError(t, err)
	return c
}

// TestABenchThatRunsIsLeftAlone holds the lock, as a bench does that runs.
func TestABenchThatRunsIsLeftAlone(t *testing.T) {
	for _, line := range []string{"", "-short", "-pgo /nonexistent/x", "-list", "-page -out " + filepath.Join(t.TempDir(), "page.md")} {
		c := atBench(t, line)
		held, err := os.Create(filepath.Join(c.dir, "lock"))
		require.NoError(t, err)
		defer func() { require.NoError(t, held.Close()) }()
		require.NoError(t, syscall.Flock(int(held.Fd()), syscall.LOCK_EX))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errBroken) // so that it does not wait for the lock
		err = run(ctx, c)
		if c.list || c.page {
			require.NoError(t, err, "they need no lock")
		} else {
			require.ErrorIs(t, err, errBroken)
		}
		require.FileExists(t, filepath.Join(c.dir, "triglot-0123"), line)
		require.DirExists(t, filepath.Join(c.dir, "filled", "triglot-0123-etcd-1000000"), line)
	}
}

func TestWhatOtherBuildsLeftIsRemoved(t *testing.T) {
	c := atBench(t, "")
	r, err := c.rig(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(c.dir, "mine"), filepath.Join(c.dir, "triglot-mine")))
	r.starter.binaries[roleTriglot] = filepath.Join(c.dir, "triglot-mine")
	require.NoError(t, r.prune())
	require.NoFileExists(t, filepath.Join(c.dir, "triglot-0123"))
	require.NoDirExists(t, filepath.Join(c.dir, "filled", "triglot-0123-etcd-1000000"))
	require.FileExists(t, filepath.Join(c.dir, "triglot-mine"))
}

// TestBuildsAreNamedForWhatTheyAre shows that a new build leaves alone one that is being measured.
func TestBuildsAreNamedForWhatTheyAre(t *testing.T) {
	dir := t.TempDir()
	built := func(text string) string {
		path := filepath.Join(t.TempDir(), "triglot")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
		place, err := adopt(path, dir)
		require.NoError(t, err)
		return place
	}
	first := built("one")
	require.Equal(t, first, built("one"))
	require.NotEqual(t, first, built("two"))
	text, err := os.ReadFile(first)
	require.NoError(t, err)
	require.Equal(t, "one", string(text))
}

// TestThePageTakesEnoughPairs keeps a cell of seven pairs and one of six.
func TestThePageTakesEnoughPairs(t *testing.T) {
	out := filepath.Join(t.TempDir(), "page.md")
	c := atBench(t, "-page -out "+out)
	rig, err := c.rig(t.Context(), "")
	require.NoError(t, err)
	runner := c.runner(rig, "")
	for i, one := range cells[:2] {
		key, err := rig.ids.key(one, roleEtcd)
		require.NoError(t, err)
		r := recorded(one, 0.5, 2)
		r.Key, r.Machine = key, runner.machine
		for len(r.Pairs) < 7-i {
			r.Pairs = append(r.Pairs, r.Pairs[0])
		}
		_, err = runner.store.save(r)
		require.NoError(t, err)
	}
	pageOf := func() string {
		require.NoError(t, run(t.Context(), c))
		text, err := os.ReadFile(out)
		require.NoError(t, err)
		return string(text)
	}
	text := pageOf()
	require.Contains(t, text, "in 7 interleaved pairs")
	require.Contains(t, text, "Triglot binary "+rig.ids.Triglot, "the commit of the tree is not what was measured")
	require.Contains(t, text, cells[0].Name+" (")
	require.Contains(t, text, cells[1].Name+" | not measured")
	c.pairs = 6
	require.Contains(t, pageOf(), "in 6 to 7 interleaved pairs", "a page by -out is of what was asked for")
}
