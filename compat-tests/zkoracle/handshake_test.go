package zkoracle

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// onBoth runs a test on a real ZooKeeper and on Triglot.
func onBoth(t *testing.T, test func(t *testing.T, s *side)) {
	for _, target := range []target{zooKeeper, triglot} {
		t.Run(string(target), func(t *testing.T) {
			s, err := start(context.Background(), target, scriptTick)
			require.NoError(t, err)
			defer func() { require.NoError(t, s.close()) }()
			test(t, s)
		})
	}
}

// N9: what comes right behind a ConnectRequest waits for the session, and is answered
// behind the ConnectResponse, in its order, whether the session is a new one or moved.
func TestRequestsBehindAHandshake(t *testing.T) {
	onBoth(t, func(t *testing.T, s *side) {
		first, err := open("first", s.endpoint)
		require.NoError(t, err)
		defer first.close()
		made := behindHandshake(t, first, session{passwd: make([]byte, 16)}, []request{
			{op: opCreate, body: createBody("/e")}, {op: opPing}, {op: opExists, body: putBool(putString(nil, "/e"), false)},
			{op: opExists, body: putBool(putString(nil, "/none"), false)},
		}, []int32{0, 0, 0, -101})

		second, err := open("second", s.endpoint)
		require.NoError(t, err)
		defer second.close()
		again := behindHandshake(t, second, made, []request{
			{op: opDelete, body: putInt(putString(nil, "/e"), 0)}, {op: opPing}, {op: opCloseSession},
		}, []int32{0, 0, 0})
		require.Equal(t, made, again)
		_, err = second.next()
		require.ErrorIs(t, err, io.EOF)
		_, err = first.next()
		require.ErrorIs(t, err, io.EOF)
	})
}

// behindHandshake sends a handshake and requests in one write and takes the answers.
func behindHandshake(t *testing.T, c *conn, of session, requests []request, codes []int32) session {
	t.Helper()
	b := putLong(putInt(putLong(putInt(nil, 0), 0), 10_000), of.id)
	all := frame(putBool(append(putInt(b, int32(len(of.passwd))), of.passwd...), false))
	var xids []int32
	for _, q := range requests {
		xid, framed := c.encode(q)
		xids, all = append(xids, xid), append(all, framed...)
	}
	c.send(all)
	welcome, err := c.next()
	require.NoError(t, err)
	r := &reader{rest: welcome}
	r.int()
	require.EqualValues(t, 10_000, r.int())
	made := session{id: r.long(), passwd: welcome[20:36]}
	require.Positive(t, made.id, "N7: it is a lease's too")
	for i, want := range codes {
		f, err := c.reply()
		require.NoError(t, err)
		require.Equal(t, xids[i], f.xid)
		require.Equal(t, want, f.code)
	}
	return made
}

func createBody(path string) []byte {
	b := putInt(putString(nil, path), 0)
	b = putInt(putInt(b, 1), 31) // an ACL of one entry
	return putInt(putString(putString(b, "world"), "anyone"), 0)
}
