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
// packet of its client, is later than that by Options.SessionSlack, so that it is
// enough to touch it every core.TouchInterval.
//
// # Other members
//
// A member that does not lead gathers what it has for the leader in Renewals. The
// batch that it sends at s, by its own clock, holds all touches that it had from its
// front ends by then, or earlier batches that were answered did. The leader confirms it
// only if it is in contact itself: a quorum has acknowledged its leadership when asked
// at q, less than an election timeout E before. A member whose last confirmed batch was
// sent at s closes the connections of all its sessions at s+E+d: d is how late it
// notices, a sixteenth of E and what the scheduler takes. While the process stands
// still it answers nobody, and before it answers anybody it looks at the clock.
//
// So a member that is cut off closes the connection of a session with timeout T before
// the others can have the session end, if T is at least 2E, and d at most E/3:
//
//   - The leader that confirmed expires it. A client that is alive sends something every
//     T/3 (ClientCnxn and all others keep to a third, and give up after two thirds).
//     The front end may have kept it back for core.TouchInterval, which the slack makes
//     good. So the deadline is at s - T/3 + T or later: s + 4E/3 >= s + E + d.
//   - A new leader expires it. One of those who voted for it had acknowledged the old
//     leader's question before, so it began to lead after q > s - E; it gives every
//     session its T and a grace of E from then on: s - E + T + E >= s + 2E >= s + E + d.
//   - The member led itself. Then s is q, and the case is that of the new leader.
//
// T may be as small as 1.5 (E + d), but not as small as E: core.Sessions.Shortest asks
// for 2E, which ZooKeeper's default of two ticks of 2 s meets up to E = 2 s. That the
// members' clocks run at rates that differ by parts in a thousand is within d.
// Contact keeps s+E. TestCutOffMembersCloseFirst drives the pieces together, and the
// simulation in core/consensus whole clusters.
//
// A renewal of a lease is acknowledged only by a leader that was in contact after it, at
// t < q+E: a new leader, which began after q, gives the lease its T and a grace of E from
// then on, so that it lives until t+T (etcd #15247).
package expiry
