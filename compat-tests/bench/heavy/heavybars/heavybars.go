// Package heavybars lists the bars of issue 7 about big stores. It is apart because two
// commands show them all, measured or not: bench/heavy, which measures them, and bench, on
// its page.
package heavybars

import (
	"fmt"
	"slices"
	"strings"
)

// What the bars are about. Revisions are those of Keys[0] keys.
var (
	Faces     = []string{"triglot", "znodes"}
	Keys      = []int{1_000_000, 10_000_000}
	Revisions = 5_000_000
)

// The limits of issue 7.
const (
	maxResident = 1024 // MiB
	maxGrowth   = 1.25 // of memory, from one size to ten times that
	maxStart    = 2.0  // seconds
	maxDisk     = 0.5  // of etcd's
	maxStall    = 1.5  // of the quiet p99
)

// Starts are what may be before a start.
var Starts = []string{AfterStop, AfterKill, ColdAfterStop, ColdAfterKill}

// The starts.
const (
	AfterStop     = "after a stop"
	AfterKill     = "after kill -9 under puts"
	ColdAfterStop = "after a stop, files not in memory"
	ColdAfterKill = "after kill -9 under puts, files not in memory"
)

// What puts go on beside.
const (
	Compaction = "compaction"
	Download   = "snapshot download"
)

// Resident names the bar of the most memory that a server had with a store.
func Resident(store string) string { return store + ": resident memory at its most, MiB" }

// Growth names the bar of how the memory grows with the store.
func Growth(store string) string {
	return store + ": resident memory under puts to that of a tenth of the keys"
}

// Start names the bar of a start, one of Starts.
func Start(store, what string) string { return store + ": start " + what + ", s" }

// Disk names the bar of the files.
func Disk(store string) string { return store + ": disk to etcd's" }

// Stall names the bar of the puts beside Compaction or Download.
func Stall(store, beside string) string {
	return store + ": p99 of puts beside a " + beside + " to the quiet one"
}

// Store is the name of a store of a face; revisions are 0 if it has no history to speak of.
func Store(face string, keys, revisions int) string {
	if revisions == 0 {
		return fmt.Sprintf("%s-%d", face, keys)
	}
	return fmt.Sprintf("%s-%d-%d", face, keys, revisions)
}

// Bar is a figure that may be no greater than its limit.
type Bar struct {
	Name  string
	Limit float64
}

// All are the bars, in the order in which they are shown.
func All() (all []Bar) {
	for _, face := range Faces {
		for i, keys := range Keys {
			store := Store(face, keys, 0)
			all = append(all, Bar{Resident(store), maxResident})
			if i > 0 {
				all = append(all, Bar{Growth(store), maxGrowth})
			}
			for _, what := range Starts {
				all = append(all, Bar{Start(store, what), maxStart})
			}
			if face == "triglot" { // znodes have no peer here
				all = append(all, Bar{Disk(store), maxDisk})
			}
		}
	}
	store := Store("triglot", Keys[0], Revisions)
	return append(all, Bar{Resident(store), maxResident}, Bar{Stall(store, Compaction), maxStall}, Bar{Stall(store, Download), maxStall})
}

// The verdicts.
const (
	Met        = "met"
	NotMet     = "**NOT MET**"
	Unmeasured = "not measured"
)

// Judge holds what was measured, by the names of bars, against a bar: its median counts.
func (b Bar) Judge(measured map[string]Spread) (s Spread, verdict string) {
	s, found := measured[b.Name]
	switch {
	case !found:
		return s, Unmeasured
	case s.Median <= b.Limit:
		return s, Met
	default:
		return s, NotMet
	}
}

// Table is all the bars for a page.
func Table(measured map[string]Spread) string {
	var text strings.Builder
	text.WriteString("| bar | measured | limit | |\n|---|---|---|---|\n")
	for _, b := range All() {
		s, verdict := b.Judge(measured)
		shown := ""
		if verdict != Unmeasured {
			shown = s.Format(2)
		}
		fmt.Fprintf(&text, "| %s | %s | %.2f | %s |\n", b.Name, shown, b.Limit, verdict)
	}
	return text.String()
}

// Spread is what several runs measured.
type Spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

// SpreadOf is that of at least one value.
func SpreadOf(values ...float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Least: sorted[0], Most: sorted[n-1]}
}

// Format shows the median and, of several values, the least and the greatest.
func (s Spread) Format(digits int) string {
	if s.Least == s.Most {
		return fmt.Sprintf("%.*f", digits, s.Median)
	}
	return fmt.Sprintf("%.*f [%.*f-%.*f]", digits, s.Median, digits, s.Least, digits, s.Most)
}
