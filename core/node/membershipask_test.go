package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestChangedOverTheWire: what the leader answers is what the one who asked would have
// found out itself.
func TestChangedOverTheWire(t *testing.T) {
	members := []core.Member{{ID: 1, Name: "a", PeerURLs: []string{"http://a:1"}}, {ID: 2, Learner: true}}
	got, err := decodeChanged(appendChanged(members, nil))
	require.NoError(t, err)
	require.Equal(t, members, got)
	for _, kind := range changeOutcomes {
		_, err := decodeChanged(appendChanged(nil, kind))
		require.Equal(t, kind, err)
	}
	_, err = decodeChanged(appendChanged(nil, core.BadQuota))
	require.Equal(t, core.Internal, err, "nothing that a change fails with")
	_, err = decodeChanged(appendNumber(nil, fieldOutcome, 1000))
	require.ErrorContains(t, err, "does not know")
	_, err = decodeChanged(appendNumber(nil, 9, 1))
	require.NoError(t, err, "a field of a later version")
}

func FuzzDecodeChanged(f *testing.F) {
	f.Add(appendChanged([]core.Member{{ID: 1, Name: "a"}}, nil))
	f.Add(appendChanged(nil, core.NotLeader))
	f.Add([]byte{0x12, 0x05, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		members, err := decodeChanged(b)
		if err == nil {
			again, err := decodeChanged(appendChanged(members, nil))
			require.NoError(t, err)
			require.Equal(t, members, again)
		}
	})
}
