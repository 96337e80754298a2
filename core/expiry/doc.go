// Package expiry decides when leases are overdue.
//
// It owns the deadlines that the leader keeps and that no other member knows:
// a renewal is no entry of the log. It is a step function: inputs and the time
// in, what to propose out. It has no clock, no goroutine, no lock and no
// randomness, so a simulation drives it from a seed; and it never revokes
// anything, it only says what is to be proposed.
//
// # Time
//
// Every input carries now, a monotonic reading: the time since an origin that
// the caller chooses once, such as the start of the process. Deadlines lie on a
// clock of the package's own, which stands still in gaps: the caller reports its
// ticks, and time between two of them that are further apart than MaxGap is time
// in which the process did not run, did not read its sockets, and did not see
// the renewals that its clients sent. So after a pause every lease has what it
// had left before it (design.md 9).
//
// # Rules
//
// A lease lives for its full TTL from its grant, from its last renewal, and from
// the beginning of a leadership, the latter with a grace added for the clients to
// find the new leader. One that is overdue is not renewed any more, whether it
// has been proposed for revocation or not: the client is told to wait for the
// outcome (etcd T-62). The deadline of a session, which may be touched with every
// packet of its client, is core.TouchInterval later than that, so that it is
// enough to touch it that often.
package expiry
