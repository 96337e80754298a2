//go:build failpoints

package failpoint

import "go.etcd.io/gofail/runtime"

// Enabled reports whether the program has failpoints.
const Enabled = true

var points = make(map[Name]*runtime.Failpoint) // never changed once init has run

func init() {
	for _, name := range Names() {
		points[name] = runtime.NewFailpoint(string(name))
	}
}

// Hit does what somebody has asked for at this place: panic, sleep, or nothing.
func Hit(name Name) {
	_, _ = points[name].Acquire() // what it would return is for places with a choice
}
