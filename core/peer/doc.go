// Package peer carries what members say to each other: the messages of consensus,
// questions with their answers, and whole states.
//
// Every member dials every other at the peer URLs that the other advertises, and says
// on that connection what it has to say: one framed stream for messages and questions,
// whose answers come back on it. A state travels on a connection of its own, which the
// one that needs it dials, so that it can ask for what it lacks (transfers are the
// caller's to speak; this package opens them and checks who is there).
//
// It owns the connections and their goroutines, which Stop waits for. It never reads
// what a message says, keeps nothing on disk, and never waits for a peer on the
// caller's goroutine: a message that cannot be taken is dropped, and Handler.Broken
// says so.
package peer
