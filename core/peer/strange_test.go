package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/core"
)

// TestStrangersAreNamed: what is not a member of Triglot is told so if it can be, and
// named in the log, a line for each.
func TestStrangersAreNamed(t *testing.T) {
	p := newTestPeer(t, 1)
	resp, err := http.Get("http://" + p.url + "/version")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, string(body), "where members of Triglot talk")

	_, err = tls.Dial("tcp", p.url, &tls.Config{InsecureSkipVerify: true})
	require.Error(t, err)

	for range 3 {
		conn, err := net.Dial("tcp", p.url)
		require.NoError(t, err)
		_, err = conn.Write([]byte("ruok and more"))
		require.NoError(t, err)
		_, err = io.ReadAll(conn)
		_ = err // reset or closed
		require.NoError(t, conn.Close())
	}
	conn, err := net.Dial("tcp", p.url)
	require.NoError(t, err)
	_, err = conn.Write(append([]byte(magic), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, byte(frameHello)))
	require.NoError(t, err)
	_, err = io.ReadAll(conn)
	_ = err // reset or closed
	require.NoError(t, conn.Close())

	for _, want := range []string{"it speaks HTTP", "it speaks TLS", "it speaks something else", "a frame of 4294967295 bytes: the most is 65536 here"} {
		eventually(t, want, func() bool { return strings.Contains(p.log.String(), want) })
		require.Equal(t, 1, strings.Count(p.log.String(), want), p.log)
	}
}

// TestStrangersAreNamedByWhoDials is the same from the other side.
func TestStrangersAreNamedByWhoDials(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer mute.Close()
	go func() {
		for {
			conn, err := mute.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	triglot := newTestPeer(t, 9)
	dialTLS := func(ctx context.Context, url string) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		return d.DialContext(ctx, "tcp", url)
	}
	for _, c := range []struct {
		url  string
		dial func(ctx context.Context, url string) (net.Conn, error)
		want string
	}{
		{plain.Listener.Addr().String(), dialTCP, "it answers HTTP: is it an etcd, or a client URL?"},
		{plain.Listener.Addr().String(), dialTLS, "it answers HTTP"},
		{secure.Listener.Addr().String(), dialTCP, "with TLS on both sides or on neither?"},
		{mute.Addr().String(), dialTCP, "it closed the connection at the handshake"},
		{triglot.url, dialTLS, "it closed the connection at the handshake"},
	} {
		_, err := Dialer{Dial: c.dial}.Probe(t.Context(), c.url, Newcomer{})
		require.ErrorContains(t, err, c.want)
	}
}

// TestTLS: everything works over TLS, and who speaks none is told what is missing.
func TestTLS(t *testing.T) {
	certs := httptest.NewTLSServer(http.NotFoundHandler())
	defer certs.Close()
	client := certs.Client().Transport.(*http.Transport).TLSClientConfig
	secure := func(c *Config) {
		c.Listeners[0] = tls.NewListener(c.Listeners[0], &tls.Config{Certificates: certs.TLS.Certificates})
		c.Dial = func(ctx context.Context, url string) (net.Conn, error) {
			return (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", url)
		}
	}
	a, b := pair(t, secure)
	b.r.answer = func(context.Context, uint8, []byte) ([]byte, error) { return []byte("yes"), nil }
	got, err := a.Ask(t.Context(), 2, 1, nil)
	require.NoError(t, err)
	require.Equal(t, "yes", string(got))
	a.Send(2, text("x"))
	eventually(t, "heard", func() bool { return b.r.last() == "x" })

	_, err = Dialer{Dial: dialTCP}.Probe(t.Context(), b.url, Newcomer{})
	require.Error(t, err)
	eventually(t, "logged", func() bool { return strings.Contains(b.log.String(), "does not look like a TLS handshake") })
}

func TestProbe(t *testing.T) {
	p := newTestPeer(t, 2)
	i, err := Dialer{Dial: dialTCP}.Probe(t.Context(), p.url, Newcomer{})
	require.NoError(t, err)
	require.Equal(t, testIntroduction, i)
	require.Empty(t, p.log.String())

	who := Newcomer{Hello: Hello{Cluster: 1, From: 2, Name: "n"}, PeerURLs: []string{"http://a:1", "http://b:1"}}
	for range 2 {
		i, err = Dialer{Dial: dialTCP}.Probe(t.Context(), p.url, who)
		require.NoError(t, err)
		require.Equal(t, testIntroduction, i, "it is told all the same")
	}
	require.Equal(t, 1, strings.Count(p.log.String(), "cannot start like that"))
	require.Contains(t, p.log.String(), fmt.Sprintf("nobody knows %v", who))
}

// TestRefusals: both sides log why, once, and a removed member is told.
func TestRefusals(t *testing.T) {
	a, b := newTestPeer(t, 1), newTestPeer(t, 2)
	b.r.refuse = func(h Hello) *Refusal {
		require.Equal(t, Hello{Cluster: testCluster, From: 1, To: 2, Name: "m1"}, h)
		return &Refusal{Removed: true, Reason: "member 1 was removed"}
	}
	a.SetMembers([]core.Member{a.member(), b.member()})
	eventually(t, "told", func() bool {
		a.r.mu.Lock()
		defer a.r.mu.Unlock()
		return len(a.r.removed) > 1 && a.r.removed[0] == 2
	})
	require.ErrorContains(t, a.Peers()[0].Err, "member 1 was removed")
	require.Equal(t, 1, strings.Count(a.log.String(), "member 1 was removed"), a.log)
	require.Equal(t, 1, strings.Count(b.log.String(), "member 1 was removed"), b.log)
	require.Contains(t, a.log.String(), "a peer refuses this member")
	require.Contains(t, b.log.String(), "rejected connection on peer endpoint")
}

// TestStrangersRemoveNobody: who says that this member was removed must be of its
// cluster, and the member that it was taken for.
func TestStrangersRemoveNobody(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"another cluster": func(c *Config) { c.Cluster++ },
		"another member":  func(c *Config) { c.Self = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newTestPeer(t, 1), newTestPeer(t, 2, change)
			b.r.refuse = func(Hello) *Refusal { return &Refusal{Removed: true, Reason: "go"} }
			a.SetMembers([]core.Member{b.member()})
			eventually(t, "refused", func() bool { return strings.Count(b.log.String(), "go") > 0 })
			eventually(t, "refused", func() bool { return isRefusal(a.Peers()[0].Err) })
			a.Stop()
			require.Empty(t, a.r.removed)
		})
	}
}

// TestWhoLetsEverybodyIn is not believed to be who it is not.
func TestWhoLetsEverybodyIn(t *testing.T) {
	a, b := newTestPeer(t, 1), newTestPeer(t, 3)
	a.SetMembers([]core.Member{{ID: 2, PeerURLs: []string{b.url}}})
	eventually(t, "refused", func() bool { return isRefusal(a.Peers()[0].Err) })
	require.ErrorContains(t, a.Peers()[0].Err, "it is member 3 of cluster c0ffee, not member 2 of cluster c0ffee")
}

// TestCopiedDataDirectory: a second process with the id of one that is connected is
// refused, and the first goes on.
func TestCopiedDataDirectory(t *testing.T) {
	a, b := pair(t)
	twin := newTestPeer(t, 1)
	twin.SetMembers([]core.Member{b.member()})
	eventually(t, "refused", func() bool { return isRefusal(twin.Peers()[0].Err) })
	require.ErrorContains(t, twin.Peers()[0].Err, "was its data directory copied?")
	require.Contains(t, b.log.String(), "was its data directory copied?")
	require.NoError(t, a.Peers()[0].Err)
	a.Send(2, text("still here"))
	eventually(t, "heard", func() bool { return b.r.last() == "still here" })

	// When the first has gone, the second is let in: it was started again.
	a.Stop()
	twin.awaitUp(t)
}

// TestVersionsThatDoNotMeet are refused by name.
func TestVersionsThatDoNotMeet(t *testing.T) {
	p := newTestPeer(t, 2)
	g := greeting{Hello: Hello{Cluster: testCluster, From: 1, To: 2}, min: maxVersion + 1, max: maxVersion + 2, purpose: forStream}
	_, err := caller{dial: dialTCP, timeout: time.Second}.enter(t.Context(), p.url, &g)
	require.EqualError(t, err, "member 1 speaks versions 2 to 3 of the protocol between members, this one 1 to 1")
	g.min, g.purpose = minVersion, 77
	_, err = caller{dial: dialTCP, timeout: time.Second}.enter(t.Context(), p.url, &g)
	require.EqualError(t, err, "a connection for purpose 77 is not known here")
}

// TestHandshakesAreBounded: those who say nothing make room for those who do.
func TestHandshakesAreBounded(t *testing.T) {
	p := newTestPeer(t, 2)
	var mute []net.Conn
	for range maxHandshakes + 10 {
		conn, err := net.Dial("tcp", p.url)
		require.NoError(t, err)
		defer conn.Close()
		mute = append(mute, conn)
	}
	_, err := Dialer{Dial: dialTCP}.Probe(t.Context(), p.url, Newcomer{})
	require.NoError(t, err)
	_, err = mute[0].Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// TestOneThatSaysThatItIsNew: whether it may be is asked where it dials, and where it is
// dialled; nothing passes if not, in either direction.
func TestOneThatSaysThatItIsNew(t *testing.T) {
	isNew := new(atomic.Bool)
	isNew.Store(true)
	a := newTestPeer(t, 1, func(c *Config) { c.New = isNew.Load })
	b := newTestPeer(t, 2)
	a.r.transfer = func(context.Context, net.Conn) error { return nil } // b leaves when it knows
	b.r.refuse = func(h Hello) *Refusal {
		if h.New {
			return &Refusal{Forgotten: true, Reason: fmt.Sprintf("%d has forgotten", h.From)}
		}
		return nil
	}
	members := []core.Member{a.member(), b.member()}
	a.SetMembers(members)
	b.SetMembers(members)
	eventually(t, "a is told", func() bool {
		a.r.mu.Lock()
		defer a.r.mu.Unlock()
		return len(a.r.forgot) > 0 && len(a.r.removed) == 0
	})
	eventually(t, "b does not speak to it", func() bool {
		err := b.Peers()[0].Err
		return err != nil && strings.Contains(err.Error(), "1 has forgotten")
	})
	_, err := b.Open(t.Context(), 1)
	require.ErrorContains(t, err, "1 has forgotten")
	require.False(t, b.inbound.has(1))

	isNew.Store(false)
	a.awaitUp(t)
	b.awaitUp(t)
}
