// Package watch is the change hub: it carries every revision that apply
// publishes to every watch that wants it.
//
// # What it is
//
// Three parts, each with one lock of its own, taken in this order:
//
//	dispatcher  which watches exist, what each wants, and how far the revisions
//	            have been matched. A step function: it has no goroutine.
//	feed        one reader's bounded queue of references to revisions.
//	ring        the newest revisions, bounded by bytes. Apply appends to it and
//	            never waits for anything but this lock, which is held for moments.
//
// [Hub] is the thin driver: one goroutine that calls step while there is
// something to do.
//
// # The life of a watch
//
// A watch is either joined or behind. A joined watch is in the index, and each
// revision that concerns it goes into its feed's queue as it is dispatched. A
// watch is behind if it starts in the past, if its feed's queue was full, or if
// the hub itself fell out of the ring. It is then in nobody's index; it knows
// the next revision that it wants, and the feed's consumer brings it forward
// inside Next: from the ring if that still holds the revision, else from the
// History, chunk by chunk. When nothing is missing it joins again, under the
// dispatcher's lock, so that there is neither a gap nor a duplicate.
//
// What links the two is a marker in the queue: the consumer begins to catch up
// when it takes the marker out, that is, after all that was queued before it.
//
// # Followers
//
// A follower is told whole revisions, in the step that dispatches them and under
// the dispatcher's lock, so it must be quick. It exists while somebody listens to
// it: from then on it counts as a watch does, for apply to wake the hub. It has
// no queue and does not catch up. If the hub falls out of the ring, the follower is
// told what it has lost.
//
// # A state that is replaced
//
// Reset empties the ring and moves it to the new state's revision. For the watches
// that is as if the hub had fallen out of the ring: what they were not told they read
// from the History, in which the new state has all of it.
//
// # What it never does
//
// It never reads a clock, never does I/O on the hub's goroutine or under a lock,
// never lets one reader hold up another or apply, and never copies a key or a
// value.
package watch
