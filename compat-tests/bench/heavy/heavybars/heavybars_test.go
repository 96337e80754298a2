package heavybars

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoBarVanishes shows that a bar is in the table whether or not it was measured.
func TestNoBarVanishes(t *testing.T) {
	all := All()
	seen := map[string]bool{}
	for _, b := range all {
		require.False(t, seen[b.Name], "twice: %s", b.Name)
		seen[b.Name] = true
	}
	require.Equal(t, len(all), strings.Count(Table(nil), Unmeasured))
	for _, name := range []string{
		"triglot-10000000: disk to etcd's", "znodes-10000000: resident memory at its most, MiB",
		"triglot-1000000-5000000: p99 of puts beside a compaction to the quiet one",
	} {
		require.True(t, seen[name], name)
		text := Table(map[string]Spread{name: SpreadOf(2000)})
		require.Contains(t, text, "| "+name+" | 2000.00 |")
		require.Equal(t, 1, strings.Count(text, NotMet))
		require.Equal(t, len(all)-1, strings.Count(text, Unmeasured))
	}
}

func TestSpread(t *testing.T) {
	require.Equal(t, Spread{Median: 2, Least: 1, Most: 9}, SpreadOf(9, 1, 2))
	require.Equal(t, Spread{Median: 3, Least: 1, Most: 9}, SpreadOf(9, 1, 2, 4))
	require.Equal(t, "2.0 [1.0-9.0]", SpreadOf(9, 1, 2).Format(1))
	require.Equal(t, "2.0", SpreadOf(2).Format(1))
	require.Equal(t, 2.0, SpreadOf(9, 1, 2).Median, "the median is judged")
	_, verdict := Bar{Name: "a", Limit: 2}.Judge(map[string]Spread{"a": SpreadOf(9, 1, 2)})
	require.Equal(t, Met, verdict)
}
