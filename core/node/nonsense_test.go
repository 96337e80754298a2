package node

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// MemberUpdate takes any text for a URL (etcd T-101). A member of an etcd ends in a panic
// over one that is none, and all of them do at once; here the learner that has it cannot be
// reached, the others go on, start again with it, and take the next one.
func TestUpdateToNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, loosely)
		c.ready()
		leader := c.waitLeader()
		added, _, err := c.nodes[leader].Membership().Add(testContext(t), core.Principal{}, []string{"http://h:1"}, true)
		require.NoError(t, err)
		for _, urls := range [][]string{{"nonsense"}, {"http://h"}, {"http://[::1"}, {""}, nil} {
			through := c.nodes[c.followers(c.waitLeader())[0]]
			members, err := through.Membership().Update(testContext(t), core.Principal{}, added.ID, urls)
			require.NoError(t, err, urls)
			require.Equal(t, len(urls), len(memberIn(members, added.ID).PeerURLs))
			for i := range 3 {
				put(t, c.nodes[i], "k", "v")
			}
			last := c.followers(c.waitLeader())[1]
			c.stop(last)
			c.start(last)
			c.ready()
		}
		_, err = c.nodes[c.waitLeader()].Membership().Update(testContext(t), core.Principal{}, added.ID, []string{"http://h:2"})
		require.NoError(t, err)
		_, err = c.nodes[c.waitLeader()].Membership().Remove(testContext(t), core.Principal{}, added.ID)
		require.NoError(t, err)
	})
}
