package zk

import (
	"context"

	"github.com/triglot/triglot/core"
)

// maxVerdicts bounds what a judge remembers.
const maxVerdicts = 4096

// judge says who may be told of which event (A6). The table's lock guards it. The zero
// value lets everything through.
//
// While etcd's authentication is on, one also needs the right to read the key.
type judge struct {
	store core.Store
	auth  core.Auth
	// event is the last one judged, guarded whether etcd's authentication was on then.
	event   uint64
	guarded bool
	// verdicts are remembered: a list does not change, and its number is not given to
	// another. While guarded they are of one event only.
	verdicts map[verdictKey]bool
}

type verdictKey struct {
	who core.Principal
	acl core.ZnodeACL
}

// allows reports whether a subscriber may be told of an event. It does not wait for
// anything.
func (j *judge) allows(s *subscriber, e *watchEvent) bool {
	if j.store == nil {
		return true
	}
	if j.event != e.seq {
		j.next(e)
	}
	if e.acl == core.ACLOpen && !j.guarded {
		return true
	}
	key := verdictKey{s.who(), e.acl}
	if j.guarded && key.who.AuthRev == 0 {
		// It has asked for nothing since. It does as it comes back, and is told what it
		// missed.
		s.out.fail(errUnknownClient)
		return false
	}
	allowed, known := j.verdicts[key]
	if !known {
		allowed = j.look(key.who, e)
		if len(j.verdicts) >= maxVerdicts {
			clear(j.verdicts)
		}
		j.verdicts[key] = allowed
	}
	return allowed
}

// next turns to another event.
func (j *judge) next(e *watchEvent) {
	guarded := j.auth != nil && j.auth.Status().Enabled
	if j.verdicts == nil {
		j.verdicts = map[verdictKey]bool{}
	} else if guarded || j.guarded {
		clear(j.verdicts)
	}
	j.event, j.guarded = e.seq, guarded
}

func (j *judge) look(who core.Principal, e *watchEvent) bool {
	v, err := j.store.View(context.Background(), who, core.Consistency{})
	if err != nil {
		return false // the member has stopped
	}
	defer v.Close()
	znodes := v.Znodes()
	if j.guarded {
		if _, err := znodes.Znode(e.path, 0); err != nil && core.KindOf(err) != core.NoNode {
			return false
		}
	}
	return znodes.Allows(e.acl, core.PermRead)
}

// atOnce is a context for what must not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// known is who the client has proven to be by now. It does not wait for etcd's
// authentication to check a password: who that is may be as of an earlier revision of
// users and roles. It has no AuthRev if it has never been found out.
func (c *conn) known() core.Principal {
	now := c.who.Load()
	who, err := c.srv.principal(atOnce, now)
	if r := now.resolved.Load(); err != nil && r != nil {
		return r.who
	}
	return who
}
