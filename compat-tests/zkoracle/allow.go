package zkoracle

import (
	"regexp"
	"strings"
)

// An allowance is a difference between ZooKeeper and Triglot that is no error.
type allowance struct {
	// why says what differs and why that is right.
	why string
	// command, zooKeeper and ours match, as a whole, the command and what each side
	// showed, the lines joined by newlines.
	command, zooKeeper, ours *regexp.Regexp
}

func allow(command, zooKeeper, ours, why string) allowance {
	whole := func(pattern string) *regexp.Regexp { return regexp.MustCompile(`\A(?s:` + pattern + `)\z`) }
	return allowance{why: why, command: whole(command), zooKeeper: whole(zooKeeper), ours: whole(ours)}
}

// Besides these, zxids are compared as relations (clock): Triglot takes none for a
// failed write, a session's beginning, or the end of one that has no ephemerals,
// and ZooKeeper does.
var allowances = []allowance{}

// allowed finds the allowance that covers a difference; nil if none does.
func allowed(command string, zooKeeper, ours []string) *allowance {
	for i := range allowances {
		a := &allowances[i]
		if a.command.MatchString(command) && a.zooKeeper.MatchString(strings.Join(zooKeeper, "\n")) && a.ours.MatchString(strings.Join(ours, "\n")) {
			return a
		}
	}
	return nil
}
