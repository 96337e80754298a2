package node

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
	"github.com/triglot/triglot/core/state"
	"github.com/triglot/triglot/core/transfer"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/checkpoint"
)

// What a later version has written or sent is refused by name, and nothing is changed
// (docs/adr/0016, which lists the formats and their tests).

// TestCommandOfALaterVersion: the member ends, with what it had applied before.
func TestCommandOfALaterVersion(t *testing.T) {
	for name, command := range map[string][]byte{
		"a kind":              {0xd2, 0x0f, 0x00},
		"a field of one":      {0x0a, 0x06, 0x0a, 0x01, 'k', 0xf8, 0x7c, 0x01},
		"a field of who asks": {0x72, 0x03, 0xf8, 0x7c, 0x01, 0x0a, 0x03, 0x0a, 0x01, 'k'},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			n := startNode(t, cfg)
			put(t, n, "k", "v")
			rev := n.Status().Rev
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			proposed := make(chan error, 1)
			go func() {
				_, err := n.propose(ctx, command)
				proposed <- err
			}()
			require.ErrorContains(t, <-n.Failed(), "that this version does not know")
			cancel()
			require.Error(t, <-proposed)
			require.Equal(t, rev, n.Status().Rev)
			_ = n.Stop(context.Background()) // it says so again

			// It is in the log: the version that knows it goes on from there.
			n, err := Start(cfg)
			if err == nil {
				err = <-n.Failed()
				require.Equal(t, rev, n.Status().Rev)
				_ = n.Stop(context.Background())
			}
			require.ErrorContains(t, err, "that this version does not know")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestStateOfALaterVersion: a checkpoint is not taken.
func TestStateOfALaterVersion(t *testing.T) {
	ahead := startNode(t, testConfig(t))
	defer stopNode(t, ahead)
	put(t, ahead, "k", "v")
	index, err := checkpoint.Create(ahead.disk.engine().db, "later", state.IndexIn)
	require.NoError(t, err)
	format, err := ahead.cfg.FS.Create("later/TRIGLOT", "")
	require.NoError(t, err)
	_, err = format.Write([]byte("triglot state, format 2\n"))
	require.NoError(t, errors.Join(err, format.Close()))

	dir, err := openDataDir(storage.NewMemFS(), "data")
	require.NoError(t, err)
	there, here := net.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := transfer.Send(testContext(t), there, transfer.NewLimit(0), func(context.Context) (*transfer.Sender, error) {
			return transfer.NewSender(ahead.cfg.FS, "later", index)
		})
		sent <- err
	}()
	_, err = fetchInto(testContext(t), here, dir, ahead.disk.id.cluster)
	require.ErrorContains(t, err, "has state format 2, this program knows 1; run the program version that wrote it")
	require.NotContains(t, err.Error(), "\n")
	require.NoError(t, <-sent)
	left, err := dir.fs.List("data")
	require.NoError(t, err)
	require.Equal(t, []string{lockName}, left)
	require.NoError(t, dir.Close())
}

// TestQuestionOfALaterVersion: who asks is told, and asks in another way or not at all.
func TestQuestionOfALaterVersion(t *testing.T) {
	n := startNode(t, testConfig(t))
	defer stopNode(t, n)
	_, err := n.peers.Answer(t.Context(), 2, 250, nil)
	require.ErrorIs(t, err, core.Unsupported)
	require.ErrorContains(t, err, "this version does not know question 250")
}
