package znode

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The ancestors that a path is looked up by are those that can exist.
func TestPossible(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/b": "/a/b", "//": "/", "//a": "/", "/a//b/c": "/a/", "/a/": "/a/",
		strings.Repeat("/a", 300):                         strings.Repeat("/a", maxPathDepth+1),
		strings.Repeat("/"+strings.Repeat("n", 1023), 32): strings.Repeat("/"+strings.Repeat("n", 1023), 17),
		"/" + strings.Repeat("n", 2*maxPathLen):           "/" + strings.Repeat("n", maxPathLen-1),
	} {
		got := possible(path)
		require.Equal(t, want, got)
		for at := len(path); at > len(got); { // what is cut off is no znode's
			at = strings.LastIndexByte(path[:at], '/')
			require.False(t, at >= len(got) && at > 1 && Legal(path[:at]), "%.40s", path)
		}
		parent := parentOf(got)
		require.True(t, Legal(parent), "%.40s", parent)
	}
}
