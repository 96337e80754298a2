package znode

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// byUnits is the rule as ZooKeeper's PathUtils states it, over UTF-16 units.
func byUnits(path string) bool {
	if !utf8.ValidString(path) || path == "" || path[0] != '/' {
		return false
	}
	if path == "/" {
		return true
	}
	for _, name := range strings.Split(path[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
		for _, u := range utf16.Encode([]rune(name)) {
			if u <= 0x1f || u >= 0x7f && u <= 0x9f || u >= 0xd800 && u <= 0xf8ff || u >= 0xfff0 {
				return false
			}
		}
	}
	return true
}

func FuzzLegal(f *testing.F) {
	for _, path := range []string{"", "/", "/a", "/a/b", "a", "/a/", "//", "/.", "/..", "/...", "/a/./b", "/é", "/\uf8ff", "/\uf900", "/😀", "/\xff", "/a\x00", "/\x7f"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if len(path) < maxPathDepth {
			require.Equal(t, byUnits(path), Legal(path), "%q", path)
		} else if Legal(path) {
			require.True(t, byUnits(path), "%q", path)
		}
	})
}

func TestLegalLimits(t *testing.T) {
	require.True(t, Legal(strings.Repeat("/a", maxPathDepth)))
	require.False(t, Legal(strings.Repeat("/a", maxPathDepth+1)))
	require.True(t, Legal("/"+strings.Repeat("a", maxPathLen-1)))
	require.False(t, Legal("/"+strings.Repeat("a", maxPathLen)))
	require.True(t, Legal(strings.Repeat("/abc", 256))) // 1 KiB
	require.False(t, Legal(strings.Repeat("/abc", 255)+"/abcd"), "the two together")
	require.True(t, Legal(strings.Repeat("/"+strings.Repeat("a", 4095), 8))) // 32 KiB
}

func TestMountMapsBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := ParseMount(rapid.SampledFrom([]string{"", "/zk", "/a/b"}).Draw(t, "mount"))
		require.NoError(t, err)
		path := rapid.SampledFrom([]string{"/", "/a", "/zookeeper", "/zookeeper/configs", "/zookeeper/quota", "/zk"}).Draw(t, "path")
		got, ok := m.path(m.appendKey(nil, path))
		require.True(t, ok)
		require.Equal(t, path, got)

		key := rapid.SliceOfN(rapid.SampledFrom([]byte("/azk.\x00\xff")), 0, 8).Draw(t, "key")
		if path, ok := m.path(key); ok {
			require.True(t, Legal(path))
			require.Equal(t, string(key), string(m.appendKey(nil, path)))
		}
	})
}

// TestConfigurationIsNoKey: ZooKeeper's configuration is not for etcd to write.
func TestConfigurationIsNoKey(t *testing.T) {
	for _, key := range []string{"/zk/zookeeper/config", "/zk/zookeeper/config/a", "/zk", "/zk//", "/zkx/a", "zk/a", "/z", ""} {
		_, ok := Mount("/zk").path([]byte(key))
		require.False(t, ok, key)
	}
}

func TestParentOf(t *testing.T) {
	for path, want := range map[string]string{"/a": "/", "/a/b": "/a", "/a/": "/a", "//a": "/", "//a/b": "//a", "a/b": "a"} {
		require.Equal(t, want, parentOf(path), path)
	}
}
