// Package drive makes the calls of a load: as fast as so many clients get them answered
// (closed loop), or at times that were drawn before, whatever the server does (open loop).
//
// A closed loop asks nothing while it waits, so a server that stalls is measured by a few
// slow calls instead of by all that would have met the stall: coordinated omission. In an
// open loop the latency of a call counts from when it was to begin, not from when a client was
// free to begin it.
//
// Run owns its goroutines, and waits for them.
package drive
