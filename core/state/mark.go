package state

// SumFormat is what View.Hash sums up, as a number: members whose versions differ in it
// have nothing to compare. It is raised with every change of a row, of the tables that
// are summed up, or of the sum.
const SumFormat = 1

// Marked reports whether the entry that was applied last must be the last before the
// next Commit, for the view of exactly that entry is wanted: see Delta.Marks.
func (m *Machine) Marked() bool { return len(m.delta.Marks) > 0 }
