package logging

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func filesIn(t *testing.T, dir string) []string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A full file is put aside under the time; old ones go by number and age.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is midnight, 1 January 2000
		dir := t.TempDir()
		path := filepath.Join(dir, "a.log")
		require.NoError(t, os.WriteFile(path, []byte("before\n"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a-thesis.log"), nil, 0o600))
		f, err := OpenRotated(path, Rotation{MaxBytes: 20, MaxBackups: 2, MaxAge: time.Hour})
		require.NoError(t, err)
		write := func(text string) {
			t.Helper()
			_, err := f.Write([]byte(text))
			require.NoError(t, err)
			synctest.Wait()
			f.tidying.Wait()
		}
		write("0123456789ab\n") // 20 in all
		require.Equal(t, []string{"a-thesis.log", "a.log"}, filesIn(t, dir))
		write("next\n")
		write(strings.Repeat("too long", 5) + "\n") // is not split
		require.Equal(t, []string{"a-2000-01-01T00-00-00.000.2.log", "a-2000-01-01T00-00-00.000.log", "a-thesis.log", "a.log"}, filesIn(t, dir))
		content, err := os.ReadFile(filepath.Join(dir, "a-2000-01-01T00-00-00.000.log"))
		require.NoError(t, err)
		require.Equal(t, "before\n0123456789ab\n", string(content))

		pass(30 * time.Minute)
		write("third\n")
		require.Equal(t, []string{"a-2000-01-01T00-00-00.000.2.log", "a-2000-01-01T00-30-00.000.log", "a-thesis.log", "a.log"}, filesIn(t, dir), "two are kept")
		pass(45 * time.Minute)
		write("and the fourth\n")
		require.Equal(t, []string{"a-2000-01-01T00-30-00.000.log", "a-2000-01-01T01-15-00.000.log", "a-thesis.log", "a.log"}, filesIn(t, dir), "one was too old")
		require.NoError(t, f.Close())
	})
}

func TestRotationCompresses(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenRotated(filepath.Join(dir, "a.log"), Rotation{MaxBytes: 5, Compress: true})
	require.NoError(t, err)
	for _, text := range []string{"first\n", "second\n"} {
		_, err := f.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	names := filesIn(t, dir)
	require.Len(t, names, 2)
	require.True(t, strings.HasSuffix(names[0], ".log.gz"), names[0])
	in, err := os.Open(filepath.Join(dir, names[0]))
	require.NoError(t, err)
	defer in.Close()
	zip, err := gzip.NewReader(in)
	require.NoError(t, err)
	text, err := io.ReadAll(zip)
	require.NoError(t, err)
	require.Equal(t, "first\n", string(text))
}

func TestRotationWithoutADirectory(t *testing.T) {
	_, err := OpenRotated(filepath.Join(t.TempDir(), "none", "a.log"), Rotation{MaxBytes: 1})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// pass lets time pass, in a bubble with a clock of its own.
func pass(d time.Duration) { <-time.After(d) }
