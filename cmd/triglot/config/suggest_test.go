package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
		{"abc", "xabc", 1},
		{"token", "tokne", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, distance(tt.a, tt.b), "%s %s", tt.a, tt.b)
		require.Equal(t, tt.want, distance(tt.b, tt.a), "%s %s", tt.b, tt.a)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"name", "data-dir", "listen-client-urls", "listen-peer-urls", "listen-client-http-urls"}
	for written, want := range map[string]string{
		"nam":                "name",
		"Name":               "name",
		"datadir":            "data-dir",
		"data_dir":           "data-dir",
		"listen-client-url":  "listen-client-urls",
		"listen-clinet-urls": "listen-client-urls",
		"listen-peers-url":   "listen-peer-urls",
		"zookeeper":          "",
		"x":                  "",
	} {
		got, ok := nearest(written, names)
		require.Equal(t, want, got, written)
		require.Equal(t, want != "", ok, written)
	}
	require.Equal(t, ": did you mean --name?", DidYouMean("nam", names, "--"))
	require.Empty(t, DidYouMean("zookeeper", names, "--"))
}
