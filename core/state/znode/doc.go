// Package znode is ZooKeeper's rules on the keys of the store: what a create, a
// delete, a setData, a setACL and a check do, which znodes are reaped, what counts
// towards a quota, and what the writes of other faces to keys below the mount do to
// znodes.
//
// The mount is a prefix of keys: znode /a/b is key <prefix>/a/b, and the root is
// <prefix>/. The value of the key is the znode's data. What the key cannot tell is
// in the znode's own row, an n row, of which there is one for every znode. A znode
// may be *implicit*: a row without a key, there for the sake of its descendants,
// and gone with the last of them unless it is *pinned*: a client of ZooKeeper has
// created or deleted a child of it, or set its ACL, and has the right to find it there
// still. A key below the mount whose path is not legal is *opaque*: no znode, though it
// has the ACL of its nearest ancestor.
//
// Who may do what is decided here, by the lists that ACLs keeps: the row of a znode has
// the number of its list, and each version of its key that under which it was written.
// Those who look after some znodes find them in an index, the x table: the reaper
// containers and those with a time to live, the faces that read keys those whose list is
// not open. What a quota uses is in the row of the znode that shows it (see usage).
//
// A Tree belongs to the one goroutine that applies. Everything that it decides
// follows from the rows, the keys and the command. It keeps the counters of
// znodes, and what the command under way did to znodes, in order; it never
// decides which revision a command takes, nor undoes rows: its caller does.
//
// Invariants, between commands:
//
//  1. A key with a legal path exists if and only if there is a row of that path
//     that is not implicit.
//  2. The parent of a znode exists, and counts its children right.
//  3. An implicit znode that is not pinned has children.
//  4. A session's ephemeral has none.
//  5. The index says what the rows say (IndexRows), and of opaque keys what they say.
//  6. A list is held by each row of a znode, but for the first of ZooKeeper's
//     configuration, and by each newest version under another list than its znode has.
package znode
