package httpload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/cmd/triglot/bench/measure"
)

func open(ctx context.Context, t *testing.T, load string, handle http.HandlerFunc) *Load {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	l, err := New(ctx, load, Config{
		Endpoints: []string{strings.TrimPrefix(server.URL, "http://")}, Connections: 2, Keys: keyspace.New("p/", 10, 3),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func TestRequests(t *testing.T) {
	var bodies []string
	l := open(t.Context(), t, "put", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			bodies = append(bodies, r.Method+" "+r.URL.Path+" "+string(b))
		}
		fmt.Fprint(w, `{"kvs":[{}]}`)
	})
	x := &exchange{}
	require.NoError(t, l.put(t.Context(), x, 7, []byte("abc")))
	require.NoError(t, l.get(t.Context(), x, 7))
	require.Equal(t, []string{
		`POST /v3/kv/put {"key":"cC8wMDAwMDAwMDA3","value":"YWJj"}`, `POST /v3/kv/range {"key":"cC8wMDAwMDAwMDA3"}`,
	}, bodies)
}

// What a server answers with another status, or without a key, is an error; a connection
// that it closes is made again.
func TestAnswers(t *testing.T) {
	var n atomic.Int64
	l := open(t.Context(), t, "get", func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			http.Error(w, "too busy", http.StatusServiceUnavailable)
		case 1:
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, `{"kvs":[{}]}`)
		case 2:
			fmt.Fprint(w, `{"count":"0"}`)
		case 3:
			fmt.Fprintf(w, `{"kvs":[{}],"more":%q}`, strings.Repeat("x", 100_000))
		}
	})
	var r measure.Recorder
	_, err := drive.Run(t.Context(), l, drive.Pace{Clients: 3, Ops: 100}, &r)
	require.NoError(t, err)
	require.Equal(t, int64(50), r.Done())
	require.Equal(t, map[string]int64{"503 Service Unavailable: too busy": 25, errNoKey.Error(): 25}, r.Errors())
	_, err = New(t.Context(), "dance", Config{})
	require.ErrorContains(t, err, "dance")
}

// Keys are there if there are as many as are asked for, with values of that length.
func TestFilled(t *testing.T) {
	for _, c := range []struct {
		count, row string
		want       bool
	}{
		{`{"count":"10"}`, `{"kvs":[{"value":"YWJj"}],"count":"1"}`, true},
		{`{"count":"9"}`, `{"kvs":[{"value":"YWJj"}],"count":"1"}`, false},
		{`{}`, `{}`, false},
		{`{"count":"10"}`, `{"kvs":[{"value":"YWI="}],"count":"1"}`, false},
		{`{"count":"10"}`, `{"kvs":[{}],"count":"1"}`, false},
		{`{"count":"10"}`, `{}`, false},
	} {
		l := open(t.Context(), t, "get", func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			switch {
			case err != nil:
			case strings.Contains(string(b), "count_only"):
				fmt.Fprint(w, c.count)
			default:
				fmt.Fprint(w, c.row)
			}
		})
		filled, err := l.Filled(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.want, filled, c)
	}
}

// The end of the context ends calls that a server leaves unanswered.
func TestCancelEndsCalls(t *testing.T) {
	over := make(chan struct{})
	asked := make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	l := open(ctx, t, "get", func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-over
	})
	call, err := l.Client(0, rand.New(rand.NewPCG(1, 1)))
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- call(ctx, time.Now()) }()
	<-asked
	cancel(errors.New("enough"))
	require.Error(t, <-done)
	close(over)
}

// A cancel that comes when a call is about to end, or has just ended, hurts nobody. The race
// detector looks on.
func TestCancelWhileCallsComplete(t *testing.T) {
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		var n atomic.Int64
		l := open(t.Context(), t, "get", func(w http.ResponseWriter, _ *http.Request) {
			if n.Add(1) == 5 {
				cancel()
			}
			fmt.Fprint(w, `{"kvs":[{}]}`)
		})
		var r measure.Recorder
		_, err := drive.Run(ctx, l, drive.Pace{Clients: 4, Duration: time.Hour}, &r)
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, r.Errors())
	}
}

// cancelled is a connection whose call is cancelled just before it is given its deadline.
type cancelled struct {
	net.Conn
	cancel func()
	past   chan struct{} // closed once the cancel has set its deadline
}

func (c *cancelled) SetDeadline(at time.Time) error {
	if at.Before(time.Now()) {
		defer close(c.past)
		return c.Conn.SetDeadline(at)
	}
	c.cancel()
	<-c.past
	return c.Conn.SetDeadline(at)
}

// The deadline of a call does not undo the cancel that came before it.
func TestCancelBeforeTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		nc := &cancelled{Conn: near, cancel: func() { cancel(enough) }, past: make(chan struct{})}
		c := &conn{endpoint: "pipe", nc: nc, in: bufio.NewReader(near)}
		require.ErrorIs(t, c.post(ctx, &exchange{}, "/"), enough)
	})
}
