package config

import (
	"slices"
	"strings"
)

// DidYouMean is ": did you mean …?" with the name that is nearest to what was
// written, or nothing if none is near. The name is shown behind prefix.
func DidYouMean(written string, names []string, prefix string) string {
	best, found := nearest(written, names)
	if !found {
		return ""
	}
	return ": did you mean " + prefix + best + "?"
}

// nearest finds the name with the fewest edits to written, up to a third of its
// length. Of equals the first in the alphabet wins.
func nearest(written string, names []string) (string, bool) {
	written = strings.ToLower(strings.ReplaceAll(written, "_", "-"))
	best, limit := "", max(1, len(written)/3)
	for _, name := range slices.Sorted(slices.Values(names)) {
		if d := distance(written, strings.ToLower(name)); d <= limit {
			best, limit = name, d-1
		}
	}
	return best, best != ""
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours that make a into b.
func distance(a, b string) int {
	rows := [3][]int{}
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	before, above, row := rows[0], rows[1], rows[2]
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, above[j+1]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
