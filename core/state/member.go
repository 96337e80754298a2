package state

import (
	"cmp"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/command"
	"github.com/triglot/triglot/storage/keys"
)

// members are who the cluster consists of, and consisted of.
type members struct {
	// all and removed are by id, and replaced, never changed: views share them.
	all     []core.Member
	removed []core.MemberID
	// expected says that the entry at hand may change them, refused that it did not.
	expected, refused bool
}

// beginEntry begins an entry, which tells raft of a change of members or not.
func (m *members) beginEntry(membership bool) { m.expected, m.refused = membership, membership }

// at is the place of a member in m.all, negative if there is none.
func (m *members) at(id core.MemberID) int {
	return slices.IndexFunc(m.all, func(old core.Member) bool { return old.ID == id })
}

// count is the number of members that vote, and of those that do not.
func (m *members) count() (voters, learners int) {
	for i := range m.all {
		if m.all[i].Learner {
			learners++
		}
	}
	return len(m.all) - learners, learners
}

// taken reports whether a member other than the one at a place has one of the URLs.
func (m *members) taken(urls []string, but int) bool {
	for i := range m.all {
		if i != but && slices.ContainsFunc(m.all[i].PeerURLs, func(u string) bool { return slices.Contains(urls, u) }) {
			return true
		}
	}
	return false
}

// MembershipRefused reports whether the last entry applied was one that tells raft of
// a change of members (Entry.Membership), and the change was refused: then raft's
// members must stay as they are, too.
func (m *Machine) MembershipRefused() bool { return m.members.refused }

// changeMembership makes a change that raft makes, too. It takes effect only in an entry
// that tells raft so, and once there.
func (m *Machine) changeMembership(cmd core.Command) error {
	if !m.members.expected {
		return core.InvalidArgument
	}
	m.members.expected = false
	var err error
	switch c := cmd.(type) {
	case *core.MemberAdd:
		err = m.addMember(c)
	case *core.MemberRemove:
		err = m.removeMember(c.ID)
	case *core.MemberPromote:
		err = m.promoteMember(c.ID)
	}
	m.members.refused = err != nil
	return err
}

// addMember adds a member. The order of what is checked is etcd's
// (membership.RaftCluster.ValidateConfigurationChange).
func (m *Machine) addMember(c *core.MemberAdd) error {
	_, learners := m.members.count()
	switch {
	case slices.Contains(m.members.removed, c.Member.ID):
		return core.MemberNotFound
	case m.members.at(c.Member.ID) >= 0:
		return core.MemberExists
	case m.members.taken(c.Member.PeerURLs, -1):
		return core.PeerURLExists
	case c.Member.Learner && learners >= c.MaxLearners:
		return core.TooManyLearners
	}
	added := cloneMember(&c.Member)
	all := append(slices.Clone(m.members.all), core.Member{ID: added.ID, PeerURLs: added.PeerURLs, Learner: added.Learner})
	slices.SortFunc(all, func(a, b core.Member) int { return cmp.Compare(a.ID, b.ID) })
	m.setMembers(all)
	return nil
}

// removeMember removes a member for good, with the alarms that it raised. The last voter
// stays: raft could not be without one.
func (m *Machine) removeMember(id core.MemberID) error {
	at := m.members.at(id)
	if at < 0 {
		return core.MemberNotFound
	}
	if voters, _ := m.members.count(); voters == 1 && !m.members.all[at].Learner {
		return core.NotEnoughStarted
	}
	gone := m.members.all[at]
	m.setMembers(slices.Delete(slices.Clone(m.members.all), at, at+1))
	removed := append(slices.Clone(m.members.removed), id)
	slices.Sort(removed)
	m.members.removed = removed
	m.w.SetRow(row(keys.MetaRemoved), appendRemoved(nil, removed))
	m.dropAlarms(id)
	return m.tellZooKeeper(&gone, true)
}

// tellZooKeeper has ZooKeeper's configuration, if it names a member, say that the member is
// removed or votes now: in a revision of its own, for clients watch it.
func (m *Machine) tellZooKeeper(of *core.Member, removed bool) error {
	if m.znodes == nil {
		return nil
	}
	tx := m.begin(false)
	_, err := m.take(&tx, nil, m.znodes.TellMembers(of, removed))
	return err
}

// StandAlone makes a member a voter, and the only member, outside of the log, and
// returns the ids of those that it removed. Commit makes it so. It fails with
// MemberNotFound if it is none.
func (m *Machine) StandAlone(id core.MemberID) (removed []core.MemberID, err error) {
	at := m.members.at(id)
	if at < 0 {
		return nil, core.MemberNotFound
	}
	if m.members.all[at].Learner {
		if err := m.promoteMember(id); err != nil {
			return nil, err
		}
	}
	for _, other := range m.members.all {
		if other.ID == id {
			continue
		}
		if err := m.removeMember(other.ID); err != nil {
			return nil, err
		}
		removed = append(removed, other.ID)
	}
	return removed, nil
}

// promoteMember gives a learner a vote. Whether it is ready for it the leader has judged.
func (m *Machine) promoteMember(id core.MemberID) error {
	at := m.members.at(id)
	switch {
	case at < 0:
		return core.MemberNotFound
	case !m.members.all[at].Learner:
		return core.NotLearner
	}
	promoted := m.members.all[at]
	promoted.Learner = false
	m.replaceMember(at, promoted)
	return m.tellZooKeeper(&promoted, false)
}

// setMember takes in what a member says of itself: its name and client URLs. The rest
// is for others to change.
func (m *Machine) setMember(new *core.Member) error {
	at := m.members.at(new.ID)
	if at < 0 {
		return core.MemberNotFound
	}
	changed, told := m.members.all[at], cloneMember(new)
	changed.Name, changed.ClientURLs = told.Name, told.ClientURLs
	m.replaceMember(at, changed)
	return nil
}

// updateMember changes a member's peer URLs. Whether it may have them is checked in
// etcd's order (etcd T-101).
func (m *Machine) updateMember(c *core.MemberUpdate) error {
	at := m.members.at(c.ID)
	if at < 0 {
		return core.MemberNotFound
	}
	if m.members.taken(c.PeerURLs, at) {
		return core.PeerURLExists
	}
	changed := m.members.all[at]
	changed.PeerURLs = c.PeerURLs
	m.replaceMember(at, changed)
	return nil
}

func (m *Machine) replaceMember(at int, new core.Member) {
	all := slices.Clone(m.members.all)
	all[at] = new
	m.setMembers(all)
}

func (m *Machine) setMembers(all []core.Member) {
	m.members.all = all
	m.delta.Members = true
	m.w.SetRow(row(keys.MetaMembers), appendMembers(nil, all))
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
