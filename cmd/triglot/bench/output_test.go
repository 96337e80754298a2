package bench

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/report"
	"github.com/triglot/triglot/cmd/triglot/config"
)

// attempt is a load on a port where nobody serves.
func attempt(t *testing.T, flags string) error {
	t.Helper()
	o, err := parsed(t, "put --quiet --ops 1 --endpoints 127.0.0.1:1 "+flags)
	require.NoError(t, err)
	_, err = perform(t.Context(), o, io.Discard, io.Discard)
	return err
}

// A file that cannot be written is told of before the load and not after it.
func TestOutputsAreOpenedFirst(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none", "result")
	for _, flag := range []string{"--json", "--html"} {
		err := attempt(t, flag+" "+nowhere)
		require.ErrorContains(t, err, flag+": open "+nowhere)
		var usage *config.UsageError
		require.ErrorAs(t, err, &usage)
	}
}

// A result replaces all that was in the file before, and a load that fails leaves that.
func TestOutputsAreReplaced(t *testing.T) {
	dir := t.TempDir()
	o := &outputOptions{json: filepath.Join(dir, "json"), html: filepath.Join(dir, "html")}
	old := make([]byte, 1<<20)
	for _, path := range []string{o.json, o.html} {
		require.NoError(t, os.WriteFile(path, old, 0o600))
	}
	require.ErrorContains(t, attempt(t, "--json "+o.json+" --html "+o.html), "refused")
	text, err := os.ReadFile(o.json)
	require.NoError(t, err)
	require.Equal(t, old, text)

	files, err := openOutputs(o)
	require.NoError(t, err)
	require.NoError(t, files.publish(&report.Result{Load: "put"}, io.Discard))
	text, err = os.ReadFile(o.json)
	require.NoError(t, err)
	require.Regexp(t, `^\{"load":"put".*\}\n$`, string(text))
	text, err = os.ReadFile(o.html)
	require.NoError(t, err)
	require.Regexp(t, `(?s)^<!DOCTYPE html>.*</html>\n$`, string(text))
}
