// Package state is the replicated state machine: it applies committed commands
// to the store and publishes immutable views of it.
//
// A Machine belongs to the one goroutine that applies. It has no clock, no
// randomness and no goroutine: what a command does follows from the state and
// the entry alone, so every member that applies the same log has the same state.
// It never waits, never talks to anyone, and never decides whether a command
// should be proposed.
//
// Invariants, between calls of Apply and Commit:
//
//  1. The engine holds all entries up to the applied index or, in the batch that
//     is being built, none of an entry that failed.
//  2. A revision is taken if and only if a command changed something; all rows a
//     command writes carry it.
//  3. The latest published view shows exactly the state as of its applied index.
package state
