package triglot_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each line of the table of ZooKeeper's traps names tests that there are, and each
// recorded script stands in it.
func TestTrapsAreProven(t *testing.T) {
	const scripts = "compat-tests/zkoracle/testdata/"
	text, err := os.ReadFile("docs/compat/zookeeper-traps.md")
	require.NoError(t, err)
	tests, transcripts := namesOfTests(t), map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| .*\|$`).FindAllString(string(text), -1) {
		for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w*`).FindAllString(row, -1) {
			found := tests[name]
			if strings.Contains(row, name+"*") {
				found = slices.ContainsFunc(slices.Collect(maps.Keys(tests)), func(test string) bool { return strings.HasPrefix(test, name) })
			}
			require.True(t, found, "%s: there is no such test: %s", name, row)
		}
		for _, name := range regexp.MustCompile(`\b[a-z0-9]+\.txt\b`).FindAllString(row, -1) {
			require.FileExists(t, scripts+name, row)
			transcripts[name] = true
		}
		for _, name := range regexp.MustCompile(`\btestdata/znode/[a-z-]+`).FindAllString(row, -1) {
			require.FileExists(t, "core/state/"+name, row)
		}
	}
	entries, err := os.ReadDir(scripts)
	require.NoError(t, err)
	for _, e := range entries {
		require.True(t, transcripts[e.Name()], "%s proves no line", e.Name())
	}
}

// namesOfTests are all tests and fuzz tests below the root, in either module.
func namesOfTests(t *testing.T) map[string]bool {
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	names := map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) { // an editor's
			return nil
		}
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	}))
	return names
}
