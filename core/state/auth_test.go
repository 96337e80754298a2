package state

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state/auth"
)

// accountsTranscript runs the commands of transcripts that are about users and roles:
//
//	as [USER [rev=N|any]]  whoever makes the following requests; nobody if no user is
//	                       given, the member itself if it is "member"
//	accounts               all users and roles
//	readable               each line is a key, and an end if there are two words
func (r *rig) accountsTranscript(t *testing.T, d *datadriven.TestData) (string, bool) {
	switch d.Cmd {
	case "as":
		r.who = core.Principal{}
		for _, arg := range d.CmdArgs {
			switch {
			case arg.Key == "member":
				r.who.Member = true
			case arg.Key != "rev":
				r.who.User = arg.Key
			case arg.Vals[0] == "any":
				r.who.AuthRev = core.AnyAuthRev
			default:
				rev, err := strconv.ParseUint(arg.Vals[0], 10, 64)
				require.NoError(t, err)
				r.who.AuthRev = rev
			}
		}
		return "", true
	case "accounts":
		return showAccounts(r.view.Accounts()), true
	case "readable":
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			words := strings.Fields(line)
			in := core.Interval{Key: []byte(unquote(words[0]))}
			if len(words) > 1 {
				in.End = []byte(unquote(words[1]))
			}
			if err := r.seen().Readable(in); err != nil {
				fmt.Fprintln(&out, err)
			} else {
				out.WriteString("ok\n")
			}
		}
		return out.String(), true
	}
	return "", false
}

// principal is who makes the next request: identified just now unless a revision was
// given.
func (r *rig) principal() core.Principal {
	who := r.who
	if who.User != "" && who.AuthRev == 0 {
		who.AuthRev = r.machine.rights.accounts.Rev()
	}
	return who
}

// seen is the latest view as the principal sees it.
func (r *rig) seen() core.View { return r.view.As(r.principal()) }

func showAccounts(s *auth.State) string {
	var out strings.Builder
	fmt.Fprintf(&out, "enabled %t revision %d\n", s.Enabled(), s.Rev())
	for _, name := range s.Users() {
		u, _ := s.User(name)
		fmt.Fprintf(&out, "user %s hash %q", u.Name, u.Hash)
		if u.NoPassword {
			out.WriteString(" no password")
		}
		fmt.Fprintf(&out, " roles %s\n", u.Roles)
	}
	for _, name := range s.Roles() {
		role, _ := s.Role(name)
		fmt.Fprintf(&out, "role %s", role.Name)
		for _, p := range role.Permissions {
			fmt.Fprintf(&out, " [%s %q", []string{"read", "write", "readwrite"}[p.Type], p.Key)
			if len(p.End) > 0 {
				fmt.Fprintf(&out, " to %q", p.End)
			}
			out.WriteString("]")
		}
		out.WriteString("\n")
	}
	return out.String()
}

// While authentication is off, and for the member itself, a view is seen as it is, at
// no cost.
func TestAsCostsNothingWhenAuthIsOff(t *testing.T) {
	r := newRig(t)
	r.apply(&core.Put{Key: []byte("k")})
	r.commit()
	q := &core.Range{Interval: core.Interval{Key: []byte("none")}}
	for _, who := range []core.Principal{{}, {User: "u", AuthRev: 1}} {
		require.Same(t, r.view, r.view.As(who))
	}
	member := core.Principal{Member: true}
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = r.view.As(member) }))
	plain := testing.AllocsPerRun(100, func() { _, _ = r.view.Range(context.Background(), q) })
	as := testing.AllocsPerRun(100, func() { _, _ = r.view.As(core.Principal{}).Range(context.Background(), q) })
	require.Equal(t, plain, as)
}

// setUp turns authentication on, with a root, and alice, who may do what permissions
// say.
func (r *rig) setUp(permissions ...core.Permission) {
	cmds := []core.Command{
		&core.UserAdd{Name: "root", Hash: []byte("h")},
		&core.UserGrantRole{User: "root", Role: "root"},
		&core.UserAdd{Name: "alice", Hash: []byte("h")},
		&core.RoleAdd{Name: "r"},
		&core.UserGrantRole{User: "alice", Role: "r"},
	}
	for _, p := range permissions {
		cmds = append(cmds, &core.RoleGrantPermission{Role: "r", Permission: p})
	}
	for _, reply := range r.apply(append(cmds, &core.AuthEnable{})...) {
		require.NoError(r.t, reply.Err)
	}
	r.commit()
}

// TestNoOracleThroughCompares: that somebody may not read a key must not depend on what
// the key is, wherever in a transaction he asks: otherwise the answer tells (etcd T-39).
func TestNoOracleThroughCompares(t *testing.T) {
	r := newRig(t)
	r.apply(&core.Put{Key: []byte("secret"), Value: []byte("42")})
	r.setUp(core.Permission{Type: core.PermitReadWrite, Interval: core.Interval{Key: []byte("a")}})
	r.who = core.Principal{User: "alice"}
	mine := core.Op{Range: &core.Range{Interval: core.Interval{Key: []byte("a")}}}
	for _, guess := range []string{"41", "42"} {
		peek := []core.Compare{{Interval: core.Interval{Key: []byte("secret")}, Target: core.CompareValue, Value: []byte(guess)}}
		wide := []core.Compare{{Interval: core.Interval{Key: []byte("a"), End: []byte("z")}, Target: core.CompareValue, Value: []byte(guess)}}
		never := []core.Compare{{Interval: core.Interval{Key: []byte("a")}, Target: core.CompareVersion, Number: 99}}
		read := core.Op{Range: &core.Range{Interval: core.Interval{Key: []byte("secret")}}}
		for name, txn := range map[string]*core.Txn{
			"a compare":                  {Compares: peek, Then: []core.Op{mine}},
			"a compare of a range":       {Compares: wide, Then: []core.Op{mine}},
			"the branch that runs":       {Then: []core.Op{mine, read}},
			"the branch that does not":   {Compares: never, Then: []core.Op{read}, Else: []core.Op{mine}},
			"a compare behind a false":   {Compares: append(never, peek...), Then: []core.Op{mine}},
			"a nested compare":           {Then: []core.Op{{Txn: &core.Txn{Compares: peek}}}},
			"a nested one not run":       {Compares: never, Then: []core.Op{{Txn: &core.Txn{Compares: peek}}}},
			"a nested branch not run":    {Then: []core.Op{{Txn: &core.Txn{Compares: never, Then: []core.Op{read}}}}},
			"a previous value of a put":  {Then: []core.Op{{Put: &core.Put{Key: []byte("secret"), PrevKV: true}}}},
			"what a delete would delete": {Then: []core.Op{{Delete: &core.DeleteRange{Interval: core.Interval{Key: []byte("a"), End: []byte("z")}}}}},
		} {
			replies := r.apply(txn)
			r.commit()
			require.Equal(t, core.PermissionDenied, replies[0].Err, "%s, guessing %s", name, guess)
			if txn.ReadOnly() {
				_, err := r.seen().Txn(context.Background(), txn)
				require.Equal(t, core.PermissionDenied, err, "%s in a read, guessing %s", name, guess)
			}
		}
	}
	r.who = core.Principal{Member: true}
	require.Equal(t, `count 1 secret=42{2,2,1}`, r.rangeText(`key:"secret"`))
}

// Rows of users and roles that make no sense are refused, and never shown.
func TestOpenRefusesMalformedAccounts(t *testing.T) {
	r := newRig(t)
	r.setUp()
	r.machine.w.SetRow([]byte("aualice\x00"), []byte("\x01\x00\x05hash!\x07"))
	r.apply()
	r.commit()
	_, err := Open(r.db, r.machine.caches)
	require.ErrorContains(t, err, `the row of "alice" among users and roles is malformed`)
	require.NotContains(t, err.Error(), "hash!")
}
