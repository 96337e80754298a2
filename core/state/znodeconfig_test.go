package state

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

const testConfig = "/zookeeper/config"

// E5: what /zookeeper/config says is the members', by whichever face they change: each change
// is a revision, which is the version, and told to those who watch.
func TestConfigurationOfAnEnsemble(t *testing.T) {
	r := newRig(t)
	session := core.SessionRef{ID: 7, Epoch: 1}
	require.NoError(t, r.apply(&core.SessionOpen{ID: 7, Timeout: 1e9})[0].Err)
	r.commit()
	config := func() (string, core.Stat) {
		z, err := r.view.Znode(testConfig, 0)
		require.NoError(t, err)
		return string(z.Data), z.Stat
	}
	data, first := config()
	require.Empty(t, data)

	lines := "server.5=e:1:2:observer;e:9\nserver.6=f:1:2:participant\n"
	set := core.SetEnsemble{Session: session, Servers: lines}
	require.Equal(t, core.NoAuth, r.apply(&set)[0].Err, "its ACL lets nobody write")
	r.who = core.Principal{IDs: core.Identities("").With(core.SchemeSuper, "")}
	rev := r.view.Rev()
	require.NoError(t, r.apply(&core.SetEnsemble{Session: session})[0].Err)
	require.Empty(t, r.commit().Revisions, "a check takes no revision")
	require.NoError(t, r.apply(&set)[0].Err)
	changed := r.commit().Revisions
	require.Len(t, changed, 1)
	require.Equal(t, rev+1, changed[0].Rev)
	require.Equal(t, core.ZnodeDataChanged, changed[0].Steps[0].Event)
	require.Equal(t, testConfig, changed[0].Steps[0].Path)
	version := func() string { return "version=" + strconv.FormatInt(int64(r.view.Rev()), 16) }
	data, stat := config()
	require.Equal(t, lines+version(), data)
	require.EqualValues(t, len(data), stat.DataLength)
	require.Equal(t, [2]int32{0, -1}, [2]int32{first.Version, stat.Version})
	require.Equal(t, rev+1, stat.Mzxid)
	require.Equal(t, core.BadVersion, r.apply(&set)[0].Err, "it is another one now")
	require.Equal(t, core.InvalidArgument, r.apply(&core.SetEnsemble{Session: session, Servers: "x", From: rev + 1})[0].Err)
	require.Equal(t, core.SessionExpired, r.apply(&core.SetEnsemble{Servers: lines, From: rev + 1})[0].Err)

	// A member is found by the address of its peer URL until it has a name, and then by that.
	change := func(cmd core.Command) { require.NoError(t, r.applyEntry(true, cmd)[0].Err) }
	change(&core.MemberAdd{Member: core.Member{ID: 50, PeerURLs: []string{"http://e:1"}, Learner: true}, MaxLearners: 2})
	require.NoError(t, r.apply(&core.SetMember{Member: core.Member{ID: 50, Name: "5"}})[0].Err)
	change(&core.MemberAdd{Member: core.Member{ID: 60, PeerURLs: []string{"http://f:1"}}})
	change(&core.MemberAdd{Member: core.Member{ID: 70, PeerURLs: []string{"http://f:12"}}})
	require.Empty(t, r.commit().Revisions, "they have their lines, or none")
	change(&core.MemberPromote{ID: 50})
	require.Len(t, r.commit().Revisions, 1)
	data, _ = config()
	require.Equal(t, "server.5=e:1:2:participant;e:9\nserver.6=f:1:2:participant\n"+version(), data)
	change(&core.MemberRemove{ID: 70})
	require.Empty(t, r.commit().Revisions)
	change(&core.MemberRemove{ID: 60})
	require.Len(t, r.commit().Revisions, 1)
	data, _ = config()
	require.Equal(t, "server.5=e:1:2:participant;e:9\n"+version(), data)
	require.NoError(t, r.machine.Close())
	r.openMachine()
	r.apply(&core.HashMark{ID: 1})
	r.commit()
	again, _ := config()
	require.Equal(t, data, again, "it is on disk")
}
