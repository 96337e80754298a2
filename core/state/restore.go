package state

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/kv"
	"github.com/triglot/triglot/core/state/lease"
	"github.com/triglot/triglot/core/state/znode"
	"github.com/triglot/triglot/storage/keys"
)

// restoreMark is the restore of the znodes that is under way, or was cut off.
type restoreMark struct {
	id uint64
	// begun is the index of the entry that it began with.
	begun uint64
}

// restoring reads the mark; none is zero.
func (m *Machine) restoring() (restoreMark, error) {
	b, err := m.w.GetRow(row(keys.MetaRestore))
	if err != nil || b == nil {
		return restoreMark{}, err
	}
	if len(b) != 2*8 {
		return restoreMark{}, fmt.Errorf("malformed row of a restore %x", b)
	}
	return restoreMark{id: binary.BigEndian.Uint64(b), begun: binary.BigEndian.Uint64(b[8:])}, nil
}

// restore takes a step of a restore.
func (m *Machine) restore(c *core.ZnodeRestore) (core.Outcome, error) {
	switch {
	case m.znodes == nil:
		return nil, core.Unsupported
	case c.ID == 0 || c.Step > core.ZnodeRestoreEnd:
		return nil, core.InvalidArgument
	case c.Step == core.ZnodeRestoreBegin:
		return core.ZnodeRestoreOutcome{}, m.beginRestore(c)
	}
	mark, err := m.restoring()
	switch {
	case err != nil:
		return nil, err
	case mark.id != c.ID:
		return nil, core.TooManyRequests
	}
	var out core.ZnodeRestoreOutcome
	switch c.Step {
	case core.ZnodeRestoreSessions:
		err = m.restoreSessions(c.Sessions)
	case core.ZnodeRestoreClear:
		out.More, err = m.clearZnodes(mark.begun)
	case core.ZnodeRestoreFill:
		err = m.restoreZnodes(c.Znodes)
	default:
		m.w.DeleteRow(row(keys.MetaRestore))
	}
	return out, err
}

func (m *Machine) beginRestore(c *core.ZnodeRestore) error {
	if c.Zxid < 0 || c.Zxid > core.MaxRestoredZxid {
		return core.InvalidArgument
	}
	mark := binary.BigEndian.AppendUint64(nil, c.ID)
	m.w.SetRow(row(keys.MetaRestore), binary.BigEndian.AppendUint64(mark, m.pos.index+1))
	m.pos.rev = max(m.pos.rev, c.Zxid)
	return nil
}

// restoreSessions makes sessions. One that there is keeps its secret, which its client
// knows, and moves: whoever is connected has to connect once more. A lease that there is
// under the id of a session stays what it is.
func (m *Machine) restoreSessions(all []core.RestoredSession) error {
	if slices.ContainsFunc(all, func(s core.RestoredSession) bool { return s.ID == 0 || checkTimeout(s.Timeout) != nil }) {
		return core.InvalidArgument
	}
	for i := range all {
		s := &all[i]
		made := lease.Lease{TTL: s.Timeout, Granted: m.pos.index + 1, Epoch: 1, Secret: s.Secret}
		switch {
		case m.leases.IsSession(s.ID):
			var err error
			if made.Epoch, err = m.leases.MoveSession(s.ID, made); err != nil {
				return err
			}
		case m.leases.Exists(s.ID):
			continue
		default:
			if err := m.leases.Grant(s.ID, made); err != nil {
				return err
			}
		}
		m.owned(core.SessionRef{ID: s.ID, Epoch: made.Epoch}, s.Timeout)
	}
	return nil
}

// maxClearSessions is how many sessions end in one command.
const maxClearSessions = 500

// clearZnodes ends sessions that nobody has attached to since the restore began, then
// deletes znodes, and reports whether there is more of either.
func (m *Machine) clearZnodes(begun uint64) (more bool, err error) {
	var old []core.LeaseID
	err = lease.Each(m.w, func(id core.LeaseID, l lease.Lease) {
		if l.Session() && l.Granted <= begun && len(old) <= maxClearSessions {
			old = append(old, id)
		}
	})
	if err != nil {
		return false, err
	}
	for i, id := range old {
		if i == maxClearSessions || kv.MaxDeleteBytes-m.room.entry >= maxExpireBytes {
			return true, nil
		}
		if err := m.revoke(id); err != nil {
			return false, err
		}
	}
	tx := m.begin(false)
	more, err = m.znodes.Clear(&tx)
	_, err = m.take(&tx, nil, err)
	return more, err
}

// restoreZnodes makes znodes, all in one revision, or none.
func (m *Machine) restoreZnodes(all []core.RestoredZnode) error {
	mark := m.w.Mark()
	tx := m.begin(false)
	var err error
	for i := range all {
		z := &all[i]
		if z.Owner != 0 && !m.leases.Exists(z.Owner) {
			continue
		}
		if err = m.znodes.Restore(&tx, z); err != nil {
			m.w.Rollback(mark)
			break
		}
	}
	if _, err = m.take(&tx, nil, err); err != nil {
		return err
	}
	return m.countLists()
}

// CheckRestorable reports whether a znode of a snapshot can be one of a store.
func CheckRestorable(z *core.RestoredZnode) bool { return znode.Restorable(z) }
