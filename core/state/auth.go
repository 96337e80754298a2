package state

import (
	"fmt"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/auth"
	"github.com/triglot/triglot/storage/keys"
)

// TokenChange is a simple token that was granted, or the end of tokens.
type TokenChange struct {
	// User is whose token it is. If the token is zero, all of the user's end; of all
	// users if User is empty.
	User   string
	Secret core.SecretHash
	Index  uint64
}

// permit fails if who may not have cmd executed now: by the users and roles first, then
// by the ACLs of znodes.
func (m *Machine) permit(who core.Principal, cmd core.Command) error {
	if who.Member {
		return nil
	}
	if m.rights.accounts.Enabled() {
		if err := m.judge(who, cmd); err != nil {
			return err
		}
	}
	if g := m.guard(who); g != nil {
		return g.judge(cmd, m.leases.Keys)
	}
	return nil
}

// guard judges one who comes through etcd's or HTTP's face; nil if nothing is forbidden
// to him by an ACL.
func (m *Machine) guard(who core.Principal) *guard {
	if m.rights.lists == 0 {
		return nil
	}
	m.rights.restricted = m.znodes.Restricted()
	return newGuard(&m.rights, written{m.w}, m.znodes.Mount(), m.bounds(), m.rights.accounts.Identities(who))
}

// countLists takes in how many ACLs forbid something, which only a command of
// ZooKeeper's and a compaction change from, or to, none.
func (m *Machine) countLists() (err error) {
	m.rights.lists, err = m.acls.Lists()
	return err
}

// setPolicy sets what becomes of etcd's and HTTP's requests that touch what ACLs forbid.
func (m *Machine) setPolicy(c *core.SetZnodeACLPolicy) error {
	if c.Policy > core.ZnodeACLOff {
		return core.InvalidArgument
	}
	m.rights.policy = c.Policy
	m.w.SetRow(row(keys.MetaACLPolicy), []byte{byte(c.Policy)})
	return nil
}

// decodePolicy reads the row of the policy; there is none in most stores.
func decodePolicy(b []byte) (core.ZnodeACLPolicy, error) {
	switch {
	case b == nil:
		return core.ZnodeACLDeny, nil
	case len(b) != 1 || core.ZnodeACLPolicy(b[0]) > core.ZnodeACLOff:
		return 0, fmt.Errorf("malformed row of the policy of ACLs %x", b)
	}
	return core.ZnodeACLPolicy(b[0]), nil
}

func (m *Machine) judge(who core.Principal, cmd core.Command) error {
	j := judge{accounts: m.rights.accounts, who: who, attached: m.leases.Keys}
	switch c := cmd.(type) {
	case *core.Put:
		return j.put(c)
	case *core.DeleteRange:
		return j.delete(c)
	case *core.Txn:
		return j.txn(c)
	case *core.ZnodeWrite:
		return m.judgeZnodes(&j, c)
	case *core.LeaseGrant:
		return m.rights.accounts.Known(who)
	case *core.LeaseRevoke:
		if err := m.rights.accounts.Known(who); err != nil {
			return err
		}
		return j.lease(c.ID)
	case *core.SessionOpen, *core.SessionAttach, *core.SessionClose:
		return nil // the session's secret and epoch say who may
	case *core.LeaseExpire, *core.LeaseCheckpoint, *core.SetMember, *core.TokenGrant, *core.HashMark,
		*core.ZnodeReap, *core.ZnodeRestore, *core.SetZnodeACLPolicy:
		return core.PermissionDenied // a member's own business
	default:
		return m.rights.accounts.Admin(who)
	}
}

// judge says what one principal may do.
type judge struct {
	accounts *auth.State
	who      core.Principal
	// attached returns the keys attached to a lease.
	attached func(core.LeaseID) ([][]byte, error)
}

func (j *judge) put(p *core.Put) error {
	key := core.Interval{Key: p.Key}
	if err := j.accounts.MayWrite(j.who, key); err != nil {
		return err
	}
	if p.Lease != 0 {
		if err := j.lease(p.Lease); err != nil {
			return err
		}
	}
	if p.PrevKV {
		return j.accounts.MayRead(j.who, key)
	}
	return nil
}

// lease fails unless the principal may write all keys attached to a lease, which go
// with it (etcd T-64). There may be no such lease.
func (j *judge) lease(id core.LeaseID) error {
	if j.accounts.Admin(j.who) == nil {
		return nil
	}
	keys, err := j.attached(id)
	for _, key := range keys {
		if err == nil {
			err = j.accounts.MayWrite(j.who, core.Interval{Key: key})
		}
	}
	return err
}

func (j *judge) delete(d *core.DeleteRange) error {
	err := j.accounts.MayWrite(j.who, d.Interval)
	if err == nil && d.PrevKV {
		err = j.accounts.MayRead(j.who, d.Interval)
	}
	return err
}

// txn judges all compares and both branches, whichever will run: that a transaction
// is refused must not tell how a compare came out (etcd T-39).
func (j *judge) txn(t *core.Txn) error {
	for i := range t.Compares {
		if err := j.accounts.MayRead(j.who, t.Compares[i].Interval); err != nil {
			return err
		}
	}
	for _, branch := range [2][]core.Op{t.Then, t.Else} {
		for i := range branch {
			if err := j.op(&branch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *judge) op(op *core.Op) error {
	switch {
	case op.Range != nil:
		return j.accounts.MayRead(j.who, op.Range.Interval)
	case op.Put != nil:
		return j.put(op.Put)
	case op.Delete != nil:
		return j.delete(op.Delete)
	case op.Txn != nil:
		return j.txn(op.Txn)
	}
	return nil
}

// judgeZnodes judges the keys of all operations before any is run.
func (m *Machine) judgeZnodes(j *judge, c *core.ZnodeWrite) error {
	if m.znodes == nil {
		return core.Unsupported
	}
	mount := m.znodes.Mount()
	for i := range c.Ops {
		op := &c.Ops[i]
		may, in := j.accounts.MayWrite, core.Interval{Key: mount.Key(op.Path)}
		switch {
		case op.Type == core.ZnodeCheck:
			may = j.accounts.MayRead
		case op.Type == core.ZnodeCreate && op.Sequential:
			in = mount.Numbered(op.Path) // by which number is not known yet
		}
		if err := may(j.who, in); err != nil {
			return err
		}
	}
	return nil
}

// manageAuth executes a command that concerns users and roles.
func (m *Machine) manageAuth(cmd core.Command) (core.Outcome, error) {
	if grant, ok := cmd.(*core.TokenGrant); ok {
		return m.grantToken(grant)
	}
	next, err := m.rights.accounts.Apply(cmd, m.w)
	if err != nil {
		return nil, err
	}
	m.rights.accounts = next
	switch c := cmd.(type) { // what ends tokens, and nothing else does, as in etcd
	case *core.UserDelete:
		m.delta.Tokens = append(m.delta.Tokens, TokenChange{User: c.Name})
	case *core.UserChangePassword:
		m.delta.Tokens = append(m.delta.Tokens, TokenChange{User: c.Name})
	case *core.AuthDisable:
		m.delta.Tokens = append(m.delta.Tokens, TokenChange{})
	}
	return nil, nil
}

// grantToken has the token table of each member learn of a token. The state itself
// does not keep it: tokens do not outlive the processes that know them.
func (m *Machine) grantToken(c *core.TokenGrant) (core.Outcome, error) {
	if !m.rights.accounts.Enabled() {
		return nil, core.AuthNotEnabled
	}
	if c.AuthRev != m.rights.accounts.Rev() {
		return nil, core.AuthOldRevision
	}
	if _, ok := m.rights.accounts.User(c.User); !ok {
		return nil, core.UserNotFound
	}
	index := m.pos.index + 1
	m.delta.Tokens = append(m.delta.Tokens, TokenChange{User: c.User, Secret: c.Secret, Index: index})
	return core.TokenOutcome{Index: index}, nil
}
