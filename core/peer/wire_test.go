package peer

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/triglot/triglot/core"
)

func unmarshal(b []byte, m proto.Message) error { return proto.Unmarshal(b, m) }

var testIntroduction = Introduction{
	Cluster: testCluster, Self: 2, Name: "m2", Mount: "/zk", Leader: 3,
	Members: []core.Member{
		{ID: 2, Name: "m2", PeerURLs: []string{"http://a:1", "http://b:1"}, ClientURLs: []string{"http://a:2"}},
		{ID: 3, PeerURLs: []string{"http://c:1"}, Learner: true},
	},
	Removed: []core.MemberID{7, 8},
}

func TestHandshakeRoundTrips(t *testing.T) {
	g := greeting{Hello: Hello{Cluster: 1, From: 2, To: 3, Name: "n"}, min: 1, max: 4, purpose: forTransfer, process: 9}
	got, err := decodeGreeting(g.encode())
	require.NoError(t, err)
	require.Equal(t, g, got)

	i, err := decodeIntroduction(testIntroduction.encode())
	require.NoError(t, err)
	require.Equal(t, testIntroduction, i)

	for _, r := range []reply{
		{cluster: 1, self: 2, version: 1},
		{cluster: 1, self: 2, refusal: &Refusal{Reason: "gone", Removed: true}},
		{cluster: 1, self: 2, refusal: &Refusal{Reason: "no"}},
	} {
		kind, body := r.encode()
		got, err := decodeReply(kind, body)
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
}

func TestVersionsAgree(t *testing.T) {
	for _, c := range []struct{ min, max, want uint64 }{
		{minVersion, maxVersion, maxVersion},
		{minVersion, maxVersion + 5, maxVersion},
		{maxVersion + 1, maxVersion + 5, 0},
		{0, minVersion - 1, 0},
	} {
		g := greeting{min: c.min, max: c.max}
		require.Equal(t, c.want, g.agree(), "%d to %d", c.min, c.max)
	}
}

func TestFrames(t *testing.T) {
	large := bytes.Repeat([]byte("x"), 5*readStep+7)
	b := appendFrame(nil, frameAnswer, []byte("head"), []byte("body"))
	b = appendFrame(b, frameAlive, nil, nil)
	b, err := appendMessage(b, text("hello"))
	require.NoError(t, err)
	b = appendFrame(b, framePong, nil, large)
	r := frameReader{r: iotest.HalfReader(bytes.NewReader(b)), max: maxFrame}
	for _, want := range []struct {
		kind frameKind
		body string
	}{{frameAnswer, "headbody"}, {frameAlive, ""}, {frameMessage, "\x0a\x05hello"}, {framePong, string(large)}} {
		kind, body, err := r.next()
		require.NoError(t, err)
		require.Equal(t, want.kind, kind)
		require.True(t, want.body == string(body))
	}
	_, _, err = r.next()
	require.Equal(t, io.EOF, err)
}

// TestFramesThatAreWrong: each byte that changes is noticed, and what is announced is
// not allocated.
func TestFramesThatAreWrong(t *testing.T) {
	good := appendFrame(nil, frameMessage, nil, []byte("body"))
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		r := frameReader{r: bytes.NewReader(b), max: 100}
		_, _, err := r.next()
		require.Error(t, err, "byte %d", i)
	}
	for cut := 1; cut < len(good); cut++ {
		r := frameReader{r: bytes.NewReader(good[:cut]), max: 100}
		_, _, err := r.next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	r := frameReader{r: bytes.NewReader(good), max: 3}
	_, _, err := r.next()
	require.EqualError(t, err, "a frame of 4 bytes: the most is 3 here")

	announced := append([]byte(nil), good...)
	announced[7] = 0x10 // 256 MiB
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r = frameReader{r: bytes.NewReader(announced), max: maxFrame}
	_, _, err = r.next()
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*readStep))
}

func TestWhoSpeaks(t *testing.T) {
	for first, want := range map[string]error{
		magic:                              nil,
		"GET / HTTP/1.1\r\n":               strangerHTTP,
		"OPTIONS / HTTP/1.1\r\n":           strangerHTTP,
		"CONNECT a HTTP/1.1\r\n":           strangerHTTP,
		"PRI * HTTP/2.0\r\n":               strangerHTTP,
		"HTTP/1.1 400 Bad Request\r\n":     strangerHTTP,
		"\x00\x00\x06\x04\x00\x00\x00\x00": strangerHTTP,
		"\x16\x03\x01\x02\x00\x01\x00\x01": strangerTLS,
		"\x15\x03\x01\x00\x02\x02\x46":     strangerTLS,
		"ruok":                             strangerUnknown,
		"\x00\x00\x00\x2d\x00\x00\x00\x00": strangerUnknown,
		"\x8cTRIGQ\r\n":                    strangerUnknown,
		"":                                 io.EOF,
		magic[:5]:                          io.ErrUnexpectedEOF,
	} {
		require.Equal(t, want, readMagic(bytes.NewReader([]byte(first))), "%q", first)
	}
}

func TestErrorsTravel(t *testing.T) {
	for _, k := range core.Kinds() {
		require.Equal(t, error(k), decodeError(encodeError(k)))
	}
	require.Equal(t, core.Internal, core.KindOf(decodeError(nil)))
	require.Equal(t, core.Internal, core.KindOf(decodeError([]byte{255, 'x'})))
	require.EqualError(t, decodeError([]byte{255, 'x'}), "internal error: a peer failed with error kind 255: x")
}

// FuzzFrame: whatever comes, it is read or refused, and what is read is what was sent.
func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, frameMessage, []byte("ab"), []byte("c")))
	f.Add([]byte{0, 0, 0, 0, 255, 255, 255, 31, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := frameReader{r: bytes.NewReader(b), max: maxFrame}
		kind, body, err := r.next()
		if err != nil {
			return
		}
		require.True(t, bytes.HasPrefix(b, appendFrame(nil, kind, nil, body)))
		if q, err := decodeQuestion(body); err == nil {
			require.Equal(t, body, append(q.head(), q.body...))
		}
		_, _, _ = decodeAnswer(body)
		_ = decodeError(body)
	})
}

// FuzzHandshake: whatever comes, it is read or refused, and what was read can be sent
// and read again.
func FuzzHandshake(f *testing.F) {
	g := greeting{Hello: Hello{Cluster: 1, From: 2, To: 3, Name: "n"}, min: 1, max: 4, purpose: forTransfer, process: 9}
	f.Add(g.encode())
	f.Add(testIntroduction.encode())
	r := reply{cluster: 1, self: 2, refusal: &Refusal{Reason: "gone", Removed: true}}
	_, body := r.encode()
	f.Add(body)
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := decodeGreeting(b); err == nil {
			again, err := decodeGreeting(g.encode())
			require.NoError(t, err)
			require.Equal(t, g, again)
		}
		for _, kind := range []frameKind{frameWelcome, frameRefusal} {
			if r, err := decodeReply(kind, b); err == nil {
				_, body := r.encode()
				_, err := decodeReply(kind, body)
				require.NoError(t, err)
			}
		}
		if i, err := decodeIntroduction(b); err == nil {
			again, err := decodeIntroduction(i.encode())
			require.NoError(t, err)
			require.Equal(t, i, again)
		}
	})
}
