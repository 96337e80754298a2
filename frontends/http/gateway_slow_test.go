package httpfront

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// bubbleServer serves f's gateway on in-memory connections, in the bubble that the
// test runs in. The function ends it.
func bubbleServer(t *testing.T, f *fakeFace) (*pipeListener, func()) {
	t.Helper()
	c := f.channel()
	m := newFakeMember()
	h := New(Config{Store: m, Cluster: m, Gateway: c, MaxRequestBytes: 1000}).ClientHandler()
	l, server := newPipeListener(), NewServer(h, discard())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return l, func() {
		require.NoError(t, server.Close())
		require.Error(t, <-served)
		c.Close()
	}
}

// A body that never comes does not hold on to its connection for ever.
func TestGatewayStalledBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := bubbleServer(t, new(fakeFace))
		conn := l.dial()
		start := time.Now()
		_, err := io.WriteString(conn, "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.Equal(t, bodyTimeout, time.Since(start))
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
		stop()
	})
}

// The time that a body has does not bound the reply, or the next request.
func TestGatewaySlowReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := bubbleServer(t, &fakeFace{put: func(ctx context.Context, _ *pb.PutRequest) (*pb.PutResponse, error) {
			select {
			case <-time.After(10 * bodyTimeout):
				return &pb.PutResponse{}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
		conn := l.dial()
		in := bufio.NewReader(conn)
		for range 2 {
			start := time.Now()
			_, err := io.WriteString(conn, "POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}")
			require.NoError(t, err)
			resp, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, 10*bodyTimeout, time.Since(start))
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.NoError(t, conn.Close())
		stop()
	})
}

// A stream's body may take its time.
func TestGatewaySlowStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := bubbleServer(t, new(fakeFace))
		conn := l.dial()
		_, err := io.WriteString(conn, "POST /v3/lease/keepalive HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		require.NoError(t, err)
		_, err = io.WriteString(conn, "8\r\n{\"ID\":1}\r\n")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body := bufio.NewReader(resp.Body)
		for range 3 {
			_, err = body.ReadString('\n')
			require.NoError(t, err)
			<-time.After(10 * bodyTimeout)
			_, err = io.WriteString(conn, "8\r\n{\"ID\":1}\r\n")
			require.NoError(t, err)
		}
		require.NoError(t, conn.Close())
		stop()
	})
}
