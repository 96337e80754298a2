//go:build !failpoints

package failpoint

// Enabled reports whether the program has failpoints.
const Enabled = false

// Hit is where something may be made to fail. It is empty, and inlined.
func Hit(Name) {}
