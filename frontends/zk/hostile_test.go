package zk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/triglot/triglot/frontends/zk/jute"
	"github.com/triglot/triglot/frontends/zk/wire"
)

// raw is a body as it stands.
type raw []byte

func (r raw) Append(dst []byte) []byte { return append(dst, r...) }

func TestFrameLengths(t *testing.T) {
	s := startServer(t)
	for name, length := range map[string]uint32{
		"negative": 0xffffffff, "lowest": 0x80000000, "one too long": wire.MaxFrame + 1, "huge": 0x7fffffff,
	} {
		t.Run(name, func(t *testing.T) {
			first := s.dial()
			first.write(binary.BigEndian.AppendUint32(nil, length))
			first.gone()
			c := s.connect()
			c.write(binary.BigEndian.AppendUint32(nil, length))
			c.gone()
		})
	}
	for name, frame := range map[string][]byte{
		"empty": {}, "half a header": {0, 0, 0, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.connect()
			c.write(framed(raw(frame).Append))
			c.gone()
		})
	}
	t.Run("the longest", func(t *testing.T) {
		c := s.connect()
		c.create("/long", "", wire.Persistent)
		data := make([]byte, wire.MaxFrame-8-4-len("/long")-4-4)
		c.ok(wire.OpSetData, &wire.SetDataRequest{Path: "/long", Data: data, Version: -1}, new(wire.SetDataResponse))
		var m wire.GetDataResponse
		c.ok(wire.OpGetData, &wire.GetDataRequest{Path: "/long"}, &m)
		require.Len(t, m.Data, len(data))
	})
}

func TestFirstFrameThatIsNone(t *testing.T) {
	s := startServer(t)
	good := (&wire.ConnectRequest{TimeOut: 5000, Password: make([]byte, 16)}).Append(nil)
	for name, frame := range map[string][]byte{
		"empty":           {},
		"cut short":       good[:len(good)-1],
		"lying password":  append(good[:24:24], 0x7f, 0xff, 0xff, 0xff),
		"another request": requestFrame(1, wire.OpPing, nil)[4:],
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.write(framed(raw(frame).Append))
			c.gone()
		})
	}
	t.Run("HTTP", func(t *testing.T) {
		c := s.dial()
		c.write([]byte("GET / HTTP/1.1\r\n\r\n"))
		c.gone()
	})
}

// bodies has a well-formed request of each opcode, all about one path.
func bodies(path string) map[wire.OpCode]message {
	create := &wire.CreateRequest{Path: path, Data: []byte("x"), ACL: wire.OpenACLUnsafe}
	return map[wire.OpCode]message{
		wire.OpCreate: create, wire.OpCreate2: create,
		wire.OpCreateContainer: &wire.CreateRequest{Path: path, ACL: wire.OpenACLUnsafe, Flags: wire.Container},
		wire.OpDelete:          &wire.DeleteRequest{Path: path, Version: -1},
		wire.OpSetData:         &wire.SetDataRequest{Path: path, Data: []byte("x"), Version: -1},
		wire.OpExists:          &wire.ExistsRequest{Path: path, Watch: true},
		wire.OpGetData:         &wire.GetDataRequest{Path: path, Watch: true},
		wire.OpGetChildren:     &wire.GetChildrenRequest{Path: path, Watch: true},
		wire.OpGetChildren2:    &wire.GetChildren2Request{Path: path, Watch: true},
		wire.OpGetACL:          &wire.GetACLRequest{Path: path},
		wire.OpSetACL:          &wire.SetACLRequest{Path: path, ACL: wire.OpenACLUnsafe, Version: -1},
		wire.OpCreateTTL: &wire.CreateTTLRequest{
			CreateRequest: wire.CreateRequest{Path: path, ACL: wire.OpenACLUnsafe, Flags: wire.PersistentTTL}, TTL: 1000,
		},
		wire.OpGetEphemerals:        &wire.GetEphemeralsRequest{PrefixPath: path},
		wire.OpGetAllChildrenNumber: &wire.GetAllChildrenNumberRequest{Path: path},
		wire.OpReconfig:             &wire.ReconfigRequest{NewMembers: path, CurConfigID: -1},
		wire.OpMultiRead: &wire.MultiRequest{Ops: []wire.MultiOp{
			{Op: wire.OpGetData, Path: path, Watch: true}, {Op: wire.OpGetChildren, Path: path},
		}},
		wire.OpSync: &wire.SyncRequest{Path: path},
		wire.OpSetWatches: &wire.SetWatches{
			RelativeZxid: 1, DataWatches: []string{path}, ExistWatches: []string{path}, ChildWatches: []string{path},
		},
		wire.OpCheckWatches:  &wire.CheckWatchesRequest{Path: path, Type: wire.WatcherAny},
		wire.OpRemoveWatches: &wire.RemoveWatchesRequest{Path: path, Type: wire.WatcherAny},
		wire.OpMulti: &wire.MultiRequest{Ops: []wire.MultiOp{
			{Op: wire.OpCheck, Path: path, Version: -1},
			{Op: wire.OpSetData, Path: path, Version: -1},
			{Op: wire.OpCreate, Path: path, ACL: wire.OpenACLUnsafe},
			{Op: wire.OpDelete, Path: path, Version: -1},
		}},
	}
}

// extended allows znodes with a time to live.
func extended(c *Config) { c.Features.ExtendedTypes = true }

// An illegal path in any opcode is an answer, and the connection goes on.
func TestIllegalPaths(t *testing.T) {
	s := startServer(t, extended)
	c := s.connect()
	for _, path := range []string{
		"", "a", "a/b", "//", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/\x00", "/a\x00b", "/\x01", "/\x7f", "/\u0085",
		"/\ud7ff\ue000", "/\uf8ff", "/\ufff0", "/\U0001f600", "/\xff", "/a\xc3", "/\xed\xa0\x80", "/zookeeper/config/x/../y",
	} {
		for op, body := range bodies(path) {
			t.Run(fmt.Sprintf("%s %q", op, path), func(t *testing.T) {
				xid := c.send(op, body)
				r := c.recv()
				for r.Xid == wire.XidEvent {
					r = c.recv()
				}
				require.Equal(t, xid, r.Xid)
				switch op {
				case wire.OpSync, wire.OpSetWatches, wire.OpGetEphemerals, wire.OpMultiRead:
					require.Equal(t, wire.OK, r.Err)
				case wire.OpReconfig:
					require.Equal(t, wire.ReconfigDisabled, r.Err)
				case wire.OpCheckWatches, wire.OpRemoveWatches:
					require.Contains(t, []wire.ErrorCode{wire.OK, wire.NoWatcher}, r.Err)
				case wire.OpMulti:
					require.Equal(t, wire.OK, r.Err)
					var m wire.MultiResponse
					r.into(t, &m)
					require.Len(t, m.Results, 4)
					require.Equal(t, wire.OpError, m.Results[0].Op)
					require.NotEqual(t, wire.RuntimeInconsistency, m.Results[0].Err)
				case wire.OpExists, wire.OpGetData, wire.OpGetChildren, wire.OpGetChildren2, wire.OpGetACL,
					wire.OpGetAllChildrenNumber:
					if path == "" {
						require.Equal(t, wire.OK, r.Err, "the empty path is the root's, where nothing is checked")
					} else {
						require.Contains(t, []wire.ErrorCode{wire.NoNode, wire.BadArguments}, r.Err)
					}
				default:
					require.Contains(t, []wire.ErrorCode{wire.BadArguments, wire.NoNode}, r.Err)
				}
			})
		}
	}
	require.Equal(t, []string{"zookeeper"}, c.children("/", false), "none was made")
}

// A body that ends too soon, at any place, is answered MarshallingError, and the
// connection goes on.
func TestTruncatedBodies(t *testing.T) {
	c := startServer(t, extended).connect()
	for op, body := range bodies("/a") {
		whole := body.Append(nil)
		for n := range whole {
			r := c.call(op, raw(whole[:n]))
			require.Equal(t, wire.MarshallingError, r.Err, "%s, %d bytes of %x", op, n, whole)
		}
	}
	require.Equal(t, wire.NoNode, c.exists("/a", false))
}

// A field that claims to be longer than what there is is answered likewise.
func TestLyingLengths(t *testing.T) {
	c := startServer(t, extended).connect()
	for _, length := range []uint32{1000, 0x000fffff, 0x00100000, 0x7fffffff, 0xfffffffe, 0x80000000} {
		lie := raw(binary.BigEndian.AppendUint32(nil, length))
		for op := range bodies("/a") {
			if op == wire.OpSetWatches || op == wire.OpMulti || op == wire.OpMultiRead {
				continue // which begin with something else
			}
			require.Equal(t, wire.MarshallingError, c.call(op, lie).Err, "%s %x", op, length)
		}
		require.Equal(t, wire.MarshallingError, c.call(wire.OpSetWatches, raw(append(make([]byte, 8), lie...))).Err)
		op := (&wire.MultiHeader{Op: wire.OpDelete, Err: -1}).Append(nil)
		require.Equal(t, wire.MarshallingError, c.call(wire.OpMulti, raw(append(op, lie...))).Err)
	}
}

func TestMissingOpcodesAreAnsweredAndClosed(t *testing.T) {
	s := startServer(t)
	for _, op := range []wire.OpCode{
		0, 10, wire.OpCheck, wire.OpDeleteContainer, 23, 99, 108, 500, wire.OpCreateSession, wire.OpError, -12, 1 << 30, -1 << 31,
	} {
		t.Run(op.String(), func(t *testing.T) {
			c := s.connect()
			c.write(append(c.request(wire.OpPing, nil), c.request(op, raw(nil))...))
			require.Equal(t, wire.OK, c.recv().Err)
			r := c.recv()
			require.Equal(t, wire.Unimplemented, r.Err)
			require.Empty(t, r.body)
			c.gone()
		})
	}
}

func TestMultiOfManyOperations(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.create("/a", "", wire.Persistent)
	check := wire.MultiOp{Op: wire.OpCheck, Path: "/a", Version: -1}
	many := func(n int) *wire.MultiRequest {
		m := &wire.MultiRequest{}
		for range n {
			m.Ops = append(m.Ops, check)
		}
		return m
	}
	most := (wire.MaxFrame - 8 - 9) / (9 + 4 + 2 + 4)
	var m wire.MultiResponse
	c.ok(wire.OpMulti, many(most), &m)
	require.Len(t, m.Results, most)
	big := s.connect()
	_ = big.nc.SetWriteDeadline(time.Now().Add(patience))
	_, _ = big.nc.Write(big.request(wire.OpMulti, many(100_000))) // fails once the server has closed
	big.nc.(*net.TCPConn).CloseWrite()
	big.gone()
}

func TestMultiThatCannotBe(t *testing.T) {
	c := startServer(t).connect()
	end := (&wire.MultiRequest{}).Append(nil)
	for name, body := range map[string][]byte{
		"unknown type":   append((&wire.MultiHeader{Op: 99, Err: -1}).Append(nil), end...),
		"a read":         (&wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpGetData, Path: "/"}}}).Append(nil),
		"read and write": (&wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpCheck, Path: "/"}, {Op: wire.OpGetData, Path: "/"}}}).Append(nil),
		"bad flags":      (&wire.MultiRequest{Ops: []wire.MultiOp{{Op: wire.OpCreate, Path: "/x", Flags: 9}}}).Append(nil),
		"no end":         end[:len(end)-1],
	} {
		require.Equal(t, wire.MarshallingError, c.call(wire.OpMulti, raw(body)).Err, name)
	}
	var m wire.MultiResponse
	c.ok(wire.OpMulti, &wire.MultiRequest{}, &m)
	require.Empty(t, m.Results)
}

func TestMultiResults(t *testing.T) {
	c := startServer(t).connect()
	var m wire.MultiResponse
	r := c.ok(wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{
		{Op: wire.OpCreate, Path: "/m", Data: []byte("1"), ACL: wire.OpenACLUnsafe},
		{Op: wire.OpCreate2, Path: "/m/a", ACL: wire.OpenACLUnsafe},
		{Op: wire.OpCreateContainer, Path: "/m/b", ACL: wire.OpenACLUnsafe, Flags: wire.Container},
		{Op: wire.OpSetData, Path: "/m", Data: []byte("2"), Version: 0},
		{Op: wire.OpCheck, Path: "/m", Version: 1},
		{Op: wire.OpDelete, Path: "/m/b", Version: -1},
	}}, &m)
	require.Len(t, m.Results, 6)
	require.Equal(t, wire.MultiResult{Op: wire.OpCreate, Path: "/m"}, m.Results[0])
	require.Equal(t, "/m/a", m.Results[1].Path)
	require.Equal(t, r.Zxid, m.Results[1].Stat.Czxid)
	require.Equal(t, wire.OpCreate2, m.Results[2].Op)
	require.Equal(t, int32(1), m.Results[3].Stat.Version)
	require.Equal(t, wire.MultiResult{Op: wire.OpCheck}, m.Results[4])
	require.Equal(t, wire.MultiResult{Op: wire.OpDelete}, m.Results[5])

	c.ok(wire.OpMulti, &wire.MultiRequest{Ops: []wire.MultiOp{
		{Op: wire.OpDelete, Path: "/m/a", Version: -1},
		{Op: wire.OpCheck, Path: "/m", Version: 7},
		{Op: wire.OpDelete, Path: "/m", Version: -1},
	}}, &m)
	require.Equal(t, []wire.MultiResult{
		{Op: wire.OpError}, {Op: wire.OpError, Err: wire.BadVersion}, {Op: wire.OpError, Err: wire.RuntimeInconsistency},
	}, m.Results)
	require.Equal(t, []string{"a"}, c.children("/m", false))
}

// A client that sends without end and reads nothing is held up by itself.
func TestClientThatDoesNotRead(t *testing.T) {
	s := startServer(t)
	c := s.connect()
	c.create("/big", string(bytes.Repeat([]byte("x"), 512<<10)), wire.Persistent)
	get := bytes.Repeat(requestFrame(1, wire.OpGetData, &wire.GetDataRequest{Path: "/big"}), 1000)
	_ = c.nc.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	for {
		if _, err := c.nc.Write(get); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the server goes on reading")
			break
		}
	}
	other := s.connect()
	require.Equal(t, wire.OK, other.exists("/big", false))
}

// A fuzz of what a client may send: never a panic, and the server lives.
func FuzzConnection(f *testing.F) {
	hello := framed((&wire.ConnectRequest{TimeOut: 5000, Password: make([]byte, 16)}).Append)
	f.Add(false, []byte("ruok"))
	f.Add(false, []byte("stmkx"))
	f.Add(false, hello)
	f.Add(true, []byte{0, 0, 0, 0})
	var all []byte
	for op, body := range bodies("/a") {
		frame := requestFrame(7, op, body)
		f.Add(true, frame)
		all = append(all, frame...)
	}
	f.Add(true, append(all, requestFrame(8, wire.OpCloseSession, nil)...))
	f.Add(true, requestFrame(-4, wire.OpAuth, &wire.AuthPacket{Scheme: "digest", Auth: []byte("a:b")}))
	f.Add(true, bytes.Join([][]byte{
		requestFrame(-4, wire.OpAuth, &wire.AuthPacket{Scheme: "digest", Auth: []byte("super:test")}),
		requestFrame(1, wire.OpCreate, &wire.CreateRequest{Path: "/a", ACL: []wire.ACL{allow(31, "auth", ""), allow(1, "ip", "::/0")}}),
		requestFrame(2, wire.OpSetACL, &wire.SetACLRequest{Path: "/a", ACL: []wire.ACL{allow(1, "x509", "CN=a"), allow(2, "sasl", "a@b")}, Version: -1}),
		requestFrame(3, wire.OpGetACL, &wire.GetACLRequest{Path: "/a"}),
		requestFrame(4, wire.OpWhoAmI, nil),
		requestFrame(5, wire.OpDelete, &wire.DeleteRequest{Path: "/a", Version: -1}),
	}, nil))
	s := startServer(f, extended, schemes)
	f.Fuzz(func(t *testing.T, session bool, input []byte) {
		nc, err := net.Dial("tcp", s.address)
		require.NoError(t, err)
		defer nc.Close()
		c := &client{TB: t, nc: nc}
		if session {
			c.hello(wire.ConnectRequest{TimeOut: 5000})
		}
		_, _ = nc.Write(input) // the server may close on the way
		_ = nc.(*net.TCPConn).CloseWrite()
		for {
			if _, err := c.frame(); err != nil {
				var timeout net.Error
				if e, ok := err.(net.Error); ok {
					timeout = e
					require.False(t, timeout.Timeout(), "the connection does not end")
				}
				break
			}
		}
		if session {
			closing := &client{TB: t, nc: mustDial(t, s.address)}
			defer closing.nc.Close()
			closing.hello(wire.ConnectRequest{
				TimeOut: 5000, SessionID: c.session.SessionID, Password: c.session.Password,
			})
			if closing.session.SessionID != 0 {
				closing.ok(wire.OpCloseSession, nil, nil)
			}
		}
	})
}

func mustDial(t testing.TB, address string) net.Conn {
	nc, err := net.Dial("tcp", address)
	require.NoError(t, err)
	return nc
}

func TestFramesFollowWhatCame(t *testing.T) {
	f := frames{r: bytes.NewReader(binary.BigEndian.AppendUint32(nil, wire.MaxFrame)), max: wire.MaxFrame}
	_, err := f.next()
	require.Error(t, err)
	require.LessOrEqual(t, len(f.buf), 2*minReadBuffer)

	long := framed(raw(make([]byte, 300<<10)).Append)
	short := framed(raw("ping").Append)
	f = frames{r: bytes.NewReader(append(append([]byte{}, long...), bytes.Repeat(short, 100)...)), max: wire.MaxFrame}
	frame, err := f.next()
	require.NoError(t, err)
	require.Equal(t, long[jute.FrameHeader:], frame)
	for range 100 {
		frame, err = f.next()
		require.NoError(t, err)
		require.Equal(t, "ping", string(frame))
	}
	require.LessOrEqual(t, len(f.buf), wire.MaxFrame)
}
